"""FIITED: chunks of rows that come and go while the model trains.

Luo et al., "Fine-Grained Embedding Dimension Optimization During Training for Recommender Systems",
2024, https://arxiv.org/abs/2401.04408.

    x_i = C_1 | C_2 | ...      C_c = slots[directory[i, c]],  or zeros where the entry is empty

A row is cut into chunks; each chunk lives in a physical slot, found through a directory, or
nowhere. `FIITEDSchedule` keeps a utility for every chunk, takes slots from chunks of low utility
and gives them to chunks whose utility rises. The remaining chunks are stored as compressed sparse
rows, which is smaller than the directory.

The paper builds a chunk's utility from access frequency and gradients. We have not read its
formula. A review of it [1] prints one, which is ``utility="product"``; the default is the kit's:

    product    u <- decay * u + a |g|         a lookups of the row in the step, g from all of them
    mix        u <- decay * u + sum over the lookups of  (1 - mix) + mix |g| / mean |g|

g is the gradient that the chunk's coordinates get. A chunk without a slot reads as zeros and still
gets one, so it can earn its way back. Where the review has "gradient" we take its norm.

[1] https://www.themoonlight.io/review/fine-grained-embedding-dimension-optimization-during-training-for-recommender-systems
(second-hand: "u(i) = gamma u(i-1) + a(i) g(i)" in iteration i, and without proof that it is the
paper's)
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from memcom.addresses import check_ids, lacks_values
from memcom.embeddings._arguments import Sizes, choice, whole
from memcom.embeddings._card import Card, Paper
from memcom.embeddings._contract import Common, CompressedEmbedding
from memcom.embeddings.csr import CSREmbedding
from memcom.embeddings.registry import register
from memcom.embeddings.schedules import Schedule, forget_moments, interval
from memcom.kernels import gather_rows

__all__ = ["FIITEDEmbedding", "FIITEDSchedule"]

LARGEST = 1e12  # weight of a new lookup at which all utilities are scaled back


@register("fiited")
class FIITEDEmbedding(CompressedEmbedding):
    """Chunks in slots; frozen, the ``num_chunks`` of highest utility.

    Args:
        num_embeddings: Number of ids, sorted by descending frequency.
        embedding_dim: Width of the vectors.
        num_chunks: Chunks that are kept in the end, at most.
        chunk_dim: Coordinates of a chunk. The last of a row is cut off if it does not fit.
        capacity: Physical slots while training, at least ``num_chunks``. By default there is one
            for every chunk, so training takes as many values as a full table and saves nothing;
            with ``num_chunks`` it never takes more values than are shipped, and starts with the
            chunks of the most frequent ids.
        utility: ``"mix"`` or ``"product"``, see above: what `FIITEDSchedule` keeps the chunks by.
        **common: See `Common`.

    State: ``slots`` (capacity, chunk_dim), drawn so that the mean square over all coordinates is
    1; ``directory`` (num_embeddings, chunks of a row), the slot or -1; ``utility`` of the same
    shape, fp32, from 1 for the most frequent id down to 1 / num_embeddings until it is measured.
    """

    card = Card(
        label="FIITED",
        formula="chunks of T[i] that are useful, else 0",
        distinct="lossy",
        because="rows that lost all chunks are one",
        use_when="If what is useful changes during training: chunks of rows come and go.",
        look=("pruning", 2),
        paper=Paper("Luo et al.", 2024, "https://arxiv.org/abs/2401.04408"),
        note="fiited trains with a slot for every chunk unless capacity= is given: only the layer "
        "that is shipped is small, where its paper saves memory in training.",
    )

    directory: Tensor
    utility: Tensor

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        num_chunks: int,
        chunk_dim: int = 4,
        capacity: int | None = None,
        utility: str = "mix",
        **common: Unpack[Common],
    ) -> None:
        super().__init__(num_embeddings, embedding_dim, **common)
        self.credit = choice("utility", utility, ("mix", "product"))
        self.chunk_dim = whole("chunk_dim", min(chunk_dim, embedding_dim), 1)
        self.row_chunks = -(-embedding_dim // self.chunk_dim)
        total = num_embeddings * self.row_chunks
        self.num_chunks = whole("num_chunks", num_chunks, 1, total)
        capacity = total if capacity is None else capacity
        self.capacity = whole("capacity", capacity, num_chunks, total)
        self.slots = self.new_table(self.capacity, self.chunk_dim)
        shape, device = (num_embeddings, self.row_chunks), self.slots.device
        integers = torch.int32 if self.capacity < 2**31 else torch.int64
        self.register_buffer("directory", torch.empty(shape, dtype=integers, device=device))
        self.register_buffer("utility", torch.empty(shape, device=device))
        self.reset_parameters()

    def compose(self, ids: Tensor) -> Tensor:
        """Read every chunk's slot; zero those that have none."""
        slot = self.directory[ids].long()
        chunks = gather_rows(self.slots, slot.clamp(min=0), sparse=self.sparse)
        row = chunks.masked_fill((slot < 0).unsqueeze(-1), 0).flatten(-2)
        return row[..., : self.embedding_dim]

    def addresses(self, ids: Tensor) -> dict[str, Tensor]:
        """Return ``chunks``: rows of a pseudo-table; 0 is "nowhere" and s + 1 is slot s."""
        return {"chunks": self.directory[check_ids(ids, self.num_embeddings)].long() + 1}

    @property
    def num_allocated(self) -> int:
        """Chunks that have a slot now."""
        return int((self.directory >= 0).sum())

    @torch.no_grad()
    def freeze(self) -> CompressedEmbedding:
        """Return the chunks that have a slot, or the ``num_chunks`` of highest utility among them.

        On the meta device, where utilities are not known, ``num_chunks`` of them.
        """
        if lacks_values(self.slots):
            sizes = {"num_chunks": self.num_chunks, "chunk_dim": self.chunk_dim}
            return self.undrawn(CSREmbedding, self.slots.dtype, **sizes)
        kept = self.directory >= 0
        if int(kept.sum()) > self.num_chunks:
            ranked = self.utility.masked_fill(~kept, -torch.inf).flatten()
            kept = torch.zeros_like(ranked, dtype=torch.bool)
            kept[ranked.topk(self.num_chunks).indices] = True
            kept = kept.view_as(self.directory)
        chunks = self.slots.detach()[self.directory[kept].long()]
        return CSREmbedding.from_chunks(chunks, kept, self.embedding_dim, **self.common)

    @torch.no_grad()
    def reset_parameters(self, std: float = 1.0) -> None:
        """Draw the slots; they belong to the most frequent ids' chunks again."""
        total = self.directory.numel()
        nn.init.normal_(self.slots, std=std * (total / self.capacity) ** 0.5)
        number = torch.arange(total, device=self.slots.device).view_as(self.directory)
        self.directory.copy_(number.masked_fill(number >= self.capacity, -1))
        self.utility.copy_((1 - number / total).float())

    def schedule(
        self, num_steps: int, *, optimizer: torch.optim.Optimizer | None = None, **around: Any
    ) -> FIITEDSchedule:
        """Return a schedule that reaches the budget in half of the steps."""
        half, every = max(1, num_steps // 2), interval(num_steps)
        return FIITEDSchedule(self, prune_steps=half, every=every, optimizer=optimizer)

    @classmethod
    def sizes(
        cls, num_embeddings: int, embedding_dim: int, *, chunk_dim: int = 4, **options: Any
    ) -> Sizes:
        """Offer every number of chunks from 1 to all."""
        width = min(whole("chunk_dim", chunk_dim, 1), embedding_dim)
        return CSREmbedding.sizes(num_embeddings, embedding_dim, chunk_dim=width)


class FIITEDSchedule(Schedule[FIITEDEmbedding]):
    """Slots for the chunks of highest utility, at every interval.

    All other chunks lose their slots. A chunk that comes back starts from zeros in the first free
    slot, so nothing changes until it learns. A hook on the layer's output takes the gradient: call
    the layer as a module, and do not compile it while it trains.

    Args:
        emb: The layer.
        prune_steps: From this step on ``num_chunks`` chunks have slots.
        every: Steps between two changes.
        decay: Share of a utility that a step leaves, in (0, 1].
        mix: Weight of the gradient against plain frequency, in [0, 1]; for ``utility="mix"``.
        optimizer: Its moments of slots that get a new chunk are cleared.

    Attributes:
        history: Triples (step, chunks that lost their slot, chunks that got one).

    Raises:
        ValueError: ``decay`` or ``mix`` is out of range.
    """

    def __init__(
        self,
        emb: FIITEDEmbedding,
        *,
        prune_steps: int,
        every: int = 50,
        decay: float = 0.995,
        mix: float = 0.5,
        optimizer: torch.optim.Optimizer | None = None,
    ) -> None:
        super().__init__(emb, prune_steps=prune_steps, every=every)
        if not 0 < decay <= 1 or not 0 <= mix <= 1:
            raise ValueError(f"decay must be in (0, 1] and mix in [0, 1], got {decay} and {mix}")
        self.decay, self.mix = decay, mix
        self.history: list[tuple[int, int, int]] = []
        self._optimizer = optimizer
        self._start = emb.num_allocated
        self._seen: list[tuple[Tensor, Tensor]] = []
        # Instead of shrinking all utilities in every step, new lookups count for more and more.
        self._unit = 1.0
        emb.utility.mul_(1e-20)  # the utilities before the first lookup only break ties
        self._hook = emb.register_forward_hook(self._watch)

    def close(self) -> None:
        """Stop watching the layer."""
        self._hook.remove()

    def _watch(self, emb: Any, arguments: tuple[Tensor, ...], vectors: Tensor) -> None:
        if emb.training and vectors.requires_grad:
            ids = arguments[0].detach().reshape(-1).long()
            vectors.register_hook(lambda gradient: self._seen.append((ids, gradient.detach())))

    def update(self, ids: Tensor) -> None:
        """Raise the utilities of the ids that were looked up; move slots when it is time."""
        self._unit /= self.decay
        if self._seen:
            looked_up, gradients = zip(*self._seen, strict=True)
            width = self.emb.embedding_dim
            self._credit(torch.cat(looked_up), torch.cat([g.reshape(-1, width) for g in gradients]))
            self._seen.clear()
        if self.due or self._unit > LARGEST:
            self.emb.utility.div_(self._unit)
            self._unit = 1.0
        if self.due:
            self._move(self.allowed(self._start, self.emb.num_chunks))

    def _credit(self, ids: Tensor, gradients: Tensor) -> None:
        """Raise the utilities of ``ids (n,)`` for their gradients ``(n, embedding_dim)``."""
        emb = self.emb
        if emb.padding_idx is not None:
            kept = ids != emb.padding_idx
            ids, gradients = ids[kept], gradients[kept]
        pad = emb.row_chunks * emb.chunk_dim - emb.embedding_dim
        chunks = nn.functional.pad(gradients.float(), (0, pad)).unflatten(-1, (emb.row_chunks, -1))
        if emb.credit == "product":
            ids, place, lookups = ids.unique(return_inverse=True, return_counts=True)
            summed = chunks.new_zeros(len(ids), *chunks.shape[1:]).index_add_(0, place, chunks)
            earned = lookups.unsqueeze(-1) * summed.norm(dim=-1)
        else:
            norms = chunks.norm(dim=-1)
            earned = (1 - self.mix) + self.mix * norms / norms.mean().clamp(min=1e-30)
        emb.utility.index_add_(0, ids, earned * self._unit)

    def _move(self, allowed: int) -> None:
        emb = self.emb
        before = (emb.directory >= 0).flatten()
        after = torch.zeros_like(before)
        after[emb.utility.flatten().topk(allowed).indices] = True
        directory = emb.directory.flatten()
        directory[before & ~after] = -1
        in_use = torch.zeros(emb.capacity, dtype=torch.bool, device=before.device)
        in_use[directory[directory >= 0].long()] = True
        new = (after & ~before).nonzero().squeeze(1)
        slots = (~in_use).nonzero().squeeze(1)[: len(new)]
        directory[new] = slots.to(directory.dtype)
        emb.directory.copy_(directory.view_as(emb.directory))
        emb.slots[slots] = 0
        forget_moments(self._optimizer, emb.slots, slots)
        self.history.append((self.steps, int((before & ~after).sum()), len(new)))
