"""memcom.collisions against brute force on small layers, simulation, and closed forms."""

from __future__ import annotations

import time
from itertools import combinations, product
from math import comb

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import memcom
from memcom import collisions
from memcom.collisions.groups import group_equal
from memcom.collisions.multipliers import round_column
from memcom.collisions.theory import code_classes, combine_classes, expected_collisions


class Fake(torch.nn.Module):
    """A layer given by its addresses (a dict of NumPy arrays, one row per id) and its vectors."""

    def __init__(self, addresses, vectors=None, **state):
        super().__init__()
        self._addresses = {k: torch.as_tensor(v).long() for k, v in addresses.items()}
        self.num_embeddings = len(next(iter(self._addresses.values())))
        self._vectors = None if vectors is None else torch.as_tensor(vectors)
        for name, value in state.items():
            self.register_buffer(name, torch.as_tensor(value))

    def addresses(self, ids):
        return {k: v[ids] for k, v in self._addresses.items()}

    def materialize(self):
        return self._vectors

    def forward(self, ids):
        return self._vectors[ids]


def brute_pairs(emb):
    """Pairs of ids with equal addresses everywhere, by comparing all of them."""
    read = emb.addresses(torch.arange(emb.num_embeddings))
    rows = [str([v[i].tolist() for v in read.values()]) for i in range(emb.num_embeddings)]
    return [(i, j) for i, j in combinations(range(len(rows)), 2) if rows[i] == rows[j]]


def histogram(use):
    return dict(zip(use.sizes.tolist(), use.size_counts.tolist(), strict=True))


def random_layer(seed, n=60, rows=(4, 3), shared=None):
    rng = np.random.default_rng(seed)
    addresses = {f"t{k}": rng.integers(0, r, n) for k, r in enumerate(rows)}
    if shared:
        addresses["shared"] = np.sort(rng.integers(0, shared, (n, 3)), axis=1)
    return Fake(addresses)


# --- who shares every address -----------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("chunk_size", [1, 7, 1000])
def test_groups_and_report_equal_brute_force(seed, chunk_size):
    emb = random_layer(seed, shared=4 if seed % 2 else None, rows=(3, 2) if seed % 2 else (7, 4))
    pairs = brute_pairs(emb)
    assert pairs  # the case is not empty
    groups = collisions.sharing_groups(emb, chunk_size)
    found = {pair for g in groups for pair in combinations(g.tolist(), 2)}
    assert found == set(pairs)
    assert groups.num_pairs == len(pairs)
    assert list(groups.sizes) == sorted(groups.sizes, reverse=True)

    report = collisions.report(emb, chunk_size=chunk_size)
    involved = {i for pair in pairs for i in pair}
    assert report.colliding_pairs == len(pairs)
    assert report.colliding_ids == len(involved)
    assert report.distinct_codes == groups.num_distinct
    assert report.largest_group == groups.sizes.max()
    assert (report.group_sizes * report.group_counts).sum() == emb.num_embeddings


def test_quotient_remainder_has_no_full_collision_and_hashing_has_many():
    n, m = 1000, 32
    ids = np.arange(n)
    qr = collisions.report(Fake({"remainder": ids % m, "quotient": ids // m}))
    assert (qr.colliding_ids, qr.distinct_codes, qr.findings) == (0, n, ())
    hashed = collisions.report(Fake({"table": ids % m}))
    assert (hashed.distinct_codes, hashed.colliding_ids) == (m, n)
    assert hashed.tables[0].sizes.tolist() == [31, 32]
    assert hashed.tables[0].size_counts.tolist() == [24, 8]  # 1000 = 8 * 32 + 24 * 31
    assert "968 ids are copies of another id" in str(hashed)


def test_codes_beyond_64_bits_stay_exact():
    rng = np.random.default_rng(0)
    base = rng.integers(0, 2**40, (50, 5))
    rows = np.r_[base, base[:10]]  # ten ids repeat an earlier one; 200 bits of address each
    rows[59, 4] ^= 1  # but the last differs in one bit of its last address
    groups = group_equal(collisions.codes(Fake({"wide": rows}), chunk_size=16))
    assert sorted(map(tuple, groups)) == [(i, i + 50) for i in range(9)]


def test_every_id_reads_a_row_of_its_own():
    n = 40
    emb = memcom_fake(np.ones(n), 4)
    report = collisions.report(emb)
    assert report.distinct_codes == n
    assert report.tables[1].one_row_per_id
    assert not report.tables[0].one_row_per_id
    assert "never shared" in str(report)


def test_unused_rows_of_the_stored_table_are_counted():
    emb = Fake({"table": np.array([0, 0, 2])}, table=np.zeros((6, 2)))
    use = collisions.report(emb).tables[0]
    assert (use.rows, use.rows_used, use.largest) == (6, 2, 2)
    assert histogram(use) == {
        0: 4,
        1: 1,
        2: 1,
    }


def test_a_row_read_twice_by_one_id_has_that_id_once():
    emb = Fake({"table": np.array([[1, 1, 2], [0, 1, 1]])})
    use = collisions.report(emb).tables[0]
    assert histogram(use) == {1: 2, 2: 1}


def test_popularity_weights():
    emb = Fake({"table": np.array([0, 1, 0, 2, 0])})
    report = collisions.report(emb, counts=np.array([50, 30, 10, 6, 4]))
    assert report.colliding_mass == pytest.approx(0.64)  # ids 0, 2, 4
    assert report.overshadowed_mass == pytest.approx(0.14)  # ids 2 and 4 behind id 0
    assert report.tables[0].overshadowed_mass == pytest.approx(0.14)
    assert "64.00%" in str(report)


@pytest.mark.parametrize("counts", [np.ones(4), -np.ones(5), np.array([1, 2, np.nan, 1, 1])])
def test_bad_counts_are_refused(counts):
    with pytest.raises(ValueError, match="counts must"):
        collisions.report(Fake({"table": np.arange(5)}), counts=counts)


def test_neighbours():
    ids = np.arange(12)
    emb = Fake({"a": ids % 4, "b": np.c_[ids // 6, ids % 3]})
    assert collisions.neighbours(emb, 1, "a", chunk_size=5).tolist() == [5, 9]
    assert collisions.neighbours(emb, 1, chunk_size=5).tolist() == []
    same = Fake({"a": ids % 4, "b": ids % 2})
    assert collisions.neighbours(same, 1, chunk_size=5).tolist() == [5, 9]
    shares_any_read = [i for i in ids if i != 1 and {i // 6, i % 3} & {0, 1}]
    assert collisions.neighbours(emb, 1, "b").tolist() == shares_any_read
    with pytest.raises(IndexError, match="id 12 is out of range 0 … 11"):
        collisions.neighbours(emb, 12)
    with pytest.raises(KeyError, match="no table 'c'"):
        collisions.neighbours(emb, 1, "c")


def test_an_empty_layer_and_one_id():
    assert collisions.report(Fake({"table": np.zeros(0)})).distinct_codes == 0
    one = collisions.report(Fake({"table": np.zeros(1)}), counts=[3])
    assert (one.distinct_codes, one.colliding_ids, one.largest_group) == (1, 0, 1)


# --- chance -----------------------------------------------------------------------------------


def simulate(n, draw, trials=4000):
    """Distinct codes and colliding pairs of `trials` random hashes."""
    rng = np.random.default_rng(7)
    distinct, pairs = [], []
    for _ in range(trials):
        sizes = np.unique(draw(rng, n), axis=0, return_counts=True)[1]
        distinct.append(len(sizes))
        pairs.append((sizes * (sizes - 1) // 2).sum())
    return np.array(distinct), np.array(pairs)


@pytest.mark.parametrize(("n", "m"), [(30, 500), (60, 40), (400, 10), (23, 365)])
def test_expectations_match_simulated_hashing(n, m):
    distinct, pairs = simulate(n, lambda rng, n: rng.integers(0, m, n))
    expected = expected_collisions(n, m)
    assert expected.distinct == pytest.approx(distinct.mean(), rel=0.01)
    assert expected.pairs == pytest.approx(pairs.mean(), rel=0.03)
    assert expected.any_pair == pytest.approx((pairs > 0).mean(), abs=0.03)
    for values, (low, high) in (
        (distinct, expected.distinct_interval),
        (pairs, expected.pairs_interval),
    ):
        inside = ((values >= np.floor(low)) & (values <= np.ceil(high))).mean()
        assert inside > 0.93  # discrete: at least about 95 %
        middle = low + (high - low) * np.array([0.3, 0.7])
        assert ((values >= middle[0]) & (values <= middle[1])).mean() < 0.9 or high - low < 4


def test_the_birthday_problem():
    assert expected_collisions(23, 365).any_pair == pytest.approx(0.507297, abs=1e-6)
    assert expected_collisions(366, 365).any_pair == 1.0
    assert expected_collisions(1, 1).any_pair == 0.0
    assert expected_collisions(5, 1).distinct == 1.0


def test_multisets_are_not_equally_likely():
    n, m, reads = 80, 6, 3
    distinct, pairs = simulate(n, lambda rng, n: np.sort(rng.integers(0, m, (n, reads)), axis=1))
    expected = expected_collisions(n, classes=code_classes(m, reads, ordered=False))
    assert expected.distinct == pytest.approx(distinct.mean(), rel=0.01)
    assert expected.pairs == pytest.approx(pairs.mean(), rel=0.03)


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(1, 7), reads=st.integers(1, 4))
def test_distinct_codes_counts_what_enumeration_finds(rows, reads):
    sequences = list(product(range(rows), repeat=reads))
    multisets = {tuple(sorted(s)) for s in sequences}
    assert collisions.distinct_codes(rows, reads, ordered=True) == len(sequences)
    assert collisions.distinct_codes(rows, reads, ordered=False) == len(multisets)
    classes = code_classes(rows, reads, ordered=False)
    assert sum(number for number, _ in classes) == len(multisets)
    assert sum(number * p for number, p in classes) == pytest.approx(1.0)


def test_shared_and_summed_binary_codes_of_24_bits():
    assert collisions.distinct_codes(2**8, 3, ordered=False) == 2_829_056
    assert collisions.distinct_codes(2**8, 3, ordered=True) == 16_777_216


def test_birthday_pairs_of_quantised_multipliers():
    for levels, pairs in ((2**8, 3.05), (2**10, 0.76), (2**16, 0.012)):
        assert collisions.birthday_pairs(40, levels) == pytest.approx(pairs, rel=0.01)
    assert collisions.birthday_pairs(np.array([1000, 1]), 2**16) == pytest.approx(7.62, abs=0.01)


@pytest.mark.parametrize(
    "call",
    [
        lambda: collisions.distinct_codes(0, 3, ordered=True),
        lambda: collisions.birthday_pairs(3, 0),
        lambda: expected_collisions(-1, 5),
        lambda: expected_collisions(5),
        lambda: expected_collisions(5, 5, classes=[(5, 0.2)]),
    ],
)
def test_theory_refuses_nonsense(call):
    with pytest.raises(ValueError, match=r"must be|exactly one"):
        call()


def test_report_finds_order_blind_sharing():
    bits, block = 9, 3
    ids = np.arange(2**bits)
    digits = np.stack([(ids >> (block * j)) & 7 for j in range(3)], axis=1)
    blind = collisions.report(Fake({"table": np.sort(digits, axis=1)}, table=np.zeros((8, 2))))
    assert blind.distinct_codes == comb(8 + 2, 3) == 120
    assert blind.possible_codes == 120
    assert blind.tables[0].order_blind
    assert "at most 120 of 512 codes (23.4%)" in blind.findings[0]
    ordered = collisions.report(Fake({"table": digits}, table=np.zeros((8, 2))))
    assert (ordered.distinct_codes, ordered.findings) == (512, ())


def test_combining_tables_multiplies():
    classes = combine_classes([code_classes(4), code_classes(5, 2, ordered=False)])
    assert sum(number for number, _ in classes) == 4 * 15


# --- equal and near vectors -------------------------------------------------------------------


def with_vectors(vectors):
    return Fake({"table": np.arange(len(vectors))}, vectors)


def test_equal_vectors_treats_both_zeros_alike_and_sees_one_bit():
    rows = np.zeros((6, 5), np.float32)
    rows[1, 2] = -0.0
    rows[2, 4] = np.float32(1e-45)  # the smallest float32 there is
    rows[3:5] = 1.5
    rows[5] = 1.5
    rows[5, 0] = np.nextafter(np.float32(1.5), np.float32(2))
    groups = collisions.equal_vectors(with_vectors(rows), chunk_size=2)
    assert sorted(map(tuple, groups)) == [(0, 1), (3, 4)]


@pytest.mark.parametrize("rounding", ["none", "fp16", "bf16", "int8"])
def test_equal_vectors_after_rounding_equals_brute_force(rounding):
    rng = np.random.default_rng(1)
    base = rng.standard_normal((30, 4)).astype(np.float32)
    rows = np.concatenate([base, base, base * np.float32(1 + 2e-4), np.round(base)])
    if rounding == "none":
        rounded = rows
    elif rounding == "fp16":
        rounded = rows.astype(np.float16).astype(np.float32)
    elif rounding == "bf16":
        bits = rows.view(np.uint32).astype(np.uint64)
        bits = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16 << 16  # round half to even
        rounded = bits.astype(np.uint32).view(np.float32)
    else:
        low = rows.min(1, keepdims=True)
        scale = (rows.max(1, keepdims=True) - low) / np.float32(255)
        safe = np.where(scale == 0, np.float32(1), scale)
        rounded = np.rint((rows - low) / safe) * scale + low
    expected = {
        (i, j) for i, j in combinations(range(len(rows)), 2) if (rounded[i] == rounded[j]).all()
    }
    groups = collisions.equal_vectors(with_vectors(rows), rounding, chunk_size=13)
    assert {p for g in groups for p in combinations(g.tolist(), 2)} == expected
    assert len(expected) >= 30


def test_equal_vectors_does_not_trust_its_fingerprints(monkeypatch):
    rows = np.repeat(np.arange(12, dtype=np.float32)[:, None], 3, axis=1)[[0, 1, 2, 1, 0, 3, 1]]
    monkeypatch.setattr(
        "memcom.collisions.vectors.fingerprints", lambda rows: np.zeros(len(rows), np.uint64)
    )
    groups = collisions.equal_vectors(with_vectors(rows), chunk_size=3)
    assert sorted(map(tuple, groups)) == [(0, 4), (1, 3, 6)]


def test_nan_and_unknown_rounding_are_refused():
    rows = np.zeros((3, 2), np.float32)
    rows[1, 1] = np.nan
    with pytest.raises(ValueError, match="id 1 holds nan"):
        collisions.equal_vectors(with_vectors(rows))
    with pytest.raises(ValueError, match="got 'int3'"):
        collisions.equal_vectors(with_vectors(np.zeros((3, 2))), "int3")


def test_int8_rows_that_are_constant_stay_exact():
    rows = torch.tensor([[0.3, 0.3], [0.0, 0.0], [-1.0, 1.0]])
    assert torch.allclose(collisions.round_rows(rows, "int8"), rows)


@pytest.mark.parametrize("dim", [1, 3, 16])
@pytest.mark.parametrize("eps", [0.0, 0.05, 0.6])
def test_near_vectors_equals_brute_force(dim, eps):
    rng = np.random.default_rng(dim)
    base = rng.standard_normal((40, dim)).astype(np.float32)
    rows = np.concatenate([base, base[:10], base[5:25] + np.float32(0.04 / dim**0.5)])
    distance = np.linalg.norm(rows[:, None].astype(np.float64) - rows[None], axis=-1)
    pairs = {(i, j) for i, j in combinations(range(len(rows)), 2) if distance[i, j] <= eps}
    found = collisions.near_vectors(with_vectors(rows), eps, chunk_size=17)
    assert found.num_pairs == len(pairs)
    assert found.num_ids == len({i for pair in pairs for i in pair})
    assert set(map(tuple, found.near.tolist())) <= pairs


def test_near_vectors_refuses_an_eps_that_is_not_small():
    emb = with_vectors(np.random.default_rng(0).standard_normal((200, 4)))
    with pytest.raises(ValueError, match="19,900 candidate pairs"):
        collisions.near_vectors(emb, 100.0, max_candidates=1000)
    with pytest.raises(ValueError, match="eps must be at least 0"):
        collisions.near_vectors(emb, -1.0)


# --- multipliers ------------------------------------------------------------------------------


def memcom_fake(values, buckets, bias=None, table=None):
    ids = np.arange(len(values))
    addresses = {"table": ids % buckets, "multiplier": ids}
    state = {"multiplier": np.asarray(values, np.float32)[:, None]}
    if bias is not None:
        addresses["bias"] = ids
        state["bias"] = np.asarray(bias, np.float32)[:, None]
    return Fake(addresses, table=np.ones((buckets, 4)) if table is None else table, **state)


def test_multiplier_gaps_equal_brute_force():
    rng = np.random.default_rng(3)
    values = np.round(rng.standard_normal(200), 2).astype(np.float32)
    report = collisions.multiplier_gaps(
        memcom_fake(values, 7), eps=(1e-6, 0.015), roundings=["none"]
    )
    (plain,) = report.by_rounding
    wanted, equal = [], 0
    for bucket in range(7):
        v = np.sort(values[bucket::7].astype(np.float64))
        wanted += [*np.diff(v)]
        equal += sum(a == b for a, b in combinations(v, 2))
    assert plain.equal_pairs == equal > 0
    assert plain.min_gap == min(wanted) == 0.0
    assert plain.below == {e: sum(g < e for g in wanted) for e in (1e-6, 0.015)}
    assert report.gaps == len(wanted) == 200 - 7


def test_untrained_multipliers_separate_nobody():
    report = collisions.multiplier_gaps(memcom_fake(np.ones(30), 3), roundings=["none", "int8"])
    assert [r.equal_pairs for r in report.by_rounding] == [3 * comb(10, 2)] * 2
    assert "30 multipliers in 3 buckets" in str(report)


def test_eight_bits_undo_uniqueness_as_the_birthday_says():
    n, buckets = 40_000, 1000
    values = np.random.default_rng(0).uniform(0, 1, n)
    report = collisions.multiplier_gaps(memcom_fake(values, buckets))
    none, fp16, int8 = report.by_rounding
    assert none.equal_pairs <= fp16.equal_pairs < int8.equal_pairs
    chance = buckets * 40 * 39 / 2 / 256  # 3.05 pairs a bucket
    assert report.expected_pairs[256] == pytest.approx(chance)
    assert int8.equal_pairs == pytest.approx(chance, rel=0.1)


def test_the_bias_separates_equal_multipliers():
    values, bias = [1.0, 2.0, 1.0, 2.0, 1.0, 2.0], [0.0, 0.0, 0.5, 0.0, -0.25, 0.0]
    without = collisions.multiplier_gaps(memcom_fake(values, 2), roundings=["none"])
    with_bias = collisions.multiplier_gaps(memcom_fake(values, 2, bias), roundings=["none"])
    assert without.by_rounding[0].equal_pairs == 6
    assert with_bias.by_rounding[0].equal_pairs == 3  # bucket 1 has neither
    assert with_bias.bias


def test_tiny_rows_are_counted():
    table = np.ones((5, 4))
    table[3] = 1e-5
    assert collisions.multiplier_gaps(memcom_fake(np.arange(10), 5, table=table)).tiny_rows == 1


def test_multipliers_are_required_and_must_be_finite():
    with pytest.raises(TypeError, match="Fake has no scalar per id called 'multiplier'"):
        collisions.multiplier_gaps(Fake({"table": np.arange(3)}))
    with pytest.raises(ValueError, match="finite"):
        collisions.multiplier_gaps(memcom_fake([1.0, np.inf], 1))


def test_column_rounding():
    values = np.array([-1.0, 0.0, 0.3, 1.0])
    levels = np.linspace(-1, 1, 256)
    nearest = levels[np.abs(levels[None] - values[:, None]).argmin(1)]
    assert np.allclose(np.abs(round_column(values, "int8") - values).max(), 1 / 255, atol=2e-3)
    assert np.allclose(round_column(values, "int8")[[0, 2, 3]], nearest[[0, 2, 3]])
    assert (round_column(values, "fp16") == values.astype(np.float16)).all()
    with pytest.raises(ValueError, match="got 'int4'"):
        round_column(values, "int4")


# --- the kit's own layers ---------------------------------------------------------------------


@pytest.mark.parametrize("name", memcom.available())
def test_every_layer_can_be_asked(name):
    options = {} if name == "full" else {"ratio": 3}
    emb = memcom.build(name, 400, 32, **options)
    report = collisions.report(emb, counts=np.arange(400, 0, -1))
    assert report.colliding_pairs == len(brute_pairs(emb))
    assert {use.name for use in report.tables} <= set(emb.state_dict())
    rows = emb.materialize().detach().numpy()
    distinct = len(np.unique(rows + 0.0, axis=0))
    assert collisions.equal_vectors(emb, chunk_size=64).num_distinct == distinct
    assert distinct <= report.distinct_codes  # equal addresses force equal vectors
    if "multiplier" not in emb.state_dict():  # untrained multipliers are all 1
        assert distinct == report.distinct_codes


def test_codes_that_no_table_holds_have_no_rows():
    """A generated embedding hashes into 2^32 values per hash: no table, but codes all the same."""
    emb = Fake({"codes": np.array([[5, 2**31], [5, 2**31], [6, 1]])}, network=np.zeros((2, 2)))
    report = collisions.report(emb)
    assert (report.tables, report.distinct_codes, report.colliding_ids) == ((), 2, 2)


def test_more_codes_than_a_float_can_count():
    rng = np.random.default_rng(0)
    report = collisions.report(Fake({"memory": rng.integers(0, 2**20, (50, 256))}))
    assert report.possible_codes > 10**1500
    assert report.expected.pairs == 0.0
    assert report.expected.distinct == 50.0
    assert "of about 10^" in str(report)


def test_reads_with_a_range_of_rows_each_keep_their_order():
    """Product codebooks in one tensor: ascending addresses, yet nothing is lost."""
    ids = np.arange(64)
    emb = Fake({"values": np.stack([ids % 8, 8 + ids // 8], axis=1)}, values=np.zeros((16, 2)))
    report = collisions.report(emb)
    assert not report.tables[0].order_blind
    assert (report.possible_codes, report.findings) == (64, ())


def test_shared_and_summed_binary_codes_in_a_real_layer():
    emb = memcom.BinaryCodeEmbedding(2**9, 8, block_bits=3, shared=True, fusion="sum")
    report = collisions.report(emb)
    assert report.distinct_codes == 120
    assert "the order is lost" in str(report)


# --- size -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_million_ids_in_seconds():
    n, m = 2_000_000, 50_000
    ids = np.arange(n)
    emb = Fake({"a": ids % m, "b": (ids * 2654435761) % 2**32 % m})
    start = time.perf_counter()
    report = collisions.report(emb, counts=np.ones(n))
    assert time.perf_counter() - start < 20
    pairs = (ids % m) * m + (ids * 2654435761) % 2**32 % m
    assert report.distinct_codes == len(np.unique(pairs))
