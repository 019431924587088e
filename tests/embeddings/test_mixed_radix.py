from __future__ import annotations

import numpy as np
import pytest

import memcom
from tests.embeddings.oracle import FUSE, check

N, E = 200, 12
IDS = np.arange(N)


@pytest.mark.parametrize("operation", ["mult", "add", "concat"])
def test_mixed_radix(operation):
    layer = memcom.MixedRadixEmbedding(N, E, radices=[5, 7, 6], operation=operation)
    digits = [IDS % 5, IDS // 5 % 7, IDS // 35]

    def formula(s):
        return FUSE[operation]([s[f"tables.{j}"][d] for j, d in enumerate(digits)])

    check(layer, formula)


@pytest.mark.parametrize("operation", ["mult", "add", "concat"])
def test_chinese_remainder(operation):
    layer = memcom.ChineseRemainderEmbedding(N, E, moduli=[5, 7, 6], operation=operation)

    def formula(s):
        return FUSE[operation]([s[f"tables.{j}"][IDS % m] for j, m in enumerate([5, 7, 6])])

    check(layer, formula)
    pairs = {(i % 5, i % 7, i % 6) for i in range(N)}
    assert len(pairs) == N


def test_moduli_with_a_common_divisor_are_refused():
    with pytest.raises(ValueError, match="got 6 and 4 with common divisor 2"):
        memcom.ChineseRemainderEmbedding(N, E, moduli=[25, 6, 4])


@pytest.mark.parametrize("cls", [memcom.MixedRadixEmbedding, memcom.ChineseRemainderEmbedding])
def test_too_few_rows_are_refused(cls):
    name = "radices" if cls is memcom.MixedRadixEmbedding else "moduli"
    with pytest.raises(ValueError, match=f"{name} must multiply to >= 200, got .* product 99"):
        cls(N, E, **{name: [9, 11]})
