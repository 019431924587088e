"""Layers fitted to a trained table, against NumPy, SciPy and scikit-learn."""

from __future__ import annotations

import inspect
import itertools

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

import memcom
from memcom.embeddings import FitError, Target
from memcom.embeddings._fit import fit_recipe
from tests.embeddings.cases import NUM_EMBEDDINGS, SPECS, make, structured_table

N, E = 60, 6


def drawn(n: int = N, e: int = E, seed: int = 0) -> torch.Tensor:
    return structured_table(n, e, 3, seed)


TABLE = drawn()
X = TABLE.double().numpy()
COUNTS = torch.randint(1, 6, (N,), generator=torch.Generator().manual_seed(1))


def error(layer, table=TABLE, weights=None) -> float:
    """Weighted squared error of a layer as it is shipped."""
    lost = (layer.freeze().materialize().double() - table.double()).square().sum(1)
    return float(lost.sum() if weights is None else (lost * weights).sum())


def fitted(layer, table=TABLE, weights=None):
    layer.fit_table(table, weights)
    return layer


# --- one row --------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [None, COUNTS])
@pytest.mark.parametrize("seed", [None, 3])
def test_a_bucket_has_the_mean_of_its_ids(weights, seed):
    layer = fitted(memcom.HashingTrickEmbedding(N, E, num_buckets=9, seed=seed), weights=weights)
    rows = layer.addresses(torch.arange(N))["table"].numpy()
    w = np.ones(N) if weights is None else weights.numpy()
    for bucket in set(rows):
        mine = rows == bucket
        mean = (w[mine, None] * X[mine]).sum(0) / w[mine].sum()
        np.testing.assert_allclose(layer.table[bucket].detach(), mean, rtol=1e-5, atol=1e-6)


def test_a_bucket_that_nobody_reads_stays_as_it_is():
    layer = memcom.HashingTrickEmbedding(N, E, num_buckets=N)
    unread = sorted(set(range(N)) - set(layer.addresses(torch.arange(N))["table"].tolist()))
    before = layer.table.detach().clone()
    fitted(layer)
    assert len(unread) > 5
    assert torch.equal(layer.table[unread], before[unread])


def test_truncated_rows_are_kept_and_the_rest_share_their_mean():
    layer = fitted(memcom.TruncatedEmbedding(N, E, num_kept=10), weights=COUNTS)
    torch.testing.assert_close(layer.materialize()[:10], TABLE[:10])
    mean = np.average(X[10:], axis=0, weights=COUNTS[10:])
    np.testing.assert_allclose(layer.table[10].detach(), mean, rtol=1e-5, atol=1e-6)


# --- sums -----------------------------------------------------------------------------------------


def least_squares(layer, weights=None) -> float:
    """The least error of a sum of rows: one column for each row of each table, by LAPACK."""
    addresses = layer.addresses(torch.arange(N))
    rows = dict(layer.named_parameters())
    design, first = np.zeros((N, sum(len(rows[name]) for name in addresses))), 0
    for name, read in addresses.items():
        for column in read.view(N, -1).T.numpy():
            design[np.arange(N), first + column] += 1
        first += len(rows[name])
    root = np.ones(N) if weights is None else np.sqrt(weights.numpy())
    found = np.linalg.lstsq(design * root[:, None], X * root[:, None], rcond=None)[0]
    return float(((design @ found - X) ** 2 * root[:, None] ** 2).sum())


@pytest.mark.parametrize("weights", [None, COUNTS])
@pytest.mark.parametrize(
    "layer",
    [
        memcom.QREmbedding(N, E, num_remainders=11, operation="add"),
        memcom.MixedRadixEmbedding(N, E, radices=[5, 4, 3], operation="add"),
        memcom.ChineseRemainderEmbedding(N, E, moduli=[7, 9], operation="add"),
        memcom.DoubleHashEmbedding(N, E, num_buckets=13),
        memcom.BloomEmbedding(N, E, num_buckets=13, num_hashes=3),
        memcom.BinaryCodeEmbedding(N, E, block_bits=2),
        memcom.BinaryCodeEmbedding(N, E, block_bits=2, shared=True),
    ],
    ids=lambda layer: getattr(layer, "_get_name", str)(),
)
def test_a_sum_of_rows_has_the_least_error_there_is(layer, weights):
    found = error(fitted(layer, weights=weights), weights=weights)
    assert found == pytest.approx(least_squares(layer, weights), rel=1e-4)


def test_rows_side_by_side_are_means_each():
    layer = fitted(memcom.QREmbedding(N, E, num_remainders=11, operation="concat"))
    for name, rows, half in (
        ("remainder", np.arange(N) % 11, X[:, :3]),
        ("quotient", np.arange(N) // 11, X[:, 3:]),
    ):
        means = np.stack([half[rows == r].mean(0) for r in range(rows.max() + 1)])
        np.testing.assert_allclose(getattr(layer, name).detach(), means, rtol=1e-5, atol=1e-6)


# --- products -------------------------------------------------------------------------------------


def best_rank_one(rows: np.ndarray, weights: np.ndarray) -> float:
    """The least weighted error of multiples of one row."""
    values = np.linalg.svd(rows * np.sqrt(weights)[:, None], compute_uv=False)
    return float((values[1:] ** 2).sum())


@pytest.mark.parametrize("weights", [None, COUNTS])
def test_memcom_has_the_best_rank_one_of_each_bucket(weights):
    layer = fitted(memcom.MEmComEmbedding(N, E, num_buckets=7), weights=weights)
    w = np.ones(N) if weights is None else weights.numpy()
    buckets = [np.arange(N) % 7 == bucket for bucket in range(7)]
    least = sum(best_rank_one(X[mine], w[mine]) for mine in buckets)
    assert least * (1 - 1e-6) <= error(layer, weights=weights) <= 1.001 * least


def test_memcom_with_biases_has_the_best_rank_one_beside_the_means():
    layer = fitted(memcom.MEmComBiasEmbedding(N, E, num_buckets=7))
    centred = X - X.mean(1, keepdims=True)
    buckets = [np.arange(N) % 7 == bucket for bucket in range(7)]
    least = sum(best_rank_one(centred[mine], np.ones(mine.sum())) for mine in buckets)
    assert least * (1 - 1e-6) <= error(layer) <= 1.001 * least


def test_rows_that_cancel_each_other_do_not_stall_memcom():
    """The mean of a bucket is 0 here, though one row and its multiples hold all of it."""
    row = torch.randn(4, E, generator=torch.Generator().manual_seed(2))
    table = torch.cat([row, -row, 2 * row, -2 * row])
    layer = memcom.MEmComEmbedding(16, E, num_buckets=4)
    layer.fit_table(table)
    torch.testing.assert_close(layer.materialize(), table, rtol=1e-4, atol=1e-4)


def test_a_product_of_two_tables_is_rank_one_in_every_coordinate():
    layer = fitted(memcom.QREmbedding(N, E, num_remainders=10))
    least = sum(
        best_rank_one(X[:, column].reshape(6, 10), np.ones(6)) for column in range(E)
    )  # a row for each quotient, a column for each remainder
    assert least * (1 - 1e-6) <= error(layer) <= 1.01 * least


@pytest.mark.parametrize("name", ["hash-embedding", "k-memcom"])
def test_weighted_sums_do_better_than_sums(name):
    cls = memcom.get(name)
    layer = fitted(cls(N, E, num_buckets=13, num_hashes=2))
    assert error(layer) < 0.5 * error(fitted(memcom.DoubleHashEmbedding(N, E, num_buckets=13)))


PRODUCTS = ["memcom", "memcom-bias", "qr", "mixed-radix", "hash-embedding", "k-memcom", "scalar-qr"]


@pytest.mark.parametrize("name", [*PRODUCTS, "bloom", "hash-embedding(append=True)"])
def test_the_error_never_rises(name):
    layer, table = make(name), drawn(NUM_EMBEDDINGS, 16)
    weights = torch.rand(NUM_EMBEDDINGS, dtype=torch.float64) + 0.1
    errors = fit_recipe(layer.reading(), Target(table, weights))
    assert all(b <= a * (1 + 1e-12) for a, b in itertools.pairwise(errors))
    assert error(layer, table, weights) == pytest.approx(errors[-1], rel=1e-3)


# --- matrices -------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [None, COUNTS])
def test_low_rank_is_the_truncated_svd(weights):
    layer = fitted(memcom.LowRankEmbedding(N, E, rank=3), weights=weights)
    w = np.ones(N) if weights is None else weights.numpy()
    values = np.linalg.svd(X * np.sqrt(w)[:, None], compute_uv=False)
    assert error(layer, weights=weights) == pytest.approx((values[3:] ** 2).sum(), rel=1e-5)


def test_mixed_dim_is_the_truncated_svd_of_each_block():
    layer = fitted(memcom.MixedDimEmbedding(N, E, base_dim=6, num_blocks=3, growth=3.0))
    least = 0.0
    for start, size, width in zip(layer.starts, layer.blocks, layer.widths, strict=True):
        values = np.linalg.svd(X[start : start + size], compute_uv=False)
        least += (values[width:] ** 2).sum()
    assert error(layer) == pytest.approx(least, rel=1e-5)


def test_small_dim_keeps_the_first_coordinates():
    layer = fitted(memcom.SmallDimEmbedding(N, E, inner_dim=2))
    assert torch.equal(layer.materialize()[:, :2], TABLE[:, :2])


# --- cells, pruned rows, rows of some widths ------------------------------------------------------


@pytest.mark.parametrize("signs", [False, True])
def test_a_cell_is_the_mean_of_the_coordinates_that_read_it(signs):
    layer = memcom.ROBEEmbedding(N, E, memory_size=40, chunk_size=2, signs=signs)
    with torch.no_grad():
        layer.memory.fill_(1.0)
    sign = layer.materialize().double().numpy()
    cells = layer.addresses(torch.arange(N))["memory"].numpy()
    fitted(layer, weights=COUNTS)
    weights = COUNTS.numpy()[:, None] * np.ones(E)
    for cell in set(cells.flatten()):
        mine = cells == cell
        mean = (weights * sign * X)[mine].sum() / weights[mine].sum()
        assert float(layer.memory[cell].detach()) == pytest.approx(mean, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("name", ["csr", "pep"])
def test_pruning_keeps_the_numbers_that_weigh_most(name):
    size = {"csr": "num_chunks", "pep": "num_values"}[name]
    layer = fitted(memcom.get(name)(N, E, **{size: 100}), weights=COUNTS)
    importance = X**2 * COUNTS.numpy()[:, None]
    kept = importance >= np.sort(importance, axis=None)[-100]
    np.testing.assert_allclose(layer.freeze().materialize(), np.where(kept, X, 0), rtol=1e-5)


@pytest.mark.parametrize("name", ["jagged", "scall"])
def test_rows_keep_their_widths(name):
    layer = fitted(memcom.get(name)(N, E, num_values=150))
    widths = layer.freeze().sizes_of(torch.arange(N))
    assert int(widths.sum()) == 150
    kept = torch.arange(E) < widths[:, None]
    assert torch.equal(layer.materialize(), TABLE * kept)


# --- learned maps and codes -----------------------------------------------------------------------


def inertia(points: np.ndarray, clusters: int, weights=None) -> float:
    found = KMeans(clusters, n_init=5, random_state=0).fit(points, sample_weight=weights)
    return float(found.inertia_)


@pytest.mark.parametrize("weights", [None, torch.randint(1, 6, (600,))])
def test_learned_maps_and_codes_are_as_good_as_scikit_learn(weights):
    table, w = drawn(600), None if weights is None else weights.numpy()
    points = table.double().numpy()
    layer = fitted(memcom.LearnedHashEmbedding(600, E, num_buckets=20), table, weights)
    assert error(layer, table, weights) <= 1.08 * inertia(points, 20, w)
    coded = memcom.DPQEmbedding(600, E, num_groups=2, num_codewords=16, form="centroid")
    groups = inertia(points[:, :3], 16, w) + inertia(points[:, 3:], 16, w)
    assert error(fitted(coded, table, weights), table, weights) <= 1.08 * groups


def test_rare_ids_use_the_first_codewords_only():
    table = drawn(600)
    small, large = (
        memcom.MGQEmbedding(
            600, E, num_groups=2, num_codewords=16, rare_codewords=rare, form="centroid"
        )
        for rare in (4, 16)
    )
    for layer in (small, large):
        layer.fit_table(table)
    codes = small.addresses(torch.arange(600))["values"] - torch.tensor([0, 16])
    assert int(codes[60:].max()) < 4
    assert int(codes[:60].max()) >= 4
    assert error(large, table) < error(small, table)


def test_centres_and_residuals_do_better_than_either():
    table = drawn(600)
    both = fitted(memcom.CCEEmbedding(600, E, num_buckets=16, num_columns=2), table)
    centres = both.addresses(torch.arange(600))["centres"].numpy()
    points, alone = table.double().numpy(), 0.0
    for column, half in enumerate((points[:, :3], points[:, 3:])):
        for row in set(centres[:, column]):
            mine = half[centres[:, column] == row]
            alone += ((mine - mine.mean(0)) ** 2).sum()
    assert error(both, table) < alone
    assert alone <= 1.1 * (inertia(points[:, :3], 16) + inertia(points[:, 3:], 16))


def test_a_map_in_front_leaves_means_to_the_compressor():
    rows = torch.arange(N) % 12
    layer = memcom.MappedEmbedding(memcom.FullEmbedding(12, E), rows)
    fitted(layer, weights=COUNTS)
    hashed = fitted(memcom.HashingTrickEmbedding(N, E, num_buckets=12, seed=None), weights=COUNTS)
    torch.testing.assert_close(layer.materialize(), hashed.materialize())


# --- wrappers, rounding ---------------------------------------------------------------------------


def test_private_rows_are_exact_and_the_tail_is_fitted():
    layer = fitted(memcom.build("hash", N, E, head=8, num_buckets=5))
    assert torch.equal(layer.materialize()[:8], TABLE[:8])
    tail = memcom.HashingTrickEmbedding(N - 8, E, num_buckets=5)
    tail.fit_table(TABLE[8:])
    torch.testing.assert_close(layer.materialize()[8:], tail.materialize())


@pytest.mark.parametrize("spec", ["int8", "int4", "full(bits=8)"])
def test_rounded_tables_are_rounded_alone(spec):
    name, options = memcom.parse_spec(spec)
    table = drawn(N, 8)
    layer = fitted(memcom.build(name, N, 8, **options), table)
    bits = {"int8": 8, "int4": 4, "full(bits=8)": 8}[spec]
    own = memcom.QuantizedEmbedding.from_table(table, bits)
    assert torch.equal(layer.freeze().materialize(), own.materialize())


# --- weights, padding, types ----------------------------------------------------------------------


@pytest.mark.parametrize("spec", SPECS)
def test_every_method_is_fitted_or_refuses_in_words(spec):
    """A fit is no worse than zeros, the same for the same seed, and leaves the table alone."""
    layer, table = make(spec), drawn(NUM_EMBEDDINGS, 16)
    before = table.clone()
    try:
        layer.fit_table(table)
    except FitError as refused:
        assert type(layer).__name__ in str(refused)  # noqa: PT017
        return
    assert torch.equal(table, before)
    assert error(layer, table) < float(table.square().sum())
    again = make(spec)
    again.fit_table(table)
    assert torch.equal(again.materialize(), layer.materialize())


def test_an_id_of_weight_w_counts_as_w_ids():
    """Ids 0 to 19 in buckets of their remainder, again under the next ids of that remainder."""
    base, weights = drawn(20), torch.randint(1, 4, (20,))
    copies = [
        torch.where((weights > k)[:, None], base, torch.zeros(())) for k in range(3)
    ]  # a copy that is not there has weight 0 below
    there = torch.cat([(weights > k).double() for k in range(3)])
    weighted = memcom.HashingTrickEmbedding(20, E, num_buckets=5, seed=None)
    weighted.fit_table(base, weights)
    repeated = memcom.HashingTrickEmbedding(60, E, num_buckets=5, seed=None)
    repeated.fit_table(torch.cat(copies), there)
    torch.testing.assert_close(weighted.table, repeated.table, rtol=1e-4, atol=1e-4)


def test_an_id_of_weight_zero_gets_what_the_others_leave_it():
    weights = torch.ones(N)
    weights[::2] = 0
    layer = fitted(memcom.LowRankEmbedding(N, E, rank=2), weights=weights)
    values = np.linalg.svd(X[1::2])[2][:2]
    np.testing.assert_allclose(layer.materialize(), X @ values.T @ values, rtol=1e-3, atol=1e-3)


def test_padding_does_not_count():
    table = TABLE.clone()
    table[3] = 1e4
    layer = fitted(memcom.MEmComEmbedding(N, E, num_buckets=1, padding_idx=3), table)
    kept = np.arange(N) != 3
    lost = ((layer.materialize().double() - TABLE.double())[kept] ** 2).sum()
    assert float(lost) <= 1.001 * best_rank_one(X[kept], np.ones(N - 1))
    assert torch.equal(layer.materialize()[3], torch.zeros(E))


def test_factors_of_a_product_have_one_size():
    layer = fitted(memcom.MEmComEmbedding(N, E, num_buckets=7), 0.01 * TABLE)
    sizes = [float(p.detach().square().mean().sqrt()) for p in (layer.table, layer.multiplier)]
    assert sizes[0] == pytest.approx(sizes[1], rel=1e-4)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_tables_of_any_precision(dtype):
    layer = memcom.MEmComEmbedding.from_pretrained(TABLE.to(dtype), num_buckets=7)
    assert layer.table.dtype == dtype
    single = memcom.MEmComEmbedding.from_pretrained(TABLE, num_buckets=7)
    assert error(layer, TABLE.to(dtype)) == pytest.approx(error(single), rel=0.05)


# --- from_pretrained ------------------------------------------------------------------------------


def test_from_pretrained_takes_torchs_arguments():
    torchs = inspect.signature(torch.nn.Embedding.from_pretrained).parameters
    ours = inspect.signature(memcom.FullEmbedding.from_pretrained).parameters
    shared = {"freeze", "padding_idx", "sparse"}
    assert shared <= set(torchs)
    assert all(ours[name].default == torchs[name].default for name in shared)
    layer = memcom.FullEmbedding.from_pretrained(TABLE)
    assert torch.equal(layer(torch.arange(N)), TABLE)
    assert not layer.table.requires_grad
    assert memcom.FullEmbedding.from_pretrained(TABLE, freeze=False).table.requires_grad
    with pytest.raises(TypeError, match="max_norm"):
        memcom.FullEmbedding.from_pretrained(TABLE, max_norm=1.0)
    with pytest.raises(TypeError, match="HeadEmbedding is made from other layers"):
        memcom.HeadEmbedding.from_pretrained(TABLE)


def test_from_pretrained_meets_a_budget_or_says_what_it_needs():
    layer = memcom.QREmbedding.from_pretrained(drawn(900), ratio=4, operation="add")
    assert layer.num_remainders == memcom.plan("qr", 900, E, ratio=4).arguments["num_remainders"]
    assert memcom.Int8Embedding.from_pretrained(drawn(900), nbytes="10 kB").freeze().nbytes <= 10**4
    with pytest.raises(ValueError, match=r"LowRankEmbedding cannot store 60 x 6 in 10 bytes: it n"):
        memcom.LowRankEmbedding.from_pretrained(TABLE, nbytes=10)
    with pytest.raises(ValueError, match="ratio or nbytes, not both"):
        memcom.QREmbedding.from_pretrained(TABLE, ratio=2, nbytes=10)


def test_from_pretrained_weighs_by_frequency():
    by_count = memcom.LowRankEmbedding.from_pretrained(TABLE, rank=2, frequencies=COUNTS)
    plain = memcom.LowRankEmbedding.from_pretrained(TABLE, rank=2)
    assert error(by_count, weights=COUNTS) < error(plain, weights=COUNTS)
    assert error(plain) < error(by_count)


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "named"),
    [
        (torch.ones(N, E + 1), r"shape \(60, 6\), got \(60, 7\)"),
        (torch.ones(N), r"\(rows, width\), got shape \(60,\)"),
        (torch.ones(N, E, dtype=torch.int64), "floating point, got torch.int64"),
        (torch.ones(N, E, device="meta"), "meta device"),
        (TABLE.masked_fill(torch.arange(N)[:, None] == 7, float("nan")), "infinite .* row 7$"),
        (TABLE.masked_fill(torch.arange(N)[:, None] > 9, float("inf")), "row 10, .*14 and 45 more"),
        (TABLE.to_sparse(), "ordinary tensor"),
    ],
)
def test_what_is_no_trained_table_is_refused(table, named):
    with pytest.raises(ValueError, match=named):
        memcom.HashingTrickEmbedding(N, E, num_buckets=9).fit_table(table)


@pytest.mark.parametrize(
    ("weights", "named"),
    [
        (torch.ones(3), r"weights must have shape \(60,\), got \(3,\)"),
        (torch.arange(N) - 5.0, "at least 0, got -5 for id 0"),
        (torch.full((N,), float("nan")), "finite .* got nan for id 0"),
        (torch.zeros(N), "must not be 0 for every id"),
    ],
)
def test_weights_that_mean_nothing_are_refused(weights, named):
    with pytest.raises(ValueError, match=named):
        memcom.HashingTrickEmbedding(N, E, num_buckets=9).fit_table(TABLE, weights)


def test_methods_that_are_trained_say_so():
    for name in ("dhe", "path"):
        with pytest.raises(FitError, match="train it, or take a method that memcom"):
            memcom.build(name, 900, 16, ratio=4).fit_table(drawn(900, 16))
    with pytest.raises(FitError, match="form=centroid"):
        memcom.build("dpq", N, E, ratio=1).fit_table(TABLE)
    with pytest.raises(FitError, match="a product that reads one table twice"):
        memcom.BinaryCodeEmbedding(N, E, block_bits=2, shared=True, fusion="mult").fit_table(TABLE)
    with pytest.raises(FitError, match="table is packed; fit the layer before"):
        memcom.quantize(memcom.HashingTrickEmbedding(N, E, num_buckets=9)).fit_table(TABLE)
    with pytest.raises(ValueError, match="the layer is on the meta device"):
        memcom.FullEmbedding(N, E, device="meta").fit_table(TABLE)
