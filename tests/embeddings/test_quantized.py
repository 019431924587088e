from __future__ import annotations

import copy
import io
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.torch import load, save

import memcom
from memcom.embeddings import QuantizedTable, quantized_table
from memcom.embeddings.quantized_table import QuantizedBlocks, _round_half, pack_table
from tests.embeddings.oracle import packed, unpacked

N, E = 90, 12
FEW = [2, 3, 4, 8]  # bits that are packed


def table(seed: int = 0, width: int = E) -> torch.Tensor:
    return torch.randn(N, width, generator=torch.Generator().manual_seed(seed))


def decoded(q: QuantizedTable) -> np.ndarray:
    """Every row by the formula, from the stored bytes."""
    codes = unpacked(q.codes.numpy(), q.bits, q.width)
    return q.offset.numpy().astype(np.float64) + q.scale.numpy().astype(np.float64) * codes


ROWS = arrays.arrays(
    np.float32, (4, 7), elements=st.floats(-60000, 60000, width=32, allow_subnormal=False)
)


@settings(deadline=None, max_examples=200)
@given(ROWS, st.sampled_from(FEW))
def test_no_value_moves_by_more_than_half_a_stored_step(rows, bits):
    q = QuantizedTable(torch.from_numpy(rows), bits)
    step = q.scale.numpy().astype(np.float64)
    assert (np.abs(decoded(q) - rows) <= step / 2 + 1e-6 * np.abs(rows).max()).all()
    # The stored step is the ideal one, plus fp16's rounding of it and of the offset.
    ideal = (rows.max(1) - rows.min(1)).astype(np.float64) / (2**bits - 1)
    slack = np.abs(rows.min(1)) * 2.0**-10 / (2**bits - 1) + 2.0**-23
    assert (step[:, 0] <= (ideal + slack) * (1 + 2.0**-9) + 2.0**-23).all()


def nearest(numbers: np.ndarray, scale: np.ndarray, offset: np.ndarray, bits: int) -> np.ndarray:
    """The codes of float32 numbers, by the formula."""
    scale, offset = scale.astype(np.float32), offset.astype(np.float32)
    steps = (numbers - offset) / np.where(scale > 0, scale, 1)
    return np.clip(np.rint(steps), 0, 2**bits - 1).astype(np.int64)


@pytest.mark.parametrize("bits", FEW)
def test_rows_are_stored_and_unpacked_as_the_formula_says(bits):
    for width in range(1, 71):
        x = table(width, width)[:20]
        q = QuantizedTable(x, bits)
        codes = nearest(x.numpy(), q.scale.numpy(), q.offset.numpy(), bits)
        assert q.codes.shape == (20, -(-width * bits // 8))
        assert np.array_equal(q.codes.numpy(), packed(codes, bits))
        nbytes = sum(stored.nbytes for stored in q.state_dict().values())
        assert nbytes == 20 * (-(-width * bits // 8) + 4)
        everything = q(torch.arange(20).view(4, 5)).view(20, width)
        np.testing.assert_allclose(everything.numpy(), decoded(q), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("bits", FEW)
@pytest.mark.parametrize("value", [0.0, 1.0, 1 / 3, -1e-9, 60000.0, -12345.678])
def test_constant_rows(bits, value):
    q = QuantizedTable(torch.full((2, 5), value), bits)
    assert q(torch.tensor([0, 1])).numpy() == pytest.approx(value, rel=2.0**-11, abs=1e-7)


@pytest.mark.parametrize("low", [100.0, -300.0])
def test_rows_of_one_sign(low):
    # A known implementation casts the zero point to int8, which an all-positive table overflows.
    x = low + 200 * torch.rand(50, 16, generator=torch.Generator().manual_seed(0))
    q = QuantizedTable(x, 8)
    assert (q(torch.arange(50)) - x).abs().max() <= q.scale.float().max() / 2 + 1e-3
    assert q.scale.max() < 1  # 200 / 255, not a range from zero


def test_each_row_has_its_own_scale():
    # A known implementation has one scale per table: one large row drowns all others.
    x = table()
    x[0] *= 1000
    q = QuantizedTable(x, 8)
    assert (q(torch.arange(1, N)) - x[1:]).abs().max() < 0.02


@pytest.mark.parametrize("bad", [-1e6, float("inf"), float("nan"), 1e30])
@pytest.mark.parametrize("bits", [2, 3, 4, 8, 16])
def test_values_beyond_fp16_are_refused(bad, bits):
    x = table()
    x[7, 3] = bad
    with pytest.raises(ValueError, match=r"row 7 cannot be quantised.*\[-65504, 65504\]"):
        QuantizedTable(x, bits)


def decoded_blocks(q: QuantizedBlocks) -> np.ndarray:
    """Every number by the formula, from the stored bytes."""
    total = q.num_rows * q.width
    codes = unpacked(q.codes.numpy(), q.bits, total)
    offset, scale = (np.repeat(t.numpy()[:, 0].astype(np.float64), 64) for t in (q.offset, q.scale))
    return (offset[:total] + scale[:total] * codes).reshape(q.num_rows, q.width)


@settings(deadline=None, max_examples=100)
@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 70), st.integers(1, 3)),
        elements=st.floats(-60000, 60000, width=32, allow_subnormal=False),
    ),
    st.sampled_from(FEW),
)
def test_no_number_of_a_block_moves_by_more_than_half_a_stored_step(rows, bits):
    q = QuantizedBlocks(torch.from_numpy(rows), bits)
    total, blocks = rows.size, -(-rows.size // 64)
    assert (len(q.codes), q.scale.shape, q.offset.shape) == (
        -(-total * bits // 8),
        (blocks, 1),
        (blocks, 1),
    )
    step = np.repeat(q.scale.numpy()[:, 0].astype(np.float64), 64)[:total].reshape(rows.shape)
    assert (np.abs(decoded_blocks(q) - rows) <= step / 2 + 1e-6 * np.abs(rows).max()).all()
    for block in range(blocks):  # nothing but its own numbers makes a step wide
        part = rows.ravel()[64 * block : 64 * block + 64].astype(np.float64)
        slack = np.abs(part.min()) * 2.0**-10 / (2**bits - 1) + 2.0**-23
        ideal = np.ptp(part) / (2**bits - 1)
        assert float(q.scale[block]) <= (ideal + slack) * (1 + 2.0**-9) + 2.0**-23


@pytest.mark.parametrize("bits", FEW)
@pytest.mark.parametrize("width", [1, 3, 7])
def test_narrow_rows_are_stored_and_unpacked_as_the_formula_says(bits, width):
    x = table(width=width)
    q = pack_table(x, bits)
    assert isinstance(q, QuantizedBlocks)
    grid = (np.repeat(t.numpy()[:, 0], 64)[: N * width] for t in (q.scale, q.offset))
    codes = nearest(x.numpy().ravel(), *grid, bits)
    assert np.array_equal(q.codes.numpy(), packed(codes, bits))
    rows = q(torch.arange(N).view(9, 10)).view(N, width)
    np.testing.assert_allclose(rows.numpy(), decoded_blocks(q), rtol=1e-6, atol=1e-6)
    assert q(torch.tensor(5)).shape == (width,)
    assert q(torch.empty(0, dtype=torch.int64)).shape == (0, width)
    assert q.to(torch.bfloat16)(torch.tensor([5])).dtype == torch.bfloat16
    assert q.scale.dtype == torch.float16


def test_a_row_of_eight_numbers_has_its_own_scale():
    assert type(pack_table(table(width=8), 4)) is QuantizedTable
    assert type(pack_table(table(width=1), 16)) is QuantizedTable
    with pytest.raises(ValueError, match="bits must be one of 2, 3, 4 and 8, got 16"):
        QuantizedBlocks(table(width=1), 16)


def test_a_block_beyond_fp16_is_named():
    x = torch.zeros(100, 1)
    x[70] = -1e6
    with pytest.raises(ValueError, match=r"block 1 cannot be quantised: .* from -1e\+06"):
        QuantizedBlocks(x, 8)


@settings(deadline=None)
@given(st.floats(-65000, 65000, width=32, allow_subnormal=True), st.booleans())
def test_rounding_to_fp16_in_one_direction(value, up):
    x = np.float32(value)
    near = np.float16(x)
    if (np.float32(near) < x) if up else (np.float32(near) > x):
        near = np.nextafter(near, np.float16(np.inf if up else -np.inf))
    assert _round_half(torch.tensor([float(x)]), up=up).item() == float(near)


def searched(row: np.ndarray, bits: int) -> tuple[float, float, float]:
    """Offset, scale and squared error of a row by the greedy rule, one number after another."""
    levels = 2**bits - 1

    def fp16(value: float, toward: float) -> np.float16:
        near = np.float16(value)
        beyond = near > value if toward < 0 else near < value
        return np.nextafter(near, np.float16(toward)) if beyond else near

    def grid(low: np.float32, high: np.float32) -> tuple[float, float, float]:
        offset = fp16(low, -np.inf)
        scale = fp16((high - np.float32(offset)) / np.float32(levels), np.inf)
        error = 0.0
        for number in row.tolist():
            code = min(max(round((number - float(offset)) / (float(scale) or 1)), 0), levels)
            error += (float(offset) + float(scale) * code - number) ** 2
        return float(offset), float(scale), error

    low, high = row.min(), row.max()
    step = (high - low) * np.float32(0.005)
    best = grid(low, high)
    for _ in range(32):
        from_below, from_above = grid(low + step, high), grid(low, high - step)
        if from_below[2] < from_above[2]:
            low, found = low + step, from_below
        else:
            high, found = high - step, from_above
        best = min(best, found, key=lambda each: each[2])
    return best


@pytest.mark.parametrize(("bits", "width"), [(2, 12), (3, 64), (4, 12), (8, 64)])
def test_the_greedy_search_finds_what_a_search_in_plain_python_finds(bits, width):
    x = table(1, width)[:20]
    x[3, 5] = 9.0  # rows with an outlier
    x[4, 0] = -9.0
    x[6] = torch.tensor([0.0, 15.0]).repeat(width // 2)  # no range is better than its own
    x[7] = 0.3
    q = QuantizedTable(x, bits, clip="greedy")
    expected = np.array([searched(row, bits) for row in x.numpy()])
    assert np.array_equal(q.offset.double().numpy()[:, 0], expected[:, 0])
    assert np.array_equal(q.scale.double().numpy()[:, 0], expected[:, 1])
    error = np.square(decoded(q) - x.double().numpy()).sum(1)
    np.testing.assert_allclose(error, expected[:, 2], rtol=1e-9, atol=1e-12)
    own = QuantizedTable(x, bits)
    narrower = (q.scale < own.scale)[:, 0]
    assert narrower.sum() >= 3
    assert not narrower[6:8].any()


def test_the_search_takes_more_off_the_fewer_bits_there_are():
    x = table(2, 64)
    errors = [
        [
            np.square(decoded(QuantizedTable(x, bits, clip=clip)) - x.double().numpy()).mean()
            for clip in ("greedy", "minmax")
        ]
        for bits in FEW
    ]
    left = [greedy / own for greedy, own in errors]
    assert left == sorted(left)


def test_searching_in_pieces_changes_nothing(monkeypatch):
    whole = QuantizedTable(table(), 4, clip="greedy").state_dict()
    monkeypatch.setattr(quantized_table, "CHUNK", 7)
    pieces = QuantizedTable(table(), 4, clip="greedy").state_dict()
    assert all(torch.equal(whole[name], pieces[name]) for name in whole)


def no_more(greedy: np.ndarray, own: np.ndarray, rows: np.ndarray) -> bool:
    """Is no error of a row larger, but for the rounding of fp32?"""
    rounding = 1e-6 * np.abs(rows).max(1)
    by_greedy, by_own = (np.sqrt(np.square(each - rows).mean(1)) for each in (greedy, own))
    return bool((by_greedy <= by_own * (1 + 1e-6) + rounding).all())


@settings(deadline=None, max_examples=200)
@given(ROWS, st.sampled_from(FEW))
def test_the_greedy_search_never_makes_an_error_larger(rows, bits):
    greedy, own = (
        decoded(QuantizedTable(torch.from_numpy(rows), bits, clip=clip))
        for clip in ("greedy", "minmax")
    )
    assert no_more(greedy, own, rows.astype(np.float64))


@settings(deadline=None, max_examples=200)
@given(
    arrays.arrays(
        np.float32,
        st.integers(65, 90),
        elements=st.floats(-100, 100, width=32, allow_subnormal=False),
    ),
    st.sampled_from(FEW),
)
def test_nor_that_of_a_block_that_is_not_full(numbers, bits):
    greedy, own = (
        decoded_blocks(QuantizedBlocks(torch.from_numpy(numbers).unsqueeze(1), bits, clip=clip))
        for clip in ("greedy", "minmax")
    )
    for block in (slice(64), slice(64, None)):
        parts = (each[block].reshape(1, -1) for each in (greedy, own, numbers.astype(np.float64)))
        assert no_more(*parts)


def test_halves():
    q = QuantizedTable(table(), 16)
    assert list(q.state_dict()) == ["codes"]
    assert torch.equal(q(torch.arange(N)), table().half().float())


@pytest.mark.parametrize("bits", [0, 1, 5, 6, 7, 32, "8", True])
def test_other_bits_are_refused(bits):
    with pytest.raises(ValueError, match="bits must be one of 2, 3, 4, 8 and 16"):
        QuantizedTable(table(), bits)


@pytest.mark.parametrize(
    ("bits", "row"), [(2, 3 + 4), (3, 5 + 4), (4, 6 + 4), (8, 12 + 4), (16, 24)]
)
def test_from_table_counts_every_byte(bits, row):
    emb = memcom.QuantizedEmbedding.from_table(table(), bits, padding_idx=-1)
    assert emb.nbytes == N * row == len(save(emb.state_dict())) - header(save(emb.state_dict()))
    assert torch.equal(emb(torch.tensor(N - 1)), torch.zeros(E))
    assert torch.equal(emb.addresses(torch.arange(4))["table"], torch.arange(4))
    assert not list(emb.parameters())


def header(blob: bytes) -> int:
    return 8 + int.from_bytes(blob[:8], "little")


@pytest.mark.parametrize("name", ["int8", "int4"])
def test_a_registered_table_trains_in_full_and_freezes_to_few_bits(name):
    bits = int(name[3:])
    emb = memcom.build(name, N, E, padding_idx=2)
    emb(torch.arange(N)).square().sum().backward()
    assert emb.table.grad is not None
    frozen = emb.freeze()
    assert frozen.nbytes == emb.frozen_nbytes == N * (-(-E * bits // 8) + 4)
    step = (emb.table.amax(1) - emb.table.amin(1)) / (2**bits - 1)
    error = (frozen.materialize() - emb.materialize()).abs().amax(1)
    assert (error <= 0.51 * step + 1e-3).all()
    assert (frozen.materialize()[2] == 0).all()


def test_the_ceiling_is_named():
    with pytest.raises(memcom.BudgetError, match="8 bits, so ratio < 4"):
        memcom.plan("int8", N, E, ratio=4)


PACKED = ("int8", "int4")


@pytest.mark.parametrize("bits", [2, 3, 4, 8, 16])
@pytest.mark.parametrize("name", [n for n in memcom.available() if n not in PACKED])
def test_any_compressor(name, bits):
    emb = memcom.build(name, 501, 16, ratio=None if name == "full" else 3).freeze()
    quantized = memcom.quantize(emb, bits)
    exact, rounded = emb.materialize(), quantized.materialize()
    error = (rounded - exact).square().mean().sqrt() / exact.square().mean().sqrt()
    assert 0 < error < {2: 0.9, 3: 0.4, 4: 0.2, 8: 0.012, 16: 0.001}[bits]
    assert quantized.nbytes < emb.nbytes
    assert torch.equal(emb.materialize(), exact)  # the original is left alone


@pytest.mark.parametrize("bits", FEW)
def test_a_network_of_narrow_layers(bits):
    torch.manual_seed(0)
    emb = memcom.DHEmbedding(N, E, widths=[5, 3, 9])
    error = memcom.quantize(emb, bits).materialize() - emb.materialize()
    assert 0 < error.square().mean().sqrt() < {2: 2, 3: 0.9, 4: 0.4, 8: 0.02}[bits]


@pytest.mark.parametrize("name", PACKED)
def test_what_is_packed_already_is_not_packed_again(name):
    with pytest.raises(TypeError, match=f"stored in {name[3:]} bits already"):
        memcom.quantize(memcom.build(name, 501, 16))


def test_multipliers_alone_are_no_rows():
    with pytest.raises(TypeError, match="MEmComEmbedding has no tables of rows"):
        memcom.quantize(memcom.MEmComEmbedding(N, 1, num_buckets=5))


def test_memcom_with_a_head_and_8_bit_rows_in_one_expression():
    n, e, k = 3000, 64, 100
    emb = memcom.quantize(memcom.build("memcom", n, e, ratio=16, head=k), bits=8)
    m = emb.tail.num_buckets
    assert emb.nbytes == (k + m) * (e + 4) + 4 * (n - k)
    assert emb.tail.multiplier.dtype == torch.float32
    assert emb.tail.multiplier.requires_grad
    halves = memcom.quantize(memcom.build("memcom", n, e, ratio=16, head=k), 8, weight_bits=16)
    assert halves.nbytes == (k + m) * (e + 4) + 2 * (n - k)


def test_a_plan_for_few_bits_buys_more_rows():
    plain = memcom.plan("memcom", 3000, 64, ratio=16, head=100)
    packed = memcom.plan("memcom", 3000, 64, ratio=16, head=100, bits=8)
    assert packed.arguments["num_buckets"] > 3 * plain.arguments["num_buckets"]
    emb = packed.build(padding_idx=7)
    assert emb.freeze().nbytes == packed.nbytes <= 4 * 3000 * 64 / 16
    emb(torch.arange(10)).sum().backward()
    assert emb.embedding.tail.table.grad is not None
    assert (emb.freeze()(torch.tensor(7)) == 0).all()
    assert set(emb.addresses(torch.tensor([0]))) >= {"embedding.head", "embedding.tail.table"}


def test_multipliers_in_8_bits_would_not_be_unique():
    # The reason why weights of an id's own are left alone.
    v = torch.randn(40, 100, generator=torch.Generator().manual_seed(0))  # 40 buckets of 100 ids
    kept = [row.half().unique().numel() for row in v]
    rounded = [row.unique().numel() for row in QuantizedTable(v, 8)(torch.arange(40))]
    assert min(kept) > 95
    assert max(rounded) < 95


def test_weights_in_8_bits_are_asked_for_and_merge_ids():
    n, e, m = 3000, 64, 5
    layer = memcom.build("memcom", n, e, num_buckets=m, bits=16, weight_bits=8)
    torch.nn.init.normal_(layer.embedding.multiplier, generator=torch.Generator().manual_seed(0))
    stored = layer.freeze()
    assert stored.nbytes == 2 * m * e + n + 4 * -(-n // 64)  # a byte an id, a scale for 64
    v = stored.multiplier(torch.arange(n)).flatten().numpy()
    distinct = len(np.unique(np.stack([np.arange(n) % m, v]), axis=1).T)
    assert distinct < n
    assert memcom.audit(stored, eps=(), roundings=()).exact[0].num_distinct == distinct


@pytest.mark.parametrize("bits", [1, 5, 32])
def test_other_bits_of_weights_are_refused(bits):
    with pytest.raises(
        ValueError, match=f"weight_bits must be one of 2, 3, 4, 8 and 16, got {bits}"
    ):
        memcom.quantize(memcom.MEmComEmbedding(N, E, num_buckets=5), weight_bits=bits)


def test_bits_of_weights_need_bits_of_rows():
    with pytest.raises(ValueError, match="weight_bits=8 needs bits: one of 2, 3, 4, 8 and 16"):
        memcom.build("memcom", 3000, 64, ratio=16, weight_bits=8)


@pytest.mark.parametrize("name", ["int4(clip=greedy)", "memcom(bits=4,clip=greedy,head=20)"])
def test_the_search_is_asked_for_in_a_specification(name):
    name, options = memcom.parse_spec(name)
    ratio = 7 if name == "int4" else 16
    planned = memcom.plan(name, 3000, 64, ratio=ratio, **options)
    own = memcom.plan(name, 3000, 64, ratio=ratio, **options | {"clip": "minmax"})
    assert planned.nbytes == own.nbytes
    emb = planned.build()
    stored = emb.freeze()
    packed = stored.table if name == "int4" else stored.tail.table
    rows = emb.table if name == "int4" else emb.embedding.tail.table
    for clip, same in (("greedy", True), ("minmax", False)):
        expected = QuantizedTable(rows, 4, clip=clip)
        assert torch.equal(packed.scale, expected.scale) == same
    larger = emb.resize_num_embeddings(3001)
    assert larger.clip == "greedy"


def test_clips_have_two_words_and_need_bits():
    for call in (
        lambda: QuantizedTable(table(), 4, clip="best"),
        lambda: memcom.build("int8", N, E, clip="best"),
        lambda: memcom.plan("memcom", N, E, ratio=4, bits=4, clip="best"),
        lambda: memcom.quantize(memcom.build("full", N, E), 4, clip="best"),
    ):
        with pytest.raises(
            ValueError, match=r"clip must be one of 'minmax', 'greedy'.*, got 'best'"
        ):
            call()
    with pytest.raises(ValueError, match="clip=greedy needs bits"):
        memcom.build("memcom", 3000, 64, ratio=16, clip="greedy")


@pytest.fixture
def quantized() -> torch.nn.Module:
    torch.manual_seed(0)
    emb = memcom.build("memcom", 501, 16, ratio=4, head=20, padding_idx=3)
    return memcom.quantize(emb, 4).eval()


def test_quantised_layers_are_copied_saved_and_loaded(quantized):
    expected = quantized.materialize()
    for other in (copy.deepcopy(quantized), pickle.loads(pickle.dumps(quantized))):
        assert torch.equal(other.materialize(), expected)
    other = memcom.quantize(memcom.build("memcom", 501, 16, ratio=4, head=20, padding_idx=3), 4)
    other.load_state_dict(load(save(quantized.state_dict())))
    assert torch.equal(other.materialize(), expected)
    buffer = io.BytesIO()
    torch.save(quantized.state_dict(), buffer)
    assert buffer.tell() > quantized.nbytes


def test_another_dtype_changes_what_comes_out_and_not_what_is_stored(quantized):
    before = quantized.nbytes - quantized.tail.multiplier.nbytes
    other = copy.deepcopy(quantized).to(torch.bfloat16)
    assert other(torch.tensor([5])).dtype == torch.bfloat16
    assert other.private.scale.dtype == torch.float16
    assert torch.equal(other.private.scale, quantized.private.scale)
    assert other.nbytes - other.tail.multiplier.nbytes == before
    assert quantized.double()(torch.tensor([5])).dtype == torch.float64


@pytest.mark.parametrize("spec", [None, ("robe", 3), ("memcom", 3), ("qr", 2), ("jagged", 4)])
def test_quantised_layers_compile_and_export(quantized, spec):
    if spec is not None:
        quantized = memcom.quantize(memcom.build(spec[0], 501, 15, ratio=3), spec[1]).eval()
    ids = torch.tensor([[0, 3, 500], [20, 77, 19]])
    torch._dynamo.reset()
    compiled = torch.compile(quantized, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(ids), quantized(ids))
    program = torch.export.export(quantized, (ids,)).module()
    torch.testing.assert_close(program(ids), quantized(ids))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "bits"),
    [("memcom", bits) for bits in (2, 3, 4, 8, 16)] + [("robe", 3), ("csr", 8)],
)
def test_quantised_layers_run_under_onnxruntime(name, bits, tmp_path):
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    emb = memcom.quantize(memcom.build(name, 501, 15, ratio=4, head=20), bits).eval()
    ids = torch.tensor([[0, 3, 500], [20, 77, 19]])
    torch.onnx.export(emb, (ids,), dynamo=True, verbose=False).save(tmp_path / "layer.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "layer.onnx")
    (vectors,) = session.run(None, {session.get_inputs()[0].name: ids.numpy()})
    torch.testing.assert_close(torch.from_numpy(vectors), emb(ids).detach())
