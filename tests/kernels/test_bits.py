from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from memcom.kernels.bits import bits_for, pack, pack_rows, packed_nbytes, unpack, unpack_rows


def packed_by_text(codes: list[int], bits: int) -> np.ndarray:
    """The same string of bits, written out as text, least significant bit first."""
    text = "".join(format(code, f"0{bits}b")[::-1] for code in codes)
    text += "0" * (-len(text) % 8)
    return np.array([int(text[j : j + 8][::-1], 2) for j in range(0, len(text), 8)], np.uint8)


@settings(deadline=None)
@given(st.data(), st.integers(1, 40), st.integers(1, 40))
def test_codes_are_packed_end_to_end_and_come_back(data, bits, count):
    codes = data.draw(st.lists(st.integers(0, 2**bits - 1), min_size=count, max_size=count))
    packed = pack(torch.tensor(codes), bits)
    np.testing.assert_array_equal(packed.numpy(), packed_by_text(codes, bits))
    assert len(packed) == packed_nbytes(count, bits) == -(-count * bits // 8)
    index = torch.arange(count).flip(0).view(1, -1)
    assert unpack(packed, index, bits).tolist() == [codes[::-1]]


@settings(deadline=None)
@given(st.data(), st.sampled_from([2, 3, 4, 8]), st.integers(1, 40))
def test_each_row_is_packed_by_itself_to_whole_bytes(data, bits, width):
    row = st.lists(st.integers(0, 2**bits - 1), min_size=width, max_size=width)
    rows = data.draw(st.lists(row, min_size=1, max_size=3))
    packed = pack_rows(torch.tensor(rows), bits)
    assert packed.dtype == torch.uint8
    np.testing.assert_array_equal(packed.numpy(), [packed_by_text(row, bits) for row in rows])
    assert unpack_rows(packed, width, bits).tolist() == rows
    assert unpack_rows(packed.view(-1, 1, packed.shape[1]), width, bits).tolist() == [
        [row] for row in rows
    ]


@pytest.mark.parametrize(("count", "bits"), [(1, 1), (2, 1), (3, 2), (256, 8), (257, 9)])
def test_bits_for_a_number_of_codes(count, bits):
    assert bits_for(count) == bits


@pytest.mark.parametrize("bad", [-1, 8])
def test_a_code_that_does_not_fit_is_named(bad):
    with pytest.raises(ValueError, match=rf"in \[0, 8\).*got {bad}$"):
        pack(torch.tensor([0, 7, bad]), 3)


def test_no_codes_take_no_bytes():
    assert pack(torch.empty(0, 4, dtype=torch.int64), 5).shape == (0,)


def test_pieces_join_without_a_seam(monkeypatch):
    codes = torch.randint(2**7, (1000,))
    whole = pack(codes, 7)
    monkeypatch.setattr("memcom.kernels.bits.CHUNK", 8)
    assert torch.equal(pack(codes, 7), whole)
