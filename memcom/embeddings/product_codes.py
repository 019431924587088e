"""Product quantisation: a trained table, cut into columns that are clustered one by one.

Jegou, Douze, Schmid, "Product Quantization for Nearest Neighbor Search", TPAMI 2011,
https://doi.org/10.1109/TPAMI.2010.57 (section 2).

    x_i = V_1[c_1(i)] | ... | V_D[c_D(i)]      V_j: K x (e / D),   c_j(i) in {0, ..., K - 1}

Training holds a full table. At four fifths of the steps `CodesSchedule` quantises it: each of D
columns of the table is clustered by k-means into K codewords, and each id gets the codes of its
nearest ones. From then on the layer reads codewords by fixed codes, and training moves the
codewords alone, for the loss of the model instead of the distance to the table. Frequent ids weigh
more in the clustering, if the layer has learned how frequent they are. The paper has neither; it
quantises vectors that stay as they are, each as important as any other.

With ``rotate=True`` the rows are turned before they are cut, so that columns which go together come
into one group: Ge, He, Ke, Sun, "Optimized Product Quantization for Approximate Nearest Neighbor
Search", CVPR 2013, pages 2946-2953, non-parametric (section 3.1); see openaccess.thecvf.com.

    x_i = (V_1[c_1(i)] | ... | V_D[c_D(i)]) R      R: e x e, orthogonal

From the codewords without a rotation on, codes, codewords and R are found in turn, each the best
for the others; R solves the orthogonal Procrustes problem,

    R = U V'      U S V' = sum_i w_i y_i' x_i      y_i: what stands in the brackets, w_i: weights

so the error never rises. R is not trained further. It is stored, in 4 e^2 bytes, and a lookup
multiplies by it.

DPQ has the same form and learns the codes by gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from memcom.addresses import Digit, check_ids, lacks_values
from memcom.embeddings._arguments import Sizes, divisors, flag, group_count, whole
from memcom.embeddings._card import Card, Paper, Statement
from memcom.embeddings._contract import Common, CompressedEmbedding
from memcom.embeddings._fit import Target
from memcom.embeddings._kmeans import assign, kmeans, means, sample
from memcom.embeddings.dpq import CodebookEmbedding, longer_codes, rows_nbytes
from memcom.embeddings.registry import register
from memcom.embeddings.schedules import Schedule
from memcom.kernels import Read, Reading, Recipe, gather_rows
from memcom.kernels.bits import bits_for, packed_nbytes

__all__ = ["CodedEmbedding", "CodesSchedule", "ProductCodesEmbedding", "RotatedEmbedding"]

FLOOR = "the codewords are stored beside the codes of every id"
TURNS = 50
"""Times that codes, codewords and rotation are found in turn."""


class CodedEmbedding(CompressedEmbedding):
    """A full table that is trained, then replaced by codes and codewords that are trained on.

    A subclass defines `fit` and `encode`, and says by ``fusion`` what becomes of the codewords.

    Args:
        num_embeddings: Number of ids, n.
        embedding_dim: Width of the vectors, e.
        num_codes: Codes of an id.
        num_codewords: Values of a code.
        common: See `Common`.
        rotate: `fit` gives a rotation, too.

    State: ``table`` (n, e), drawn from N(0, 1); ``frequency`` (n,), the weights of the ids in
    k-means, 1 until the layer learns; ``codebook.*``, the state of the `CodebookEmbedding` that
    takes the place of the table and is all that is stored in the end, zeros until then;
    ``is_coded`` (1,) bool, True once it has; of rotated ones also ``rotation`` (e, e), which
    multiplies what the codebook gives. All have their shape from the start. Of ``table`` and
    ``codebook.values`` the one that is read asks for a gradient; the schedule gives the codewords
    to its optimizer when they begin to learn. What notes at the start which parameters learn, as
    ``DistributedDataParallel`` does, has to be made anew then.
    """

    fusion: ClassVar[str]
    frequency: Tensor
    is_coded: Tensor
    rotation: Tensor | None

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        num_codes: int,
        num_codewords: int,
        common: Mapping[str, Any],
        *,
        rotate: bool = False,
    ) -> None:
        super().__init__(num_embeddings, embedding_dim, **common)
        self.num_codewords = codeword_count(num_codewords)
        self._num_codes = num_codes
        self.table = self.new_table(num_embeddings, embedding_dim)
        device = self.table.device
        with torch.random.fork_rng(devices=[]):  # what is drawn here is zeroed below
            self.codebook = self._new_codebook(device)
        frequency = torch.empty(num_embeddings, dtype=torch.float32, device=device)
        self.register_buffer("frequency", frequency)
        self.register_buffer("is_coded", torch.empty(1, dtype=torch.bool, device=device))
        square = self.table.new_empty(embedding_dim, embedding_dim) if rotate else None
        self.register_buffer("rotation", square)
        self._reads_codes = False  # `is_coded`, where a graph may branch on it
        self.reset_parameters()

    def _new_codebook(self, device: torch.device | str = "meta") -> CodebookEmbedding:
        return CodebookEmbedding(
            self.num_embeddings,
            self.embedding_dim,
            num_groups=self._num_codes,
            tiers=[(self.num_embeddings, self.num_codewords)],
            fusion=self.fusion,
            device=device,
            dtype=self.table.dtype,
            **self.common,
        )

    def fit(
        self, points: Tensor, weights: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor | None]:
        """Return codewords ``(codes, K, width)``, and a rotation, for rows and their weights."""
        raise TypeError(f"{type(self).__name__} does not define fit")

    def encode(self, rows: Tensor, codewords: Tensor) -> Tensor:
        """Return the int64 codes ``(rows, codes)`` of rows of a table."""
        raise TypeError(f"{type(self).__name__} does not define encode")

    def compose(self, ids: Tensor) -> Tensor:
        """Read the table; once it is coded, the codewords."""
        if not self._reads_codes:
            return gather_rows(self.table, ids, sparse=self.sparse)
        vectors: Tensor = self.codebook(ids)
        return vectors if self.rotation is None else vectors @ self.rotation

    def reading(self) -> Reading | None:
        """Say the same; None of rotated codewords, whose codebook has a reading of its own."""
        if self._reads_codes:
            return self.codebook.reading() if self.rotation is None else None
        return Recipe((Read("table", self.table, Digit(self.num_embeddings)),))

    def addresses(self, ids: Tensor) -> dict[str, Tensor]:
        """Return the row of ``table``; once it is coded, those of ``codebook.values``."""
        if not self._reads_codes:
            return {"table": check_ids(ids, self.num_embeddings)}
        return {f"codebook.{name}": rows for name, rows in self.codebook.addresses(ids).items()}

    def learn(self, counts: Tensor, pretrained: Callable[[int], Tensor], *, seed: int = 0) -> None:
        """Keep the counts, at least 1, as the weights of the ids in k-means."""
        self.frequency.copy_(counts.clamp(min=1))

    def fit_to(self, target: Target) -> None:
        """Copy the table and the weights: `freeze` quantises them."""
        self.reset_parameters()
        self.table.copy_(target.table)
        self.frequency.copy_(target.weights)

    @torch.no_grad()
    def quantise(self, *, generator: torch.Generator | None = None) -> None:
        """Replace the table by codes and codewords, in place.

        Args:
            generator: Source of the sample that is clustered and of its first centres; on the CPU.
        """
        rotation = self._quantise_into(self.codebook, generator)
        if self.rotation is not None and rotation is not None:
            self.rotation.copy_(rotation)
        self.is_coded.fill_(True)
        self._read_codes(True)

    def _quantise_into(
        self, codebook: CodebookEmbedding, generator: torch.Generator | None
    ) -> Tensor | None:
        """Set codes and codewords; return the rotation, if there is one."""
        generator = generator or torch.Generator().manual_seed(0)
        exact = torch.promote_types(self.table.dtype, torch.float32)
        drawn = sample(self.num_embeddings, self.num_codewords, generator).to(self.device)
        points, weights = self.table[drawn].to(exact), self.frequency[drawn]
        codewords, rotation = self.fit(points, weights, generator)
        codebook.values.copy_(codewords.flatten(0, 1))
        codes = []
        for ids in self.all_ids():
            rows = self.table[ids].to(exact)
            rows = rows if rotation is None else rows @ rotation.T
            codes.append(self.encode(rows, codewords).int())
        codebook.set_codes(0, torch.cat(codes))
        return rotation

    def _read_codes(self, coded: bool) -> None:
        if coded != self._reads_codes:
            self._reads_codes = coded
            self.table.grad = self.codebook.values.grad = None
            self._learn_what_is_read()
            # Compiled lookups, of layers around this one too, notice a table that has moved.
            for table in (self.table, self.codebook.values):
                table.data = table.data.clone()

    def _learn_what_is_read(self) -> None:
        """Ask for gradients of the table or of the codewords, never of what is not read."""
        self.table.requires_grad_(not self._reads_codes)
        self.codebook.values.requires_grad_(self._reads_codes)

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, *others: Any
    ) -> None:
        """Load the state, and read codes if it has some."""
        super()._load_from_state_dict(state_dict, prefix, *others)
        if not lacks_values(self.is_coded):
            self._read_codes(bool(self.is_coded))

    @torch.no_grad()
    def freeze(self) -> CompressedEmbedding:
        """Return the codes and the codewords; of a table that has none yet, those it would get."""
        frozen, rotation = self._new_codebook(), self.rotation
        if not lacks_values(self.table):
            frozen = frozen.to_empty(device=self.device)
            if self._reads_codes:
                frozen.load_state_dict(self.codebook.state_dict())
            else:
                rotation = self._quantise_into(frozen, None)
        return frozen if rotation is None else RotatedEmbedding(frozen, rotation)

    @property
    def frozen_nbytes(self) -> int:
        """Bytes of codes, codewords and rotation."""
        return self.codebook.nbytes + (0 if self.rotation is None else self.rotation.nbytes)

    @torch.no_grad()
    def reset_parameters(self, std: float = 1.0) -> None:
        """Draw the table from N(0, std^2); it has no codes, and all ids weigh 1."""
        nn.init.normal_(self.table, std=std)
        for tensor in (*self.codebook.state_dict().values(), self.rotation):
            if tensor is not None:
                tensor.zero_()
        self.frequency.fill_(1)
        self.is_coded.fill_(False)
        self._read_codes(False)
        self._learn_what_is_read()

    def resize_num_embeddings(self, num_embeddings: int) -> Any:
        """Return a layer for more ids, as long as the table has no codes.

        Args:
            num_embeddings: Number of ids, at least that of this layer.

        Returns:
            A layer of the same class and arguments, on the same device.

        Raises:
            ValueError: The table has been replaced by codes, and new ids would have none.
        """
        if self._reads_codes:
            raise ValueError(
                f"{type(self).__name__} of {self.num_embeddings} ids cannot be resized to "
                f"{num_embeddings}: its table has been replaced by codes, and new ids have none"
            )
        return super().resize_num_embeddings(num_embeddings)

    def schedule(
        self, num_steps: int, *, optimizer: torch.optim.Optimizer | None = None, **around: Any
    ) -> CodesSchedule:
        """Return a schedule that quantises after four fifths of the steps."""
        return CodesSchedule(self, prune_steps=max(1, num_steps * 4 // 5), optimizer=optimizer)

    def distinctness(self) -> Statement:
        """Return the statement for the number of codes."""
        return self.codebook.distinctness()


class RotatedEmbedding(CompressedEmbedding):
    """The vectors of another layer, times a fixed matrix.

    Args:
        embedding: The layer.
        rotation: ``(e, e)``, orthogonal; copied in the layer's dtype.

    State: that of the layer, as ``embedding.*``; ``rotation`` (e, e), a buffer.
    """

    rotation: Tensor

    def __init__(self, embedding: CodebookEmbedding, rotation: Tensor) -> None:
        super().__init__(embedding.num_embeddings, embedding.embedding_dim, **embedding.common)
        self.embedding = embedding
        self.register_buffer("rotation", rotation.detach().to(embedding.values.dtype, copy=True))

    def compose(self, ids: Tensor) -> Tensor:
        """Look up the layer, and multiply."""
        vectors: Tensor = self.embedding(ids) @ self.rotation
        return vectors

    def addresses(self, ids: Tensor) -> dict[str, Tensor]:
        """Return the layer's addresses, prefixed by ``embedding.``."""
        return {f"embedding.{k}": v for k, v in self.embedding.addresses(ids).items()}

    def reset_parameters(self, std: float = 1.0) -> None:
        """Reset the layer; nothing is rotated."""
        self.embedding.reset_parameters(std)
        nn.init.eye_(self.rotation)

    def distinctness(self) -> Statement:
        """Return the layer's statement: a rotation keeps vectors apart."""
        return self.embedding.distinctness()


class CodesSchedule(Schedule[CodedEmbedding]):
    """Quantisation of a table at one step of the training.

    Args:
        emb: The layer.
        prune_steps: Step after which the table is replaced; later ones train the codewords.
        optimizer: Gets the codewords, beside the table, when they begin to learn.
        seed: Seed of k-means.
    """

    def __init__(
        self,
        emb: CodedEmbedding,
        *,
        prune_steps: int,
        optimizer: torch.optim.Optimizer | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(emb, prune_steps=prune_steps, every=prune_steps)
        self._optimizer = optimizer
        self._generator = torch.Generator().manual_seed(seed)

    def update(self, ids: Tensor) -> None:
        """Quantise, if it is time and a loaded state has not brought codes."""
        if self.within_budget or self.steps < self.prune_steps:
            return
        self.emb.quantise(generator=self._generator)
        table, values = self.emb.table, self.emb.codebook.values
        for group in self._optimizer.param_groups if self._optimizer is not None else ():
            members = group["params"]
            if any(each is table for each in members) and all(
                each is not values for each in members
            ):
                members.append(values)

    @property
    def within_budget(self) -> bool:
        """True once the layer reads codes."""
        return self.emb._reads_codes


@register("pq")
class ProductCodesEmbedding(CodedEmbedding):
    """A full table, later codewords of ``num_groups`` columns side by side.

    Args:
        num_embeddings: Number of ids, n.
        embedding_dim: Width of the vectors, e; a multiple of ``num_groups``.
        num_groups: Codes of an id, D.
        num_codewords: Values of a code, K; best a power of two.
        rotate: Turn the rows before they are cut, so that columns which go together share a code.
        **common: See `Common`.

    State: as `CodedEmbedding`, with ``codebook.values`` (D K, e / D).
    """

    card = Card(
        label="product codes",
        formula="[V1[c1(i)], ..., VD[cD(i)]], c: clusters of a trained table",
        distinct="learned",
        because="D codes of log2(K) bits; nothing keeps two ids apart",
        use_when="If training may hold a full table: it is trained as it is, and coded at the end.",
        look=("rounding", 3),
        paper=Paper("Jegou et al.", 2011, "https://doi.org/10.1109/TPAMI.2010.57"),
        learns="frequencies",
        note="pq and rq cluster the trained table at four fifths of the training, frequent ids "
        "weighing more, and then train the codewords in the model; their papers do neither.",
    )
    fusion = "concat"

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        num_groups: int,
        num_codewords: int,
        rotate: bool = False,
        **common: Unpack[Common],
    ) -> None:
        self.num_groups = group_count(embedding_dim, num_groups)
        sizes = self.num_groups, num_codewords
        rotate = flag("rotate", rotate)
        super().__init__(num_embeddings, embedding_dim, *sizes, common, rotate=rotate)

    def fit(
        self, points: Tensor, weights: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor | None]:
        """Cluster each group of columns by itself; with a rotation go on from there."""
        found = [
            kmeans(column, self.num_codewords, weights=weights, generator=generator)
            for column in self._columns(points)
        ]
        codewords = torch.stack(found)
        if self.rotation is None:
            return codewords, None
        return self._turn(points, weights, codewords)

    def _turn(self, points: Tensor, weights: Tensor, codewords: Tensor) -> tuple[Tensor, Tensor]:
        """Find codes, codewords and rotation in turn."""
        weighted = points * weights.to(points.dtype).unsqueeze(1)
        rotation = torch.eye(points.shape[1], dtype=points.dtype, device=points.device)
        for _ in range(TURNS):
            rows = points @ rotation.T
            codes = self.encode(rows, codewords)
            books = []
            for column, code, book in zip(
                self._columns(rows), codes.unbind(1), codewords, strict=True
            ):
                centres, sizes = means(column, code, len(book), weights)
                books.append(torch.where(sizes.unsqueeze(1) > 0, centres, book))
            codewords = torch.stack(books)
            coded = torch.cat([b[c] for b, c in zip(codewords, codes.unbind(1), strict=True)], 1)
            u, _, v = torch.linalg.svd((coded.T @ weighted).double())
            rotation = (u @ v).to(points.dtype)
        return codewords, rotation

    def _columns(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Cut rows into groups of columns."""
        return rows.view(len(rows), self.num_groups, -1).unbind(1)

    def encode(self, rows: Tensor, codewords: Tensor) -> Tensor:
        """Return the nearest codeword of each group of columns."""
        pairs = zip(self._columns(rows), codewords, strict=True)
        return torch.stack([assign(column, book)[0] for column, book in pairs], 1)

    @classmethod
    def sizes(
        cls, num_embeddings: int, embedding_dim: int, *, bits: int | None = None, **options: Any
    ) -> Sizes:
        """Offer numbers of groups and codewords, by bytes; more bytes always mean longer codes."""
        groups = divisors(embedding_dim)
        if "num_groups" in options:
            groups = [group_count(embedding_dim, options["num_groups"])]
        widths = {"num_groups": {count: embedding_dim // count for count in groups}}
        found = code_sizes(num_embeddings, widths, bits, options)
        if options.get("rotate"):
            found = found._replace(floor=f"a rotation of 4 * {embedding_dim}^2 bytes and {FLOOR}")
        return found


def codeword_count(num_codewords: int) -> int:
    """Return ``num_codewords``, or raise an error with its range."""
    return whole("num_codewords", num_codewords, 2, 2**16)


def code_sizes(
    num_embeddings: int,
    widths: Mapping[str, Mapping[int, int]],
    bits: int | None,
    options: Mapping[str, Any],
) -> Sizes:
    """Return the sizes of a coded layer, with codes of 4 to 8 bits.

    Args:
        num_embeddings: Number of ids.
        widths: The name of the number of codes -> its values -> the width of a codeword.
        bits: Bits of the stored codewords; None for float32.
        options: Options that are given.

    Returns:
        The sizes; more bytes always mean longer codes.
    """
    ((option, width_of),) = widths.items()
    most = min(8, max(1, num_embeddings.bit_length() - 1))
    books = [2**b for b in range(min(4, most), most + 1)]
    if "num_codewords" in options:
        books = [codeword_count(options["num_codewords"])]

    def arguments(shape: tuple[int, int]) -> dict[str, int]:
        return {option: shape[0], "num_codewords": shape[1]}

    @cache
    def codebook(codewords: int, width: int) -> int:
        return rows_nbytes(torch.empty(codewords, width, device="meta"), bits)

    def stored(shape: tuple[int, int]) -> int:
        codes, codewords = shape
        packed = packed_nbytes(num_embeddings * codes, bits_for(codewords))
        return packed + codes * codebook(codewords, width_of[codes])

    kept = longer_codes(((codes, k) for codes in width_of for k in books), stored)
    return Sizes(range(len(kept)), lambda scale: arguments(kept[scale]), FLOOR)
