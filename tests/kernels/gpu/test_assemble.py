"""Readings in Triton, against NumPy and torch: on a GPU if there is one, else interpreted."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings

from memcom import kernels
from memcom.addresses import DerivedSeed, Digit
from memcom.kernels import Mapped, Ragged, Read, Recipe, Run
from memcom.kernels.assembly import OP, ROW, Unsupported, assemble
from memcom.kernels.bits import Stored, pack
from memcom.kernels.gpu.lines import specialise
from tests.embeddings.cases import make, some_ids
from tests.kernels.gpu.running import DEVICE, GPU, interpreted, needs_gpu
from tests.kernels.readings import readings, vectors_of
from tests.kernels.test_assembly import FORMS, assert_near, damaged

with interpreted():
    pytest.importorskip("triton", reason="triton is not installed; it comes with torch for CUDA")
    from memcom.kernels.gpu import lookup

only_interpreted = pytest.mark.skipif(GPU, reason="an assertion, which the interpreter leaves out")


@pytest.fixture(autouse=True, scope="module")
def running_interpreted():
    with interpreted():
        yield


def by_triton(ids, reading, count, padding=None, width=None):
    """The lookup in blocks so small that few ids fill some, and rows take several stretches."""
    program = specialise(assemble(reading, count, padding, width))
    program = program._replace(block=8, columns=8)
    found = moved(program)
    return lookup.assembled_on_gpu(found, ids.to(DEVICE)).cpu()


def moved(program):
    sources = tuple(source.to(DEVICE) for source in program.sources)
    return program._replace(code=program.code.to(DEVICE), sources=sources)


@settings(deadline=None, max_examples=25)
@given(readings())
def test_any_reading_is_what_numpy_makes_of_it(drawn):
    reading, count, width, dtype = drawn
    ids = torch.randint(count, (3, 7))
    ids[0, 0] = 0
    got = by_triton(ids.int(), reading, count, 0, width + 3)
    want = vectors_of(reading, ids.flatten().numpy()).reshape(3, 7, width)
    want[ids.numpy() == 0] = 0
    assert got.dtype == dtype
    assert got.shape == (3, 7, width + 3)
    assert_near(got[..., :width], want, dtype)
    assert not got[..., width:].any()
    if count > 1:
        full = by_triton(ids[1:], reading, count)
        assert full.shape == (2, 7, width)
        assert torch.equal(full[ids[1:] != 0], got[1:, :, :width][ids[1:] != 0])


LAYERS = [
    *("memcom(bits=4)", "qr(bits=8)", "robe(bits=16)", "robe(signs=True)", "lma", "cce(bits=4)"),
    *(
        "memcom(bits=2)",
        "qr(bits=3)",
        "robe(bits=3)",
        "lhf",
        "jagged(bits=8)",
        "csr",
        "mgqe",
        "memcom(head=20,bits=8)",
        "mixed-dim",
        "low-rank",
    ),
]


@pytest.mark.parametrize("spec", LAYERS)
def test_shipped_layers_equal_what_torch_composes(spec):
    layer = make(spec, e=16, padding_idx=7).freeze()
    ids = some_ids(20)
    ids[3] = 7
    got = by_triton(ids, layer.reading(), layer.num_embeddings, 7, 16)
    with torch.no_grad(), kernels.plain():
        want = layer(ids)
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


def test_lines_that_repeat_themselves_are_compiled_once():
    seed, table = torch.tensor(5), torch.randn(50, 1)

    def chunk(number, columns=4, source=table):
        address = Digit(50, seed=DerivedSeed(seed, number))
        return Run("t", source, address, columns, Digit(2, seed=DerivedSeed(seed, 90 + number)))

    def rows_of(*runs):
        found = specialise(assemble(Recipe(runs, "concat"), 100)).lines
        return sum(line[OP] == ROW for line in found)

    assert rows_of(*map(chunk, range(40))) == 1
    assert rows_of(chunk(0), chunk(1), chunk(2, 3), chunk(3)) == 3
    assert rows_of(chunk(0), chunk(1, source=table.clone())) == 2
    ids = torch.arange(100)
    reading = Recipe((chunk(1), chunk(4), chunk(2, 3), chunk(0)), "concat")
    assert_near(by_triton(ids, reading, 100), vectors_of(reading, ids.numpy()), torch.float32)


def test_sums_of_rows_side_by_side_repeat_themselves_too():
    table = torch.randn(60, 5)
    parts = [
        Recipe((Read("t", table, Digit(7), 2 * k), Read("t", table, Digit(9), 40 - k)))
        for k in range(4)
    ]
    reading, ids = Recipe(tuple(parts), "concat"), torch.arange(30)
    program = specialise(assemble(reading, 30))
    assert sum(line[OP] == ROW for line in program.lines) == 2
    assert_near(by_triton(ids, reading, 30), vectors_of(reading, ids.numpy()), torch.float32)


def test_too_many_lines_are_left_to_torch():
    tables = [torch.randn(3, 2) for _ in range(30)]
    reading = Recipe(tuple(Read("t", table, Digit(3)) for table in tables), "concat")
    with pytest.raises(Unsupported, match="32 lines take too long"):
        specialise(assemble(reading, 9))


def test_ids_beyond_32_bits():
    table, far, seed = torch.randn(11, 3), 2**40, torch.tensor(9)
    reading = Recipe((Read("t", table, Digit(11, 3)), Read("t", table, Digit(11, seed=seed), 0)))
    quick = Mapped(Stored(pack(torch.arange(9), 8), 8), reading, far)
    ids = torch.tensor([0, 5, 2**31, 2**32 + 7, far - 1])
    assert_near(by_triton(ids, reading, far), vectors_of(reading, ids.numpy()), torch.float32)
    ids = torch.arange(9)
    assert_near(by_triton(ids, quick, 9), vectors_of(quick, ids.numpy()), torch.float32)


@pytest.mark.parametrize("shape", [(0,), (), (2, 0), (2, 3)])
def test_ids_of_any_shape(shape):
    reading = Ragged(torch.randn(3, 2), Stored(pack(torch.tensor([0, 1, 3, 3]), 2), 2), None, 3)
    ids = torch.zeros(shape, dtype=torch.int64)
    assert by_triton(ids, reading, 3).shape == (*shape, 3)


WRONG = [[1], [1, 2], [1], [2], [1], [0, 1, 2], [2]]  # ids whose numbers point outside


@only_interpreted
@pytest.mark.parametrize(
    ("reading", "wrong"), [(r, w) for (_, r), w in zip(damaged(), WRONG, strict=True)]
)
def test_stored_numbers_that_point_outside_are_never_followed(reading, wrong):
    got = by_triton(torch.arange(3), reading, 3)
    assert not got[wrong].any()
    right = [k for k in range(3) if k not in wrong and not isinstance(reading, Ragged)]
    assert got[right].all()


@only_interpreted
@pytest.mark.parametrize("bad", [-1, 60, 2**45])
def test_a_bad_id_reads_nothing(bad):
    table = torch.randn(60, 4)
    reading = Recipe((Read("t", table, Digit(60)),))
    got = by_triton(torch.tensor([3, bad, 59]), reading, 60)
    assert torch.equal(got, torch.stack([table[3], torch.zeros(4), table[59]]))


@needs_gpu
@pytest.mark.parametrize(("spec", "wide"), list(itertools.product(FORMS, [torch.int32, None])))
def test_layers_on_a_gpu_use_it(spec, wide):
    layer = make(spec, n=3001, padding_idx=7, device=DEVICE).freeze()
    ids = some_ids(40, 50, n=3001).to(DEVICE, wide)
    with torch.no_grad():
        assert kernels.explain(layer, ids).name == "triton"
        got = layer(ids)
        with kernels.plain():
            want = layer(ids)
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
