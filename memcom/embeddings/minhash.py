"""Minhash signatures: a few bytes per id that estimate how similar two ids are.

Broder, "On the Resemblance and Containment of Documents", 1997; kept to b = 8 bits as in Li and
König, "b-Bit Minwise Hashing", WWW 2010, https://arxiv.org/abs/0910.3349.

    key_k(i) = min over users u of i of h_k(u),   modulo 256

Two ids agree in a key with probability J + (1 - J) / 256, where J is the Jaccard similarity of
their sets of users: both sets have the same least user exactly if the least of the union is in the
intersection.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from memcom._annotations import checked
from memcom.addresses import HASH_BITS, MAX_NUM_EMBEDDINGS, murmur3
from memcom.embeddings._arguments import shown, whole
from memcom.embeddings._flat import derived_seeds

KEY_VALUES = 256


@checked
def minhash_signatures(
    ids: ArrayLike | Tensor,
    users: ArrayLike | Tensor,
    num_embeddings: int,
    *,
    num_keys: int = 8,
    min_count: int = 2,
    seed: int = 0,
) -> Tensor:
    """Return signatures of ids from the interactions they occur in.

    Args:
        ids: ``(n,)`` integers in ``[0, num_embeddings)``: the id of each interaction. Give training
            interactions only.
        users: ``(n,)`` integers >= 0: the user, session or row it occurs in. Repetitions of a pair
            change nothing but the count.
        num_embeddings: Number of ids.
        num_keys: Bytes of a signature.
        min_count: Ids with fewer interactions get a random signature, as in `random_signatures`.
        seed: Seed of the hashes, in ``[0, 2**32)``.

    Returns:
        uint8 tensor of shape ``(num_embeddings, num_keys)``.

    Raises:
        ValueError: The two arrays differ in length, or a user is negative.
        IndexError: An id is out of range.
    """
    whole("num_embeddings", num_embeddings, 1, MAX_NUM_EMBEDDINGS - 1)
    whole("num_keys", num_keys, 1, 2**16)
    whole("min_count", min_count, 0, 2**62)
    item, user = _integers("ids", ids), _integers("users", users)
    if len(item) != len(user):
        raise ValueError(f"ids and users must be as long, got {len(item)} and {len(user)}")
    if len(item) and not 0 <= int(item.min()) <= int(item.max()) < num_embeddings:
        bad = int(item.min()) if item.min() < 0 else int(item.max())
        raise IndexError(f"id {bad} is out of range: ids must be in [0, {num_embeddings})")
    if len(user) and user.min() < 0:
        raise ValueError(f"users must be >= 0, got {int(user.min())}")
    known = torch.bincount(item, minlength=num_embeddings) >= max(1, min_count)
    signatures = random_signatures(num_embeddings, num_keys, seed=seed)
    keys = derived_seeds(torch.tensor(seed), 2 * num_keys)[num_keys:]
    for k, key_seed in enumerate(keys):
        least = torch.full((num_embeddings,), 2**HASH_BITS)
        least.scatter_reduce_(0, item, murmur3(user, key_seed), "amin")
        signatures[known, k] = (least[known] % KEY_VALUES).to(torch.uint8)
    return signatures


def _integers(name: str, values: ArrayLike | Tensor) -> Tensor:
    if not isinstance(values, Tensor):
        array = np.array(values)
        if array.size and (array.dtype.kind not in "iu" or array.max() > 2**63 - 1):
            raise TypeError(f"{name} must be integers below 2**63, got {shown(values)}")
        values = torch.from_numpy(array.astype(np.int64))
    elif values.is_floating_point() or values.is_complex():
        raise TypeError(f"{name} must be integers, got {values.dtype}")
    return values.reshape(-1).long()


def random_signatures(num_embeddings: int, num_keys: int = 8, *, seed: int = 0) -> Tensor:
    """Return hashes of the ids as signatures: any two agree in a key with probability 1 / 256."""
    whole("num_keys", num_keys, 1)
    whole("seed", seed, 0, 2**32 - 1)
    ids = torch.arange(whole("num_embeddings", num_embeddings, 1))
    signatures = torch.empty(num_embeddings, num_keys, dtype=torch.uint8)
    for k, key_seed in enumerate(derived_seeds(torch.tensor(seed), num_keys)):
        signatures[:, k] = (murmur3(ids, key_seed) % KEY_VALUES).to(torch.uint8)
    return signatures
