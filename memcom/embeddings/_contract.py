"""The contract that every compressor fulfils.

`CompressedEmbedding` is the contract; `TableEmbedding` implements it for the many methods that are
*address -> look up -> fuse*, which only define a `recipe`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict, TypeVar

import torch
from torch import Tensor, nn
from torch.fx import Proxy
from torch.nn.parallel import DistributedDataParallel

from memcom._text import parse_nbytes
from memcom.addresses import MAX_NUM_EMBEDDINGS, check_ids, lacks_values, require_tensor
from memcom.embeddings._arguments import (
    MAX_EMBEDDING_DIM,
    CalledAsInTorch,
    Sizes,
    check_placement,
    check_tensor,
    check_types,
    flag,
    real,
    shown,
    whole,
)
from memcom.embeddings._card import UNKNOWN, Card, Statement
from memcom.embeddings._fit import FitError, Target, fit_recipe
from memcom.embeddings._integers import MARK, KeepsIntegers
from memcom.embeddings._resize import resized
from memcom.embeddings._weight import ComposedWeight, refusal
from memcom.kernels import Reading, Recipe, choose, dedup, lookup, plain_lookup

if TYPE_CHECKING:
    from memcom.embeddings.learning import Occurrences
    from memcom.embeddings.schedules import Schedule

Layer = TypeVar("Layer", bound="CompressedEmbedding")


class Common(TypedDict, total=False):
    """Keyword arguments that every compressor takes, with torch's names and meaning.

    Attributes:
        padding_idx: This id gives zeros and gets no gradient; may be negative. Default None.
        sparse: Give sparse gradients to every table that is read by rows. Default False.
        device: Where parameters and buffers are created.
        dtype: Floating point type of the parameters.
    """

    padding_idx: int | None
    sparse: bool
    device: torch.device | str | None
    dtype: torch.dtype | None


class CompressedEmbedding(KeepsIntegers, metaclass=CalledAsInTorch):
    """A map from ids to vectors that stands in for `torch.nn.Embedding`.

    A subclass creates its parameters and buffers, and defines `compose`, `addresses`,
    `reset_parameters` and `sizes`; where it needs them also `freeze`, `schedule`, `regularizer`,
    `learned_options`, `learn` and `fit_to`. One whose vectors take much more work than reading a
    row sets `each_once`.

    Args:
        num_embeddings: Number of ids, n.
        embedding_dim: Width of the vectors that come out, e.
        padding_idx: This id gives zeros and gets no gradient; may be negative, as in torch.
        sparse: Give sparse gradients to every table that is read by rows.
        device: Where parameters and buffers are created.
        dtype: Floating point type of the parameters.

    Raises:
        ValueError: A size is out of range, ``padding_idx`` is no id, ``device`` is not there, or
            ``dtype`` is no floating point type.
        TypeError: A size is no integer, or ``sparse`` no bool.
    """

    card: ClassVar[Card]
    """Facts of the method; every class of the registry has one."""

    own_weights: ClassVar[tuple[str, ...]] = ()
    """Parameters that are no rows of vectors: multipliers and biases per id, thresholds. Training
    may give them a learning rate and a weight decay of their own."""

    undecayed: ClassVar[tuple[str, ...]] = ()
    """Parameters that weight decay must leave alone, whatever it is."""

    each_once: bool = False  # compose an id that a batch repeats once, and copy its vector

    def __new__(cls, *args: Any, **arguments: Any) -> CompressedEmbedding:
        """Check the types of the keyword arguments; keep them, so that a file can rebuild it."""
        layer = super().__new__(cls)
        placed = {"device", "dtype"}  # the tensors tell these
        given = {k: v for k, v in arguments.items() if k not in placed}
        layer.__dict__["own_arguments"] = check_types(cls, given)
        return layer

    own_arguments: dict[str, Any]
    seeds: Tensor
    _seeds: Sequence[int] = ()

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        padding_idx: int | None = None,
        sparse: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self._factory = check_placement(device, dtype)
        self.num_embeddings = whole("num_embeddings", num_embeddings, 1, MAX_NUM_EMBEDDINGS)
        self.embedding_dim = whole("embedding_dim", embedding_dim, 1, MAX_EMBEDDING_DIM)
        if padding_idx is not None:
            most = self.num_embeddings - 1
            padding_idx = whole("padding_idx", padding_idx, -most - 1, most) % self.num_embeddings
        self.padding_idx = padding_idx
        self._sparse = flag("sparse", sparse)

    @property
    def sparse(self) -> bool:
        """True if tables read by rows get sparse gradients now.

        Not in a model under ``DistributedDataParallel``, which expects sparse gradients of
        `torch.nn.Embedding` alone: there they are dense.
        """
        return self._sparse and DistributedDataParallel._active_ddp_module is None

    @sparse.setter
    def sparse(self, sparse: bool) -> None:
        self._sparse = sparse

    def new_table(self, rows: int, width: int) -> nn.Parameter:
        """Return an undrawn ``(rows, width)`` table on the layer's device, in its dtype."""
        try:
            return nn.Parameter(torch.empty(rows, width, **self._factory))
        except RuntimeError as error:  # torch's word for too little memory, or too many numbers
            reason = str(error).splitlines()[0]
            raise ValueError(f"a table of {rows} rows of {width} is too large: {reason}") from error

    @property
    def weight(self) -> Tensor:
        """The full table ``(num_embeddings, embedding_dim)`` that the layer stands for; read only.

        Shape, type and device cost nothing. Any other use composes the whole table, in time and
        memory as large as that of `torch.nn.Embedding`, each time anew; a gradient of it reaches
        the parameters. Writing to it raises an error. For a full table it is the parameter.
        """
        if torch.compiler.is_compiling():
            return self._all_vectors()
        with torch.no_grad():
            like = self.compose(torch.empty(0, dtype=torch.int64, device=self.device))
        like.requires_grad_(any(p.requires_grad for p in self.parameters()))
        return ComposedWeight.of(self, like, self._all_vectors)

    @weight.setter
    def weight(self, value: Any) -> None:
        raise AttributeError(refusal(type(self).__name__))

    def _all_vectors(self) -> Tensor:
        if torch.is_grad_enabled():
            found: Tensor = self(torch.arange(self.num_embeddings, device=self.device))
            return found
        return self.materialize()

    def register_parameter(self, name: str, param: nn.Parameter | None) -> None:
        """Register a parameter of any name but ``weight``, which is composed."""
        if name == "weight" and name not in self._parameters:
            raise AttributeError(refusal(type(self).__name__))
        super().register_parameter(name, param)

    @property
    def common(self) -> Any:
        """Arguments of this layer that one made from it takes too."""
        return {"padding_idx": self.padding_idx, "sparse": self._sparse}

    def undrawn(self, cls: type[Layer], dtype: torch.dtype, **sizes: Any) -> Layer:
        """Return a layer of another class for the same ids, on the meta device: shapes only."""
        own = {**self.common, **sizes}
        return cls(self.num_embeddings, self.embedding_dim, device="meta", dtype=dtype, **own)

    def add_seeds(self, *seeds: int) -> None:
        """Register hash seeds as the int64 buffer ``seeds``."""
        self._seeds = [whole("seed", seed, 0, 2**32 - 1) for seed in seeds]
        stored = torch.tensor(self._seeds, dtype=torch.int64, device=self._factory["device"])
        self.register_buffer("seeds", stored)

    def reset_seeds(self) -> None:
        """Set the seeds, if there are any, to those the layer was made with."""
        if self._seeds:
            self.seeds.copy_(torch.tensor(self._seeds))

    def forward(self, ids: Tensor) -> Tensor:
        """Return the vectors of ``ids``.

        Args:
            ids: int32 or int64 tensor of any shape, empty too, values in ``[0, num_embeddings)``.

        Returns:
            Tensor of shape ``(*ids.shape, embedding_dim)``.

        Raises:
            TypeError: ``ids`` is not an int32 or int64 tensor.
            RuntimeError: Integer buffers of the layer have been averaged.
            IndexError: An id is out of range. See `memcom.addresses.check_ids` for when this is
                an in-graph assertion instead.
        """
        if not isinstance(ids, Tensor):
            return self._traced(ids)
        if MARK in self._buffers:
            self.require_integers()
        if not self.has_reading:
            return self._forward(ids, self.compose)
        backend = choose(self, ids)
        return self._forward(ids, backend.run) if backend.program is None else backend.run(ids)

    has_reading: ClassVar[bool] = False
    """True if `reading` says all that `compose` does: a subclass may have changed `compose`."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        says = next(b for b in cls.__mro__ if "reading" in vars(b) or "compose" in vars(b))
        cls.has_reading = "reading" in vars(says) and says is not CompressedEmbedding

    def reading(self) -> Reading | None:
        """Say what `memcom.kernels` may read instead of calling `compose`; None by default.

        It has to give the vectors that `compose` gives. See `memcom.kernels.recipe` for the forms.
        """
        return None

    def reading_inside(self) -> Reading | None:
        """Return `reading`, for a layer around this one; None where it does not say all."""
        return self.reading() if self.has_reading and self.padding_idx is None else None

    def compose_plainly(self, ids: Tensor) -> Tensor:
        """Return the vectors of checked int64 ``ids`` by torch's own operations."""
        return self.compose(ids)

    def _traced(self, ids: Any) -> Any:
        """Add a call of this layer to the graph that ``torch.fx.symbolic_trace`` records."""
        require_tensor(ids, Proxy)
        path = ids.tracer.path_of_module(self) or "itself"
        return ids.tracer.create_proxy("call_module", path, (ids,), {})

    @property
    def itself(self) -> CompressedEmbedding:
        """The layer, by the name it has in a graph of the layer alone."""
        return self

    def _forward(self, ids: Tensor, compose: Callable[[Tensor], Tensor]) -> Tensor:
        ids = check_ids(ids, self.num_embeddings)
        vectors = dedup(ids, compose) if self.each_once else compose(ids)
        if self.padding_idx is not None:
            vectors = vectors.masked_fill((ids == self.padding_idx).unsqueeze(-1), 0)
        return vectors

    def compose(self, ids: Tensor) -> Tensor:
        """Return the vectors of checked int64 ``ids``, before padding is zeroed."""
        raise TypeError(f"{type(self).__name__} does not define compose")

    def addresses(self, ids: Tensor) -> dict[str, Tensor]:
        """Return the rows that each id reads, table by table.

        Args:
            ids: int32 or int64 tensor of any shape.

        Returns:
            A dict from the table's name in the layer's state to an int64 tensor: of the shape of
            ``ids`` for one row of the table, ``(*ids.shape, k)`` for k. If the order of the k rows
            makes no difference to the vector, they are ascending.
        """
        raise TypeError(f"{type(self).__name__} does not define addresses")

    def reset_parameters(self, std: float = 1.0) -> None:
        """Draw new parameters, so that every composed row has variance ``std**2``.

        The default is that of `torch.nn.Embedding`.
        """
        raise TypeError(f"{type(self).__name__} does not define reset_parameters")

    @classmethod
    def sizes(cls, num_embeddings: int, embedding_dim: int, **options: Any) -> Sizes:
        """Return the sizes a budget can choose from; see `memcom.budget`.

        Args:
            num_embeddings: Number of ids that the method stands for.
            embedding_dim: Width of the vectors.
            **options: Options of the method that are given; and ``bits``, if its rows will be
                stored in few bits, for methods whose best shape depends on it.

        Returns:
            The sizes, small to large.
        """
        raise TypeError(f"{cls.__name__} does not define sizes")

    def distinctness(self) -> Statement:
        """Return whether two ids can have the same vector, given the options of this layer."""
        return self.card.statement if hasattr(type(self), "card") else UNKNOWN

    @classmethod
    def learned_options(cls, known: Occurrences, *, head: int = 0) -> dict[str, Any]:
        """Return the options that are learned from data before a layer is built; none by default.

        Args:
            known: Ids and where they occur, in the training part.
            head: The layer stands for the ids from ``head`` on.

        Returns:
            Keyword arguments of the constructor.
        """
        return {}

    def learn(self, counts: Tensor, pretrained: Callable[[int], Tensor], *, seed: int = 0) -> None:
        """Learn from data what training needs; nothing by default. Wrappers pass it on.

        Args:
            counts: int64 ``(num_embeddings,)``, occurrences of each id in the training part.
            pretrained: ``pretrained(width)`` trains a full table of that width at the same task
                and returns it, ``(num_embeddings, width)``.
            seed: Seed of random choices.
        """

    @torch.no_grad()
    def fit_table(self, table: Tensor, weights: Tensor | None = None, *, seed: int = 0) -> None:
        """Set the parameters so that the vectors come close to the rows of a trained table.

        The error is ``sum_i weights[i] |table[i] - vector i|^2``, over all ids but padding. It is
        the least there is where the method has a closed form (rounding, low rank, sums of rows),
        and a local minimum elsewhere (products of rows, learned maps and codes). What is counted
        is the layer as `freeze` leaves it.

        Args:
            table: ``(num_embeddings, embedding_dim)``, floating point; left as it is.
            weights: ``(num_embeddings,)``, at least 0, such as how often each id is looked up; all
                alike if None. An id of weight 0 counts a millionth of the mean: it gets the best
                vector that the others leave it.
            seed: Seed of random choices.

        Raises:
            FitError: The method has to be trained.
            ValueError: Table or weights have another shape, are not finite, or are on the meta
                device; weights are negative or all 0.
        """
        check_table("table", table)
        shape = self.num_embeddings, self.embedding_dim
        if tuple(table.shape) != shape:
            raise ValueError(f"table must have shape {shape}, got {tuple(table.shape)}")
        if lacks_values(next(chain(self.parameters(), self.buffers()))):
            raise ValueError("the layer is on the meta device and has no values to fit")
        importance = check_weights("weights", weights, len(table)).to(self.device)
        importance = importance.clamp(min=1e-6 * float(importance.mean()))
        if self.padding_idx is not None:
            importance[self.padding_idx] = 0
        seed = whole("seed", seed, 0, 2**63 - 1)
        self.fit_to(Target(table.detach().to(self.device), importance, seed))

    def fit_to(self, target: Target) -> None:
        """Do what `fit_table` says, with arguments that are checked; wrappers pass it on.

        Args:
            target: Table and weights, on the layer's device.

        Raises:
            FitError: The method has to be trained, as it is by default.
        """
        raise FitError(
            f"{type(self).__name__} has no closed form for a given table: train it, or take a "
            "method that memcom.compress tries"
        )

    @classmethod
    def from_pretrained(
        cls: type[Layer],
        table: Tensor,
        *,
        freeze: bool = True,
        padding_idx: int | None = None,
        sparse: bool = False,
        frequencies: Tensor | None = None,
        ratio: float | None = None,
        nbytes: int | str | None = None,
        seed: int = 0,
        **options: Any,
    ) -> Layer:
        """Return a layer that is fitted to a trained table, on its device and in its dtype.

        ``LowRankEmbedding.from_pretrained(model.items.weight, ratio=8)``

        Args:
            table: ``(num_embeddings, embedding_dim)``, floating point; left as it is.
            freeze: Train nothing of it, as in `torch.nn.Embedding.from_pretrained`.
            padding_idx: This id gives zeros, whatever its row; may be negative.
            sparse: Give sparse gradients to every table that is read by rows.
            frequencies: ``(num_embeddings,)``, how often each id is looked up; its error counts as
                often. All alike if None.
            ratio: Budget: the bytes of the fp32 table over those of the layer once frozen.
            nbytes: Budget in bytes, or as text such as ``"1.5 MB"``.
            seed: Seed of the fit.
            **options: The method's own; with neither budget its sizes, too.

        Returns:
            The layer, as it is trained. `freeze` of the layer gives what is shipped.

        Raises:
            FitError: The method has to be trained.
            TypeError: The class is made from other layers, or takes no such option.
            ValueError: As `fit_table`; or both budgets are given, or one that the method cannot
                meet.
        """
        if not hasattr(cls, "card"):
            raise TypeError(
                f"{cls.__name__} is made from other layers; give fit_table of one the table"
            )
        check_table("table", table)
        rows, width = table.shape
        common: Any = {"padding_idx": padding_idx, "sparse": sparse, "dtype": table.dtype}
        if ratio is not None and nbytes is not None:
            given = f"{shown(ratio)} and {shown(nbytes)}"
            raise ValueError(f"give ratio or nbytes, not both: got {given}")
        if nbytes is not None:
            budget: float = parse_nbytes(nbytes)
        elif ratio is not None:
            budget = 4 * rows * width / real("ratio", ratio, 1e-3, 1e9)
        if ratio is not None or nbytes is not None:

            def stored(arguments: dict[str, Any]) -> int:
                return cls(rows, width, device="meta", **common, **arguments).frozen_nbytes

            sizes = cls.sizes(rows, width, **options)
            found = sizes.largest(lambda own: stored({**options, **own}), budget)
            if found is None:
                least = stored({**options, **sizes.arguments(sizes.scales[0])})
                raise ValueError(
                    f"{cls.__name__} cannot store {rows} x {width} in {budget:,.0f} bytes: it "
                    f"needs {least:,}; {sizes.floor}"
                )
            options = {**options, **found}
        layer = cls(rows, width, device=table.device, **common, **options)
        layer.fit_table(table, frequencies, seed=seed)
        return layer.requires_grad_(not flag("freeze", freeze))

    def regularizer(self, ids: Tensor) -> Tensor | None:
        """Return what training adds to the loss for the ids of a batch; None, nothing, by default.

        Args:
            ids: int32 or int64 tensor of any shape: those of one call in training.

        Returns:
            A scalar, its weight included.
        """
        return None

    def schedule(
        self,
        num_steps: int,
        *,
        model: nn.Module | None = None,
        optimizer: torch.optim.Optimizer | None = None,
        reward: Callable[[], float] | None = None,
    ) -> Schedule[Any] | None:
        """Return the training schedule with its defaults; None for a layer that trains by itself.

        Args:
            num_steps: Optimizer steps of the whole training.
            model: The model around the layer, for methods that rewind it.
            optimizer: Its moments of what starts anew are cleared.
            reward: Validation quality, for methods that search.

        Returns:
            The schedule, to be stepped after every step of the optimizer.
        """
        return None

    def row_tables(self) -> list[str]:
        """Return the names of large parameters that are read with `memcom.kernels.gather_rows`.

        `memcom.quantize` replaces these by tables that are stored packed and unpack a row when it
        is read. None by default.
        """
        return []

    def freeze(self) -> CompressedEmbedding:
        """Return the layer as it is stored and shipped; itself by default.

        A method that trains more than it ships (learned codes, weights to be rounded, masks)
        returns a new, ordinary layer.
        """
        return self

    def resize_num_embeddings(self: Layer, num_embeddings: int) -> Layer:
        """Return a layer for more ids, in which the old ids keep their vectors.

        New rows are drawn as in a new layer. The parameters are new ones: make a new optimizer.
        Methods whose rows depend on the number of ids (such as ``bch``, or ``qr`` made by
        ``num_collisions``) cannot do this, nor can frozen layers.

        Args:
            num_embeddings: Number of ids, at least that of this layer.

        Returns:
            A layer of the same class and arguments, on the same device.

        Raises:
            ValueError: The old ids would not keep their vectors; the message gives the reason.
        """
        return resized(self, num_embeddings)

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Say what it means if the state is that of a layer of other sizes."""
        for name, here in self.state_dict().items():
            there = state_dict.get(prefix + name)
            if isinstance(there, Tensor) and there.shape != here.shape:
                error_msgs.append(
                    f"the state of a layer of other sizes does not fit {type(self).__name__} "
                    f"({self.num_embeddings} ids, width {self.embedding_dim}): {prefix}{name} has "
                    f"shape {tuple(there.shape)} there, {tuple(here.shape)} here. Make the layer "
                    "with the arguments it was saved with; then resize_num_embeddings gives one "
                    "for more ids"
                )
                break
        super()._load_from_state_dict(
            state_dict,
            prefix,
            local_metadata,
            strict,
            missing_keys,
            unexpected_keys,
            error_msgs,
        )

    @torch.no_grad()
    def materialize(self, chunk_size: int = 65536) -> Tensor:
        """Compute the full table, ``(num_embeddings, embedding_dim)``, in chunks of ids."""
        nothing = self(torch.empty(0, dtype=torch.int64, device=self.device))
        table = nothing.new_empty(self.num_embeddings, self.embedding_dim)
        for ids in self.all_ids(chunk_size):
            table[ids[0] : ids[-1] + 1] = self(ids)
        return table

    def all_ids(self, chunk_size: int = 65536) -> Iterator[Tensor]:
        """Yield all ids in ascending order, ``chunk_size`` at a time, on the layer's device."""
        for start in range(0, self.num_embeddings, chunk_size):
            stop = min(start + chunk_size, self.num_embeddings)
            yield torch.arange(start, stop, device=self.device)

    @property
    def device(self) -> torch.device:
        """Device of the first parameter or buffer."""
        return next(chain(self.parameters(), self.buffers())).device

    @property
    def nbytes(self) -> int:
        """Stored bytes: every parameter and every saved buffer, as in the saved file."""
        return sum(t.numel() * t.element_size() for t in self.state_dict().values())

    @property
    def frozen_nbytes(self) -> int:
        """Bytes that the layer stores once it is frozen; byte budgets mean these."""
        return self.freeze().nbytes

    @property
    def full_nbytes(self) -> int:
        """Bytes of the uncompressed fp32 table, 4 * num_embeddings * embedding_dim."""
        return 4 * self.num_embeddings * self.embedding_dim

    @property
    def compression_ratio(self) -> float:
        """Bytes of the uncompressed fp32 table over `nbytes`."""
        return self.full_nbytes / self.nbytes

    def extra_repr(self) -> str:
        """Return the arguments all compressors share, then the bytes."""
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        sparse = ", sparse=True" if self._sparse else ""
        return (
            f"{self.num_embeddings}, {self.embedding_dim}{padding}{sparse}, "
            f"nbytes={self.nbytes}, compression_ratio={self.compression_ratio:.2f}"
        )


def check_table(name: str, table: Tensor) -> None:
    """Refuse what is no trained table: floating point rows with finite values."""
    check_tensor(name, table)
    if lacks_values(table):
        raise ValueError(f"{name} is on the meta device and has no values")
    if table.layout != torch.strided or table.is_quantized:
        raise ValueError(f"{name} must be an ordinary tensor, got a {table.layout} {table.dtype}")
    if table.ndim != 2 or not table.numel():
        raise ValueError(f"{name} must be (rows, width), got shape {tuple(table.shape)}")
    if not table.is_floating_point():
        raise ValueError(f"{name} must be floating point, got {table.dtype}")
    if not bool(table.isfinite().all()):
        rows = (~table.isfinite()).any(1).nonzero().flatten().tolist()
        more = f" and {len(rows) - 5:,} more" if len(rows) > 5 else ""
        first = ", ".join(map(str, rows[:5]))
        raise ValueError(f"{name} has NaN or infinite numbers in row {first}{more}")


def check_weights(name: str, weights: Tensor | None, rows: int) -> Tensor:
    """Return weights of ids as a new float64 tensor; ones if there are none."""
    if weights is None:
        return torch.ones(rows, dtype=torch.float64)
    check_tensor(name, weights)
    if weights.is_complex() or lacks_values(weights):
        raise ValueError(f"{name} must be real numbers, got {weights.dtype} on {weights.device}")
    if tuple(weights.shape) != (rows,):
        raise ValueError(f"{name} must have shape ({rows},), got {tuple(weights.shape)}")
    found = weights.detach().to(torch.float64, copy=True)
    bad = (~(found.isfinite() & (found >= 0))).nonzero().flatten()
    if len(bad):
        raise ValueError(
            f"{name} must be finite and at least 0, got {float(found[bad[0]]):g} for id "
            f"{int(bad[0])}"
        )
    if not bool((found > 0).any()):
        raise ValueError(f"{name} must not be 0 for every id")
    return found


class TableEmbedding(CompressedEmbedding):
    """A compressor that is address -> look up -> fuse: a subclass defines its `recipe`."""

    def recipe(self) -> Recipe:
        """Return the rows of tables that are read, and their fusion."""
        raise TypeError(f"{type(self).__name__} does not define recipe")

    def fit_to(self, target: Target) -> None:
        """Fit the tables of the recipe by alternating least squares; the addresses stay."""
        reading = self.reading()
        assert isinstance(reading, Recipe)
        fit_recipe(reading, target)

    def row_tables(self) -> list[str]:
        """Return the tables of rows, without weights (a column that multiplies)."""
        recipe = self.recipe()
        tables = {r.name: r.table for r in recipe.reads if isinstance(r.table, Tensor)}
        weighs = recipe.fusion == "mult"
        return [name for name, t in tables.items() if t.shape[1] > 1 or not weighs]

    def reading(self) -> Reading | None:
        """Return the recipe."""
        return self.recipe()

    def compose(self, ids: Tensor) -> Tensor:
        """Carry out the recipe for checked int64 ``ids``."""
        return lookup(ids, self.recipe(), sparse=self.sparse)

    def compose_plainly(self, ids: Tensor) -> Tensor:
        """Carry out the recipe by torch's own operations."""
        if type(self).compose is not TableEmbedding.compose:
            return self.compose(ids)
        return plain_lookup(ids, self.recipe(), sparse=self.sparse)

    def addresses(self, ids: Tensor) -> dict[str, Tensor]:
        """Return the rows that each id reads; see `CompressedEmbedding.addresses`."""
        ids = check_ids(ids, self.num_embeddings)
        recipe = self.recipe()
        rows: dict[str, list[Tensor]] = {}
        for read in filter(None, (*recipe.reads, recipe.weights, recipe.shift)):
            rows.setdefault(read.name, []).append(read.rows(ids))
        ordered = recipe.fusion == "concat" or recipe.weights is not None
        return {name: _as_one(columns, ordered) for name, columns in rows.items()}


def _as_one(columns: list[Tensor], ordered: bool) -> Tensor:
    if len(columns) == 1:
        return columns[0]
    stacked = torch.stack(columns, dim=-1)
    return stacked if ordered else stacked.sort(dim=-1).values
