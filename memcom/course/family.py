"""The family table: the card of each compressor beside what is measured on it.

Bytes and equal vectors depend on the sizes asked for. Sparse gradients and export do not, and are
measured on a small layer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from memcom.budget import BudgetError, Plan, plan
from memcom.collisions import equal_vectors
from memcom.embeddings import DISTINCT as DISTINCT
from memcom.embeddings import Card, CompressedEmbedding, available, get
from memcom.profiling import TrainingMemory, training_memory

_SMALL = (101, 16)  # ids and width of the layers that gradients and export are tried on


@dataclass(frozen=True)
class FamilyRow:
    """One compressor in the family table.

    Attributes:
        name: Registry name.
        card: Its facts: paper, formula, distinctness.
        nbytes: Bytes stored once frozen, within the budget; else those of the smallest size.
        compression_ratio: Bytes of the full fp32 table over these.
        training: Bytes that it holds while it is trained by Adam with dense gradients, without what
            it learns beforehand.
        too_small: Why the budget is out of reach; empty where it is met.
        equal_pairs: Pairs of ids with the same vector, see `equal_pairs`.
        sparse: Parameters that get sparse gradients if asked to: "all", "some" or "none".
        exports: True if `torch.export` takes the frozen layer and gives its vectors.
    """

    name: str
    card: Card
    nbytes: int
    compression_ratio: float
    training: TrainingMemory
    too_small: str
    equal_pairs: int
    sparse: str
    exports: bool


def family_table(
    num_embeddings: int,
    embedding_dim: int,
    *,
    ratio: float = 16.0,
    names: Iterable[str] | None = None,
) -> list[FamilyRow]:
    """Return card and measurements of the compressors at one budget.

    Every compressor is built, so the sizes must fit into memory; some train a full table.

    Args:
        num_embeddings: Number of ids.
        embedding_dim: Width of the vectors.
        ratio: The budget, as a compression ratio.
        names: Registry names; all if None.

    Returns:
        A row for each, in the order given.

    Raises:
        ValueError: There is no such compressor, or its class has no card.
    """
    rows = []
    for name in available() if names is None else names:
        cls = get(name)
        if not hasattr(cls, "card"):
            raise ValueError(f"{cls.__name__} has no card: give it one, as CONTRIBUTING.md says")
        planned, too_small = _plan(name, num_embeddings, embedding_dim, ratio)
        rows.append(
            FamilyRow(
                name=name,
                card=cls.card,
                nbytes=planned.nbytes,
                compression_ratio=planned.compression_ratio,
                training=training_memory(planned.build(device="meta"), "adam"),
                too_small=too_small,
                equal_pairs=equal_pairs(planned),
                sparse=sparse_gradients(name),
                exports=exports(name),
            )
        )
    return rows


def _plan(name: str, n: int, e: int, ratio: float) -> tuple[Plan, str]:
    """Plan the largest layer within the budget, or the smallest and why it is no smaller."""
    try:
        return plan(name, n, e, ratio=ratio), ""
    except BudgetError:
        sizes = get(name).sizes(n, e)
        return plan(name, n, e, **sizes.arguments(sizes.scales[0])), sizes.floor


@torch.no_grad()
def equal_pairs(planned: Plan) -> int:
    """Count the pairs of ids that no training can tell apart, since they share all numbers.

    Every parameter is moved at random, as training would move it (MEmCom's multipliers all start
    at 1), and the layer is frozen; then pairs of equal vectors are counted. Where training chooses
    the rows that are kept (pruning, learned codes), this is the choice before it.

    Args:
        planned: A layer to build.

    Returns:
        The number of unordered pairs.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer = planned.build()
        for parameter in layer.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        return equal_vectors(layer.freeze()).num_pairs


def sparse_gradients(name: str) -> str:
    """Return which parameters of a compressor get sparse gradients with ``sparse=True``.

    Args:
        name: Registry name.

    Returns:
        "all", "some" or "none" of those that get a gradient.
    """
    layer = _small(name, sparse=True)
    layer(torch.tensor([3, 0, 3])).square().sum().backward()
    gradients = [p.grad for p in layer.parameters() if p.grad is not None]
    sparse = [g.is_sparse for g in gradients]
    return "all" if all(sparse) else "some" if any(sparse) else "none"


def exports(name: str) -> bool:
    """Return True if `torch.export` takes a frozen layer and the program gives its vectors.

    Products may differ in their last digit: compiled lookups add in another order.
    """
    layer, ids = _small(name).freeze().eval(), torch.tensor([3, 0, 3])
    try:
        program = torch.export.export(layer, (ids,))
    except (torch._dynamo.exc.TorchDynamoException, RuntimeError, TypeError, ValueError):
        return False
    return torch.allclose(program.module()(ids), layer(ids), rtol=1e-5, atol=1e-6)


def _small(name: str, **common: bool) -> CompressedEmbedding:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return _plan(name, *_SMALL, 4.0)[0].build(**common)
