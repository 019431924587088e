from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils import murmurhash3_32

from memcom.addresses import (
    MAX_NUM_EMBEDDINGS,
    Clamp,
    Digit,
    binary_code_digits,
    check_ids,
    mixed_radix_digits,
    murmur3,
)

ids = st.lists(st.integers(0, MAX_NUM_EMBEDDINGS - 1), min_size=1, max_size=50)
seeds = st.integers(0, 2**32 - 1)


@given(ids, st.integers(1, 2**40), st.integers(1, 2**40))
def test_a_digit_is_exact_integer_arithmetic(ids, modulus, divisor):
    rows = Digit(modulus, divisor=divisor)(torch.tensor(ids))
    assert rows.tolist() == [(i // divisor) % modulus for i in ids]


def test_quotients_above_two_to_the_24_are_not_rounded():
    # In float32, 16,777,219 / 4 gives 4,194,305.
    quotient = Digit(2**23, divisor=4)
    assert quotient(torch.tensor([16_777_219, 16_777_220])).tolist() == [4_194_304, 4_194_305]
    for collisions in (2, 4, 16, 60):
        i = torch.randint(20_000_000, 30_000_000, (10_000,))
        expected = i.numpy() // collisions
        assert np.array_equal(Digit(2**24, divisor=collisions)(i).numpy(), expected)


@given(st.lists(st.integers(2, 50), min_size=1, max_size=4))
def test_mixed_radix_digits_determine_the_id(radices):
    n = min(math.prod(radices), 5000)
    digits = [digit(torch.arange(n)).tolist() for digit in mixed_radix_digits(radices)]
    places = [math.prod(radices[:j]) for j in range(len(radices))]
    for i, row in enumerate(zip(*digits, strict=True)):
        assert i == sum(d * place for d, place in zip(row, places, strict=True))
        assert all(d < m for d, m in zip(row, radices, strict=True))


@given(st.integers(1, 12), st.data(), st.sampled_from(["succession", "skip"]))
def test_blocks_of_a_binary_code_hold_each_bit_once(code_bits, data, strategy):
    block_bits = data.draw(st.integers(1, code_bits))
    digits = binary_code_digits(code_bits, block_bits, strategy=strategy)
    assert len(digits) == math.ceil(code_bits / block_bits)
    assert math.prod(d.modulus for d in digits) == 2**code_bits
    assert all(d.modulus <= 2**block_bits for d in digits)
    code = torch.arange(2**code_bits)
    rows = torch.stack([d(code) for d in digits], dim=1)
    assert all((rows[:, j] < d.modulus).all() for j, d in enumerate(digits))
    assert len(rows.unique(dim=0)) == 2**code_bits


def test_skip_by_hand_and_never_past_its_table():
    # A public implementation weighs a bit by its place in the whole code, so that it reads past
    # the end: length 24, blocks of 8 bits, code 2^24 - 1 asks for row 2,396,745 of 768.
    digits = binary_code_digits(24, 8, strategy="skip")
    assert [int(d(torch.tensor(2**24 - 1))) for d in digits] == [255, 255, 255]
    # 9999 = 0b10011100001111: bits 0, 3, 6, ... are 1, 1, 0, 1, 0 and so on.
    bits = [(9999 >> b) & 1 for b in range(24)]
    expected = [sum(bit << k for k, bit in enumerate(bits[j::3])) for j in range(3)]
    assert [int(d(torch.tensor(9999))) for d in digits] == expected


def test_succession_by_hand():
    digits = binary_code_digits(8, 3)
    assert [d.modulus for d in digits] == [8, 8, 4]
    assert [int(d(torch.tensor(0b01_101_011))) for d in digits] == [0b011, 0b101, 0b01]


@given(ids, seeds)
def test_murmur3_is_the_published_hash(ids, seed):
    expected = [murmurhash3_32(i.to_bytes(8, "little"), seed=seed, positive=True) for i in ids]
    assert murmur3(torch.tensor(ids), seed).tolist() == expected
    assert murmur3(torch.tensor(ids), torch.tensor(seed)).tolist() == expected


@given(ids, seeds, st.integers(1, 1000))
def test_a_hashed_digit_is_a_digit_of_the_hash(ids, seed, modulus):
    rows = Digit(modulus, seed=torch.tensor(seed))(torch.tensor(ids))
    hashes = [murmurhash3_32(i.to_bytes(8, "little"), seed=seed, positive=True) for i in ids]
    assert rows.tolist() == [h % modulus for h in hashes]


def test_hashed_rows_are_evenly_filled():
    rows = Digit(100, seed=torch.tensor(3))(torch.arange(0, 10**6, 10))  # ids that share a factor
    counts = np.bincount(rows.numpy(), minlength=100)
    chi_square = ((counts - 1000) ** 2 / 1000).sum()
    assert chi_square < 150  # 99 degrees of freedom: 1 in 1000 lies above 149


def test_clamp_keeps_the_frequent():
    assert Clamp(3)(torch.tensor([0, 2, 3, 4, 2**40])).tolist() == [0, 2, 3, 3, 3]


@pytest.mark.parametrize("bad", [-1, 10, 2**40])
def test_check_names_the_id_and_the_range(bad):
    with pytest.raises(IndexError, match=rf"id {bad} is out of range.*\[0, 10\)"):
        check_ids(torch.tensor([[1, bad], [2, 3]]), 10)


def test_check_returns_int64_of_the_same_shape():
    checked = check_ids(torch.zeros(2, 0, 3, dtype=torch.int32), 10)
    assert checked.dtype == torch.int64
    assert checked.shape == (2, 0, 3)
