"""PEP: learned thresholds cut the small weights of a table to zero.

Liu, Gao, Chen, Jin, Li, "Learnable Embedding Sizes for Recommender Systems", ICLR 2021,
https://arxiv.org/abs/2101.07577 (section 3).

    x_i = sign(v_i) relu(|v_i| - reach * sigmoid(s))       v: n x e,   s: one number, or one for
                                                           each dimension, each row or each weight

The remaining weights are stored as compressed sparse rows. Training (section 3.4, `PEPSchedule`):

1. Search. The loss moves the thresholds against each other. Besides, all of them rise together,
   by just enough that no more weights are above them than are allowed by now. (In the authors'
   code weight decay raises them, at a rate that nobody chose; here they have none.)
2. Mask. The ``num_values`` weights that are left become the mask, for good, and the thresholds are
   switched off.
3. Retrain. Every weight of the mask goes back to its first value (the lottery ticket), and so does
   all of the model around the layer; the authors' code starts a new run.

A threshold must start where it has a gradient. At s = -150, which the authors' code uses for
Criteo, sigmoid(s) is 0 in fp32 and so is its derivative: the loss never moves it, only weight decay
does. At -15 it is 3e-7: nothing is cut yet and the gradient is there.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from memcom.addresses import check_ids, lacks_values
from memcom.embeddings._arguments import Sizes, choice, whole
from memcom.embeddings._card import Card, Paper
from memcom.embeddings._contract import Common, CompressedEmbedding
from memcom.embeddings._fit import Target
from memcom.embeddings.csr import CSREmbedding
from memcom.embeddings.registry import register
from memcom.embeddings.schedules import Schedule, interval
from memcom.kernels import gather_rows

__all__ = ["PEPEmbedding", "PEPSchedule"]

GRANULARITIES = ("global", "dimension", "feature", "feature_dimension")
OFF = -1000.0
"""A threshold that is switched off: its sigmoid is exactly 0 in any precision."""


@register("pep")
class PEPEmbedding(CompressedEmbedding):
    """A full table under soft thresholds; frozen, its ``num_values`` largest weights.

    Args:
        num_embeddings: Number of ids, n.
        embedding_dim: Width of the vectors, e.
        num_values: Weights that are kept in the end.
        granularity: ``"global"`` has one threshold, ``"dimension"`` e, ``"feature"`` n and
            ``"feature_dimension"`` n e of them.
        start: First value of the thresholds.
        reach: Bound of a threshold: a weight beyond it cannot be cut. The paper has 1, for tables
            drawn small; 4 reaches the tails of the N(0, 1) that rows are drawn from here.
        **common: See `Common`.

    State: ``table`` (n, e), drawn from N(0, 1); ``threshold`` (1 or n, 1 or e); ``mask`` (n, e)
    bool, True for weights that may be used.
    """

    card = Card(
        label="PEP",
        formula="sign(T[i]) relu(|T[i]| - threshold)",
        distinct="lossy",
        because="rows that fall below the threshold are one",
        use_when="If training may hold a full table and start over once; only the result is small.",
        look=("pruning", 0),
        paper=Paper("Liu et al.", 2021, "https://arxiv.org/abs/2101.07577"),
        note="pep raises its thresholds by a schedule that ends at the budget; in the authors' "
        "code weight decay raises them.",
    )
    own_weights = undecayed = ("threshold",)

    mask: Tensor

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        num_values: int,
        granularity: str = "feature_dimension",
        start: float = -15.0,
        reach: float = 4.0,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(num_embeddings, embedding_dim, **common)
        self.num_values = whole("num_values", num_values, 1, num_embeddings * embedding_dim)
        self.granularity = choice("granularity", granularity, GRANULARITIES)
        if not -80 <= start <= 0:
            raise ValueError(f"start must be in [-80, 0] for a gradient in fp32, got {start}")
        if not reach > 0:
            raise ValueError(f"reach must be > 0, got {reach}")
        self.start, self.reach = float(start), float(reach)
        self.table = self.new_table(num_embeddings, embedding_dim)
        self.threshold = self.new_table(
            num_embeddings if "feature" in granularity else 1,
            embedding_dim if "dimension" in granularity else 1,
        )
        allowed = torch.empty(self.table.shape, dtype=torch.bool, device=self.table.device)
        self.register_buffer("mask", allowed)
        self.reset_parameters()

    def compose(self, ids: Tensor) -> Tensor:
        """Cut the allowed weights by their thresholds."""
        weights = gather_rows(self.table, ids, sparse=self.sparse)
        own = ids if self.threshold.shape[0] > 1 else torch.zeros_like(ids)
        level = self.reach * gather_rows(self.threshold, own, sparse=self.sparse).sigmoid()
        return weights.sign() * (weights.abs() - level).relu() * self.mask[ids]

    def addresses(self, ids: Tensor) -> dict[str, Tensor]:
        """Return ``table``: every id has its own row."""
        return {"table": check_ids(ids, self.num_embeddings)}

    @torch.no_grad()
    def margins(self) -> Tensor:
        """Return each weight's distance above its threshold, ``(n, e)``; -inf if masked."""
        above = self.table.abs() - self.reach * self.threshold.sigmoid()
        return above.masked_fill(~self.mask, -torch.inf)

    @torch.no_grad()
    def kept(self) -> Tensor:
        """Return the ``num_values`` weights that a frozen layer stores, as bool ``(n, e)``."""
        margins = self.margins().flatten()
        kept = torch.zeros_like(margins, dtype=torch.bool)
        kept[margins.topk(self.num_values).indices] = True
        return kept.view_as(self.table)

    @torch.no_grad()
    def freeze(self) -> CompressedEmbedding:
        """Return the ``num_values`` weights that are furthest above their thresholds."""
        if lacks_values(self.table):
            return self.undrawn(CSREmbedding, self.table.dtype, num_chunks=self.num_values)
        kept = self.kept()
        chunks = torch.cat([self.compose(ids) for ids in self.all_ids()])[kept].unsqueeze(1)
        return CSREmbedding.from_chunks(chunks, kept, self.embedding_dim, **self.common)

    def fit_to(self, target: Target) -> None:
        """Keep the numbers whose squares, times their weight, are largest; thresholds are off."""
        importance = (target.table.double().square() * target.weights.unsqueeze(1)).flatten()
        self.table.copy_(target.table)
        self.threshold.fill_(OFF)
        self.mask.zero_().view(-1)[importance.topk(self.num_values).indices] = True

    @torch.no_grad()
    def reset_parameters(self, std: float = 1.0) -> None:
        """Draw the table from N(0, std^2); thresholds and mask are as at the start."""
        nn.init.normal_(self.table, std=std)
        self.threshold.fill_(self.start).requires_grad_(True)
        self.mask.fill_(True)

    def schedule(
        self,
        num_steps: int,
        *,
        model: nn.Module | None = None,
        optimizer: torch.optim.Optimizer | None = None,
        **around: Any,
    ) -> PEPSchedule:
        """Return a schedule that prunes for a third of the steps, and then retrains.

        It rewinds ``model`` with the layer, unless that holds other such tables.
        """
        alone = model is not None and sum(isinstance(m, PEPEmbedding) for m in model.modules()) == 1
        return PEPSchedule(
            self,
            prune_steps=max(1, num_steps // 3),
            every=interval(num_steps),
            model=model if alone else None,
            optimizer=optimizer,
        )

    @classmethod
    def sizes(cls, num_embeddings: int, embedding_dim: int, **options: Any) -> Sizes:
        """Offer every number of kept weights from 1 to all."""
        scales, _, floor = CSREmbedding.sizes(num_embeddings, embedding_dim)
        return Sizes.of("num_values", scales, floor)


class PEPSchedule(Schedule[PEPEmbedding]):
    """Search, mask and retraining of PEP.

    Args:
        emb: The layer, freshly drawn: stage 3 goes back to its present values.
        prune_steps: Steps of stage 1.
        every: Steps between two rises. Each reads the whole table.
        model: Rewound with the layer if given; may contain the layer.
        optimizer: Its state is cleared when the mask freezes.

    Attributes:
        masked_at: Step at which the mask froze, or None.
        history: Pairs (step, weights above their threshold), one for every rise.
    """

    def __init__(
        self,
        emb: PEPEmbedding,
        *,
        prune_steps: int,
        every: int = 50,
        model: nn.Module | None = None,
        optimizer: torch.optim.Optimizer | None = None,
    ) -> None:
        super().__init__(emb, prune_steps=prune_steps, every=every)
        self.masked_at: int | None = None
        self.history: list[tuple[int, int]] = []
        self._module = emb if model is None else model
        self._initial = copy.deepcopy(self._module.state_dict())
        self._initial_table = emb.table.detach().clone()
        self._optimizer = optimizer

    def update(self, ids: Tensor) -> None:
        """Raise the thresholds; freeze the mask when few enough weights are left."""
        if self.masked_at is not None or not self.due:
            return
        emb = self.emb
        self._rise(self.allowed(emb.table.numel(), emb.num_values))
        left = int((emb.margins() > 0).sum())
        self.history.append((self.steps, left))
        if left <= emb.num_values or self.steps >= self.prune_steps:
            self._freeze_mask()

    def _rise(self, allowed: int) -> None:
        """Raise all thresholds alike until at most ``allowed`` weights are above theirs."""
        emb = self.emb
        share = (emb.table.abs() / emb.reach).clamp(1e-30, 1 - 1e-6)
        room = torch.logit(share) - emb.threshold  # a rise by more than this cuts the weight
        if allowed < room.numel():
            first_cut = room.flatten().kthvalue(room.numel() - allowed).values
            emb.threshold.add_(first_cut.clamp(min=0))

    def _freeze_mask(self) -> None:
        kept = self.emb.kept()
        self._module.load_state_dict(self._initial)
        self.emb.table.copy_(self._initial_table)
        self.emb.mask.copy_(kept)
        self.emb.threshold.fill_(OFF).requires_grad_(False)
        self.emb.threshold.grad = None
        if self._optimizer is not None:
            self._optimizer.state.clear()
        self.masked_at = self.steps
        self._initial = {}
        del self._initial_table
