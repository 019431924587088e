"""Ids that read the same rows: codes of ids, groups of equal codes, neighbours of one id.

Everything here comes from `emb.addresses(ids)`, in chunks, with no Python loop over ids. The
addresses of an id are packed into one 64-bit integer in mixed radix (radix = rows of the table), so
two ids have equal integers exactly when they read the same rows everywhere. Codes too large for 64
bits are packed into several integers and renumbered: still exact, never hashed.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Protocol

import numpy as np
import torch

from memcom._annotations import checked
from memcom._check import choice, whole
from memcom.collisions.groups import Groups, group_equal

CHUNK = 2**18
"""Ids per call of a layer."""

_LIMIT = 2**62


class Layer(Protocol):
    """The part of an embedding layer that the analysis needs; every compressor has it."""

    num_embeddings: int

    def addresses(self, ids: torch.Tensor) -> dict[str, torch.Tensor]:
        """Rows of each table that `ids` read: `ids.shape` or `(*ids.shape, k)`."""

    def __call__(self, ids: torch.Tensor) -> torch.Tensor:
        """Composed rows, `(*ids.shape, embedding_dim)`."""


def state_of(emb: Layer) -> dict[str, torch.Tensor]:
    """Return the saved tensors of a layer by name; empty for an object without `state_dict`."""
    return getattr(emb, "state_dict", dict)()


def device_of(emb: Layer) -> torch.device:
    """Return the device for a layer's ids: that of its first parameter or buffer."""
    state = state_of(emb)
    return next(iter(state.values())).device if state else torch.device("cpu")


def check_id(emb: Layer, id: int) -> torch.Tensor:
    """Return an id as a batch of one on the layer's device; raise IndexError out of range."""
    if not 0 <= id < emb.num_embeddings:
        raise IndexError(f"id {id} is out of range 0 … {emb.num_embeddings - 1}")
    return torch.tensor([id], device=device_of(emb))


def id_chunks(emb: Layer, chunk_size: int = CHUNK) -> Iterator[torch.Tensor]:
    """Yield all ids of a layer in order, int64, `chunk_size` at a time, on the layer's device."""
    whole("chunk_size", chunk_size, 1)
    device = device_of(emb)
    for start in range(0, emb.num_embeddings, chunk_size):
        yield torch.arange(start, min(start + chunk_size, emb.num_embeddings), device=device)


def addresses_of(emb: Layer, ids: torch.Tensor) -> dict[str, np.ndarray]:
    """Return the addresses of a flat list of ids, int64 `(len(ids), reads)` for each table."""
    found = emb.addresses(ids)
    return {t: a.reshape(len(ids), -1).cpu().numpy() for t, a in found.items()}


def address_chunks(
    emb: Layer, chunk_size: int = CHUNK
) -> Iterator[tuple[torch.Tensor, dict[str, np.ndarray]]]:
    """Yield all ids in order with their addresses, at most `chunk_size` addresses at a time."""
    if emb.num_embeddings == 0:
        return
    reads = sum(rows.shape[1] for rows in addresses_of(emb, check_id(emb, 0)).values())
    for ids in id_chunks(emb, max(1, whole("chunk_size", chunk_size, 1) // max(1, reads))):
        yield ids, addresses_of(emb, ids)


def table_rows(emb: Layer, chunk_size: int = CHUNK) -> dict[str, int]:
    """Count the rows of each table that `emb.addresses` names.

    Sizes come from the `state_dict`; a table that is not in it has rows up to the highest in use.
    """
    state = state_of(emb)
    rows: dict[str, int] = {}
    unknown: set[str] = set()
    for _, addresses in address_chunks(emb, chunk_size):
        if rows and not unknown:
            break
        for table, found in addresses.items():
            if table in state and state[table].dim() > 0:
                rows[table] = state[table].shape[0]
            else:
                unknown.add(table)
                rows[table] = max(rows.get(table, 1), int(found.max()) + 1)
    return rows


@checked
def codes(emb: Layer, chunk_size: int = CHUNK) -> np.ndarray:
    """Number every id by the rows it reads.

    Args:
        emb: The layer.
        chunk_size: Ids per chunk.

    Returns:
        `(num_embeddings,)` int64; two ids have equal codes exactly when they share every address.
    """
    rows = table_rows(emb, chunk_size)
    packed: list[np.ndarray] = []
    for ids, addresses in address_chunks(emb, chunk_size):
        limbs = _pack(addresses, rows)
        packed = packed or [np.empty(emb.num_embeddings, np.int64) for _ in limbs]
        for column, part in zip(packed, limbs, strict=True):
            column[int(ids[0]) : int(ids[0]) + len(ids)] = part
    if not packed:
        return np.zeros(emb.num_embeddings, np.int64)
    code, *more = packed
    for limb in more:
        code = np.unique(code, return_inverse=True)[1]
        code = code * np.int64(emb.num_embeddings) + np.unique(limb, return_inverse=True)[1]
    return code


def _pack(found: dict[str, np.ndarray], rows: dict[str, int]) -> list[np.ndarray]:
    """Write each id's addresses as mixed-radix integers below 2^62, as few as needed."""
    columns = [(rows[t], a[:, j]) for t, a in found.items() for j in range(a.shape[1])]
    limbs: list[list[tuple[int, np.ndarray]]] = []
    for column in columns:
        if not limbs or prod(radix for radix, _ in limbs[-1]) * column[0] > _LIMIT:
            limbs.append([])
        limbs[-1].append(column)
    packed = []
    for limb in limbs:
        value = np.zeros(len(limb[0][1]), np.int64)
        for radix, address in limb:
            value = value * radix + address
        packed.append(value)
    return packed


@checked
def sharing_groups(emb: Layer, chunk_size: int = CHUNK) -> Groups:
    """Group the ids that share *every* address: they can never get different vectors.

    Args:
        emb: The layer.
        chunk_size: Ids per chunk.

    Returns:
        The groups of two and more, largest first.
    """
    return group_equal(codes(emb, chunk_size))


@checked
def neighbours(
    emb: Layer, id: int, table: str | None = None, chunk_size: int = CHUNK
) -> np.ndarray:
    """List the other ids that share rows with one id.

    Args:
        emb: The layer.
        id: The id to find neighbours of.
        table: State name of a table: ids that read at least one of the same rows of it. None: ids
            that share every address.
        chunk_size: Ids per chunk.

    Returns:
        Ascending int64 ids, without `id` itself.

    Raises:
        IndexError: If `id` is not in 0 … num_embeddings - 1.
        ValueError: If the layer has no such table.
    """
    own = addresses_of(emb, check_id(emb, id))
    if table is not None:
        choice("table", table, list(own))
    found = []
    for ids, theirs in address_chunks(emb, chunk_size):
        if table is None:
            same = np.all([(theirs[t] == own[t]).all(axis=1) for t in own], axis=0)
        else:
            same = np.isin(theirs[table], own[table]).any(axis=1)
        found.append(ids.cpu().numpy()[same])
    together = np.concatenate(found)
    return together[together != id]
