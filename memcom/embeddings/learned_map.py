"""Learning which ids may share a row, for `memcom.embeddings.learned_hash`.

The idea is that of Ghaemmaghami et al., 2022, https://arxiv.org/abs/2203.15837: group the ids by a
narrow embedding trained before and by how frequent they are. The details are this kit's own.
"""

from __future__ import annotations

import torch
from torch import Tensor

from memcom.embeddings._arguments import whole
from memcom.embeddings._kmeans import assign, kmeans


@torch.no_grad()
def learn_map(
    pre_embedding: Tensor,
    counts: Tensor,
    num_buckets: int,
    *,
    num_hot: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """A map from ids to rows by what the ids mean and how frequent they are.

    The most frequent ids get rows of their own. All others are clustered by k-means on their
    pre-embedding and the logarithm of their frequency, each column scaled to variance 1.

    Args:
        pre_embedding: ``(num_embeddings, width)``, a narrow table trained before.
        counts: ``(num_embeddings,)``, how often each id occurs.
        num_buckets: Rows to map to.
        num_hot: How many ids get rows of their own; half of ``num_buckets`` by default.
        generator: Source of k-means' initial choice; on the CPU.

    Returns:
        int64 ``(num_embeddings,)``; rows from 0 on belong to the hot ids, most frequent first.

    Raises:
        ValueError: A shape or size does not fit.
    """
    num_embeddings = len(pre_embedding)
    if pre_embedding.ndim != 2 or counts.shape != (num_embeddings,):
        raise ValueError(
            "pre_embedding must be (num_embeddings, width) and counts (num_embeddings,), got "
            f"{tuple(pre_embedding.shape)} and {tuple(counts.shape)}"
        )
    whole("num_buckets", num_buckets, 1, num_embeddings)
    hot = whole("num_hot", num_buckets // 2 if num_hot is None else num_hot, 0, num_buckets)
    if hot == num_buckets < num_embeddings:
        raise ValueError(f"num_hot must leave a row for the other ids: < {num_buckets}, got {hot}")
    order = counts.argsort(descending=True, stable=True)
    rows = torch.empty(num_embeddings, dtype=torch.int64, device=counts.device)
    rows[order[:hot]] = torch.arange(hot, device=counts.device)
    cold = order[hot:]
    if len(cold):
        frequency = counts[cold].to(pre_embedding.dtype).log1p().unsqueeze(1)
        features = torch.cat([pre_embedding[cold], frequency], 1)
        features = features - features.mean(0)
        features = features / features.square().mean(0).sqrt().clamp(min=1e-12)
        clusters = num_buckets - hot
        sample = torch.randperm(len(cold), generator=generator)[: 256 * clusters]
        centres = kmeans(features[sample.to(cold.device)], clusters, generator=generator)
        rows[cold] = hot + assign(features, centres)[0]
    return rows
