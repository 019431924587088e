"""Training with FIITED: slots wander to the chunks that are used and still learning.

Luo et al., 2024, https://arxiv.org/abs/2401.04408. The layer is in `memcom.embeddings.fiited`. The
paper builds a chunk's utility from access frequency and gradients; its exact formula is not known
to us, and this one is the kit's:

    u <- decay * u + sum over the batch's lookups of  (1 - mix) + mix |g| / mean |g|

g is the gradient that the chunk's coordinates get from one lookup. A chunk without a slot reads as
zeros and still gets one, so it can earn its way back. Every ``every`` steps the chunks of highest
utility keep or get slots, as many as may be in use then, and all others lose theirs. A chunk that
comes back starts from zeros in the first free slot, so nothing changes until it learns.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from memcom.embeddings._schedule import Schedule, forget_moments
from memcom.embeddings.fiited import FIITEDEmbedding

LARGEST = 1e12  # weight of a new lookup at which all utilities are scaled back


class FIITEDSchedule(Schedule[FIITEDEmbedding]):
    """``for batch: loss.backward(); opt.step(); schedule.step(ids)``, then ``schedule.export()``.

    The gradient is taken by a hook on the layer's output, so the layer has to be called as a module
    and not be compiled while it trains. `close` removes the hook.

    Args:
        emb: The layer.
        prune_steps: From this step on ``num_chunks`` chunks have slots.
        every: Steps between two changes.
        decay: What a step leaves of a utility, in (0, 1].
        mix: Weight of the gradient against plain frequency, in [0, 1].
        optimizer: Forgets its moments of slots that get a new chunk.

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
        emb.utility.mul_(1e-6)  # what is known before the first lookup only breaks ties
        self._hook = emb.register_forward_hook(self._watch)

    def close(self) -> None:
        """Stop watching the layer."""
        self._hook.remove()

    def _watch(self, emb: Any, arguments: tuple[Tensor, ...], vectors: Tensor) -> None:
        if emb.training and vectors.requires_grad:
            ids = arguments[0].detach().reshape(-1).long()
            vectors.register_hook(lambda gradient: self._seen.append((ids, gradient.detach())))

    def update(self, ids: Tensor) -> None:
        """Raise the utilities of what was looked up; move slots when it is time."""
        self._unit /= self.decay
        for looked_up, gradient in self._seen:
            self._credit(looked_up, gradient)
        self._seen.clear()
        if self.due or self._unit > LARGEST:
            self.emb.utility.div_(self._unit)
            self._unit = 1.0
        if self.due:
            self._move(self.allowed(self._start, self.emb.num_chunks))

    def _credit(self, ids: Tensor, gradient: Tensor) -> None:
        emb = self.emb
        width = emb.row_chunks * emb.chunk_dim
        flat = gradient.reshape(len(ids), emb.embedding_dim).float()
        flat = torch.nn.functional.pad(flat, (0, width - emb.embedding_dim))
        norms = flat.view(len(ids), emb.row_chunks, emb.chunk_dim).norm(dim=-1)
        earned = (1 - self.mix) + self.mix * norms / norms.mean().clamp(min=1e-30)
        if emb.padding_idx is not None:
            earned[ids == emb.padding_idx] = 0
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
