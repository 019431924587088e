"""LMA: ids share memory in proportion to how alike they are.

Desai, Pan, Sun, Chou, Shrivastava, "Semantically Constrained Memory Allocation (SCMA) for Embedding
in Efficient Recommendation Systems", 2021, https://arxiv.org/abs/2103.06124.

    x_i[j] = M[ h_j( S[i, p_j1], ..., S[i, p_jt] ) ]        M: flat,  S: n x K bytes

S[i] is a minhash signature of the users that id i occurs with (see `memcom.embeddings.minhash`);
coordinate j looks at t of its K keys. Where two ids agree in all t they share the cell, which
happens with probability of about J^t for sets of Jaccard similarity J; where they do not, the cell
is a random one. With random signatures (the default) this is ROBE with runs of one cell.

Ids with equal signatures have equal vectors. The signatures are stored: K bytes per id. Sizes are
this kit's: 8 keys of 8 bits, of which a coordinate looks at 4 different ones. The authors' code has
16 keys of 4 bits in the same 64 bits and picks 8, with repetition.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from memcom.addresses import DerivedSeed, Signature, lacks_values, murmur3
from memcom.embeddings._arguments import Sizes, whole
from memcom.embeddings._card import Card, Paper
from memcom.embeddings._contract import Common
from memcom.embeddings._flat import MAX_CELLS, FlatEmbedding, derived_seeds
from memcom.embeddings.minhash import KEY_VALUES, minhash_signatures, random_signatures
from memcom.embeddings.registry import register
from memcom.kernels import Reading, Recipe, Run

__all__ = ["LMAEmbedding", "minhash_signatures"]

if TYPE_CHECKING:
    from memcom.embeddings.learning import Occurrences

MAX_PICKS = 7  # as many bytes fit below 2^63, where hashes end


@register("lma")
class LMAEmbedding(FlatEmbedding):
    """A cell of ``memory`` per coordinate, addressed by some keys of the id's signature.

    Args:
        num_embeddings: Number of ids, n.
        embedding_dim: Width of the vectors, e.
        memory_size: Cells of the memory.
        signatures: uint8 tensor of shape (n, K), from `minhash_signatures`; None for 8 random
            keys per id.
        num_picks: Number of keys that a coordinate looks at, t: at most 7, and at most K. The
            more, the more alike two ids must be to share.
        seed: Seed of the hashes, the random signatures' included.
        **common: See `Common`.

    Raises:
        ValueError: The signatures are not uint8 of shape (n, K).

    State: ``memory`` (memory_size, 1) drawn from N(0, 1); ``signatures`` (n, K) uint8; ``seeds``
    (1,) int64.
    """

    card = Card(
        label="LMA",
        formula="x[j] = M[hj(keys of S[i])], S: signatures",
        distinct="by chance",
        because="ids with the same signature are one",
        use_when="If interactions are at hand that tell which ids are alike.",
        look=("memory", 1),
        paper=Paper("Desai et al.", 2021, "https://arxiv.org/abs/2103.06124"),
        slow="gathers single numbers, from places hashed out of a signature",
        learns="signatures, from the users, sessions or texts that an id occurs in",
        note="lma has 8 keys of 8 bits an id and reads 4 of them for a coordinate; the authors' "
        "kernel has keys of 4 bits and picks 8, repeats allowed.",
    )

    signatures: Tensor

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        memory_size: int,
        signatures: Tensor | None = None,
        num_picks: int = 4,
        seed: int = 0,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(num_embeddings, embedding_dim, **common)
        self.memory_size = whole("memory_size", memory_size, 1, MAX_CELLS)
        self.num_keys = signature_bytes(signatures, num_embeddings)
        self.num_picks = whole("num_picks", num_picks, 1, min(self.num_keys, MAX_PICKS))
        self.seed = seed
        self.given = signatures is not None
        self.memory = self.new_table(memory_size, 1)
        device = self._factory["device"]
        stored = torch.empty(num_embeddings, self.num_keys, dtype=torch.uint8, device=device)
        if signatures is not None:
            stored.copy_(signatures)
        self.register_buffer("signatures", stored)
        self.add_seeds(seed)
        self.reset_parameters()

    def picks(self) -> Tensor:
        """Return the keys that each coordinate looks at, ``(embedding_dim, num_picks)``."""
        ranks = derived_seeds(self.seeds[0], self.embedding_dim * self.num_keys)
        return ranks.view(self.embedding_dim, self.num_keys).argsort(dim=-1)[:, : self.num_picks]

    def reading(self) -> Reading:
        """Say the same as runs of one cell."""
        seed, first = self.seeds[0], self.embedding_dim * self.num_keys
        runs = []
        for j, picks in enumerate(self.picks().tolist()):
            derived = DerivedSeed(seed, first + j)
            start = Signature(self.memory_size, self.signatures, tuple(picks), derived)
            runs.append(Run("memory", self.memory, start, 1))
        return Recipe(tuple(runs), "concat")

    def cells(self, ids: Tensor) -> Tensor:
        """Hash, for each coordinate, the keys that it looks at."""
        e, keys, picks = self.embedding_dim, self.num_keys, self.picks()
        cell_seeds = derived_seeds(self.seeds[0], e * keys + e)[e * keys :]
        signature = self.signatures[ids].long()
        code = torch.zeros_like(ids).unsqueeze(-1)
        for pick in picks.unbind(-1):
            code = code * KEY_VALUES + signature.index_select(-1, pick)
        return torch.remainder(murmur3(code, cell_seeds), self.memory_size)

    def reset_parameters(self, std: float = 1.0) -> None:
        """Draw every cell from N(0, std^2); given signatures stay, random ones are made again."""
        nn.init.normal_(self.memory, std=std)
        self.reset_seeds()
        if not self.given and not lacks_values(self.signatures):
            random = random_signatures(self.num_embeddings, self.num_keys, seed=self.seed)
            self.signatures.copy_(random)

    @classmethod
    def learned_options(cls, known: Occurrences, *, head: int = 0) -> dict[str, Any]:
        """Learn the signatures."""
        signatures = minhash_signatures(known.ids, known.groups, known.num_embeddings)
        return {"signatures": signatures[head:]}

    @classmethod
    def sizes(
        cls,
        num_embeddings: int,
        embedding_dim: int,
        *,
        signatures: Tensor | None = None,
        **options: Any,
    ) -> Sizes:
        """Offer every number of cells from 1 to the numbers of the full table."""
        keys = signature_bytes(signatures, num_embeddings)
        floor = (
            f"every id stores a signature of {keys} bytes, so "
            f"ratio < {4 * embedding_dim / keys:g}; signatures of fewer keys are smaller"
        )
        cells = range(1, min(num_embeddings * embedding_dim, MAX_CELLS) + 1)
        return Sizes.of("memory_size", cells, floor)


def signature_bytes(signatures: Tensor | None, num_embeddings: int) -> int:
    """Keys per id, one byte each: 8 without signatures."""
    if signatures is None:
        return 8
    shape = tuple(signatures.shape)
    if signatures.dtype != torch.uint8 or len(shape) != 2 or shape[0] != num_embeddings:
        raise ValueError(
            f"signatures must be uint8 of shape ({num_embeddings}, keys), "
            f"got {signatures.dtype} of shape {shape}"
        )
    return shape[1]
