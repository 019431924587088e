"""Information abundance: the number of dimensions that a table really uses.

Guo et al., "On the Embedding Collapse when Scaling up Recommendation Models", ICML 2024,
https://arxiv.org/abs/2310.04400, measure collapse by

    IA(E) = ||sigma||_1 / ||sigma||_inf        sigma: singular values of E (n x e)

It lies between 1 (all rows on one line) and min(n, e) (all directions equally strong).

Nothing larger than an e x e matrix is kept: sigma^2 are the eigenvalues of E^T E, which is summed
over chunks of rows in float64. Rounding loses singular values below about 1e-8 of the largest; they
add nothing to the sum.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from memcom.embeddings import CompressedEmbedding

CHUNK = 2**16
"""Rows composed at a time."""


@torch.no_grad()
def spectrum(table: Tensor | nn.Module, chunk_size: int = CHUNK) -> Tensor:
    """Compute the singular values of a table, largest first.

    Args:
        table: ``(num_embeddings, embedding_dim)``, a compressor, or `torch.nn.Embedding`.
        chunk_size: Rows composed at a time.

    Returns:
        float64 ``(min(num_embeddings, embedding_dim),)`` on the CPU.

    Raises:
        ValueError: If the table is not a matrix, is empty, or holds values that are not finite.
    """
    gram, rows = None, 0
    for chunk in _chunks(table, chunk_size):
        chunk = chunk.double()
        gram = chunk.T @ chunk if gram is None else gram + chunk.T @ chunk
        rows += len(chunk)
    if gram is None or not rows or not len(gram):
        raise ValueError("an empty table has no singular values")
    if not bool(gram.isfinite().all()):
        raise ValueError("the table holds values that are not finite")
    values = torch.linalg.eigvalsh(gram.cpu()).flip(0).clamp(min=0).sqrt()
    return values[: min(rows, len(values))]


def information_abundance(table: Tensor | nn.Module, chunk_size: int = CHUNK) -> float:
    """Compute the sum of the singular values over the largest one.

    Args:
        table: As for `spectrum`.
        chunk_size: Rows composed at a time.

    Returns:
        A number in [1, min(num_embeddings, embedding_dim)]; NaN for a table of zeros.

    Raises:
        ValueError: As `spectrum`.
    """
    values = spectrum(table, chunk_size)
    return float(values.sum() / values[0])


def _chunks(table: Tensor | nn.Module, chunk_size: int) -> Iterator[Tensor]:
    if chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1, got {chunk_size}")
    if isinstance(table, CompressedEmbedding):
        yield from (table(ids) for ids in table.all_ids(chunk_size))
        return
    rows = table.weight if isinstance(table, nn.Embedding) else table
    if not isinstance(rows, Tensor) or rows.ndim != 2:
        what = f"shape {tuple(rows.shape)}" if isinstance(rows, Tensor) else type(table).__name__
        raise ValueError(f"expected a matrix, a compressor or torch.nn.Embedding, got {what}")
    yield from rows.detach().split(chunk_size)
