from __future__ import annotations

import numpy as np
import pytest
import torch

import memcom
from tests.embeddings.oracle import FUSE, check, hashed

N, E = 200, 12
IDS = np.arange(N)


def blocks(code: np.ndarray, length: int, bits: int, strategy: str) -> list[np.ndarray]:
    """Blocks from the code's bits as text, most significant last."""
    text = [format(int(c), f"0{length}b")[::-1] for c in code]
    count = -(-length // bits)
    if strategy == "skip":
        return [np.array([int(t[j::count][::-1], 2) for t in text]) for j in range(count)]
    starts = range(0, length, bits)
    return [np.array([int(t[j : j + bits][::-1], 2) for t in text]) for j in starts]


@pytest.mark.parametrize("fusion", ["sum", "concat", "mult"])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("strategy", ["succession", "skip"])
@pytest.mark.parametrize("hash", [None, 9])
def test_binary_code(fusion, shared, strategy, hash):
    layer = memcom.BinaryCodeEmbedding(
        N, 16, block_bits=4, strategy=strategy, shared=shared, fusion=fusion, hash=hash
    )
    code, length = (IDS, 8) if hash is None else (hashed(IDS, hash), 32)

    def formula(s):
        rows = enumerate(blocks(code, length, 4, strategy))
        return FUSE[fusion]([s[f"tables.{0 if shared else j}"][r] for j, r in rows])

    check(layer, formula)


def test_a_binary_code_stores_no_row_that_no_id_reads():
    layer = memcom.BinaryCodeEmbedding(600, E, block_bits=4)  # 10 bits; 599 = 0b10_0101_0111
    assert [len(t) for t in layer.tables] == [16, 16, 3]
    rows = [r.unique() for r in layer.addresses(torch.arange(600)).values()]
    assert [len(r) for r in rows] == [16, 16, 3]


def test_a_shared_table_and_a_sum_cannot_tell_permuted_blocks_apart():
    layer = memcom.BinaryCodeEmbedding(256, E, block_bits=4, shared=True)
    assert torch.equal(layer(torch.tensor(0x3A)), layer(torch.tensor(0xA3)))
    # 16 values of a block, 2 blocks: C(17, 2) = 136 multisets.
    assert len(layer.materialize().unique(dim=0)) == 136
    assert len(layer.addresses(torch.arange(256))["tables.0"].unique(dim=0)) == 136
    apart = memcom.BinaryCodeEmbedding(256, E, block_bits=4)
    assert len(apart.materialize().unique(dim=0)) == 256
