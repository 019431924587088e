"""Any reading, compiled: the vectors that NumPy makes of what is stored, or a word why not."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings

import memcom
from memcom import kernels
from memcom.addresses import Clamp, DerivedSeed, Digit, Signature
from memcom.embeddings.quantized_table import QuantizedTable
from memcom.kernels import Mapped, Ragged, Ranges, Read, Recipe, Run, loading
from memcom.kernels.assembly import OP, ROW, TOGETHER, Unsupported, assemble
from memcom.kernels.bits import Stored, pack
from tests.embeddings.cases import make, some_ids
from tests.kernels.readings import readings, vectors_of

pytestmark = pytest.mark.skipif(not loading.HAVE_NUMBA, reason="numba is not installed")
TOLERANCE = {torch.float32: 2e-6, torch.float16: 2e-3, torch.bfloat16: 1e-2}


def assert_near(got, want, dtype):
    scale = np.abs(want).max() + 1e-30
    np.testing.assert_allclose(got.float().numpy() / scale, want / scale, atol=TOLERANCE[dtype])


def assembled(assembly, ids):
    return loading.load("assemble").assembled(assembly, ids)


@settings(deadline=None, max_examples=150)
@given(readings())
def test_any_form_is_what_numpy_makes_of_it(drawn):
    reading, count, width, dtype = drawn
    ids = torch.randint(count, (300,))
    got = assembled(assemble(reading, count), ids)
    want = vectors_of(reading, ids.numpy())
    assert got.dtype == dtype
    assert got.shape == (300, width)
    assert_near(got, want, dtype)


@settings(deadline=None, max_examples=30)
@given(readings())
def test_padding_width_kinds_of_ids_and_threads_change_nothing_else(drawn):
    reading, count, width, _ = drawn
    ids = torch.randint(count, (4, 90), dtype=torch.int32)
    plain = assembled(assemble(reading, count), ids)
    wider = assembled(assemble(reading, count, 0, width + 3), ids.long()[:, ::2])
    torch.testing.assert_close(
        wider[..., :width],
        plain[:, ::2].masked_fill((ids[:, ::2] == 0).unsqueeze(-1), 0),
        rtol=0,
        atol=0,
    )
    assert not wider[..., width:].any()
    many = ids.repeat(1, 1 + 2**16 // (90 * width))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        again = assembled(assemble(reading, count), many)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(again[:, :90], plain)
    assert torch.equal(again[:, -90:], plain)


@pytest.mark.parametrize(("per_id", "bits"), [(16, 7), (32, 3), (64, 1), (5, 13), (3, 24), (4, 15)])
@pytest.mark.parametrize("columns", [1, 2, 3, 8, 16])
def test_many_stored_numbers_of_an_id_are_told_apart(per_id, bits, columns):
    generator = torch.Generator().manual_seed(per_id)
    table = torch.randn(50, columns, generator=generator)
    numbers = torch.randint(min(2**bits, 50), (300, per_id), generator=generator)
    packed, order = pack(numbers, bits), torch.randperm(per_id, generator=generator).tolist()
    for which in (range(per_id), order):
        reads = tuple(Read("t", table, Stored(packed, bits, per_id, j)) for j in which)
        got = assembled(assemble(Recipe(reads, "concat"), 300), torch.arange(300).flip(0))
        assert torch.equal(got, table[numbers.flip(0)[:, list(which)]].flatten(1))


@pytest.mark.parametrize("width", [7, 8, 11, 25])
@pytest.mark.parametrize("other", [0, 3, 8, 24])
def test_single_numbers_side_by_side_come_from_their_own_tables(width, other):
    generator = torch.Generator().manual_seed(width)
    arrays = torch.randn(2, 50, 1, generator=generator)
    runs = tuple(Run("t", arrays[int(j == other)], Digit(50, 1 + j), 1) for j in range(width))
    ids = torch.randint(4000, (300,), generator=generator)
    got = assembled(assemble(Recipe(runs, "concat"), 4000), ids)
    for j in range(width):
        rows = ids.numpy() // (1 + j) % 50
        np.testing.assert_array_equal(got[:, j].numpy(), arrays[int(j == other), rows, 0].numpy())


@pytest.mark.parametrize("columns", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("numbers", [50, 140_001])  # the second array is prefetched
def test_runs_side_by_side_go_round_the_end_of_their_array(columns, numbers):
    memory = torch.randn(numbers, 1, generator=torch.Generator().manual_seed(columns))
    runs = tuple(Run("t", memory, Digit(numbers, 1 + j), columns) for j in range(17))
    ids = torch.cat([torch.arange(280), numbers - 1 - torch.arange(50)])
    got = assembled(assemble(Recipe(runs, "concat"), numbers + 280), ids)
    starts = ids.numpy()[:, None] // np.arange(1, 18) % numbers
    cells = (starts[..., None] + np.arange(columns)) % numbers
    np.testing.assert_array_equal(got.numpy(), memory.numpy()[cells, 0].reshape(len(ids), -1))


def test_lines_are_put_together_where_eight_set_pieces_of_one_table_side_by_side():
    table = torch.randn(50, 4)
    reads = [Read("t", table, Digit(50, 1 + j)) for j in range(19)]
    reads[8] = Read("t", table, Digit(50), 0, torch.randn(4, 4))
    code = assemble(Recipe(tuple(reads), "concat"), 100).code
    want = [*range(1, 9), 0, *range(1, 9), 0, 0]
    assert code[code[:, OP] == ROW][:, TOGETHER].tolist() == want


@pytest.mark.parametrize("columns", [32, 33, 48, 64, 96])
@pytest.mark.parametrize("inner", [1, 3, 22])
@pytest.mark.parametrize("count", [1, 2, 301])
def test_projected_rows_are_products_with_the_matrix(columns, inner, count):
    generator = torch.Generator().manual_seed(inner)
    table = torch.randn(50, inner, generator=generator)
    matrix = torch.randn(inner, columns, generator=generator)
    ids = torch.randint(50, (count,), generator=generator)
    recipe = Recipe((Read("t", table, Digit(50), 0, matrix),))
    want = table.double().numpy()[ids.numpy()] @ matrix.double().numpy()
    assert_near(assembled(assemble(recipe, 50), ids), want, torch.float32)


@pytest.mark.parametrize("bad", [-1, 7, 2**40])
def test_an_id_out_of_range_is_named(bad):
    assembly = assemble(Recipe((Read("t", QuantizedTable(torch.randn(7, 3), 4), Digit(7)),)), 7)
    ids = torch.zeros(1000, dtype=torch.int64)
    ids[999] = bad
    with pytest.raises(IndexError, match=rf"id {bad} is out of range: ids must be in \[0, 7\)"):
        assembled(assembly, ids)


ZEROS = torch.zeros(9, dtype=torch.int64)


def picking(key):
    """An address that hashes one of eight keys."""
    seed = DerivedSeed(torch.tensor(0), 0)
    return Signature(3, torch.zeros(3, 8, dtype=torch.uint8), (key,), seed)


def damaged():
    table, wrong = torch.randn(5, 4), pack(torch.tensor([0, 5, 1]), 3)
    fine, falling = pack(torch.tensor([0, 1, 2, 3]), 3), pack(torch.tensor([0, 2, 1, 3]), 3)
    yield "row", Recipe((Read("t", table, Stored(wrong, 3)),))
    yield "first", Recipe((Read("t", table, Stored(fine, 3), 4),))
    yield "map", Mapped(Stored(wrong, 3), Recipe((Read("t", table, Digit(5)),)), 5)
    yield "start", Ragged(table[:2], Stored(fine, 3), None, 9)
    yield "falling starts", Ragged(table, Stored(falling, 3), None, 9)
    yield "place", Ragged(table, Stored(fine, 3), Stored(pack(torch.full((5,), 3), 2), 2), 12)
    yield "map", Recipe((Read("t", table, Stored(pack(torch.tensor([0, 0, 2**20 - 1]), 20), 20)),))


@pytest.mark.parametrize(("what", "reading"), list(damaged()))
def test_stored_numbers_that_point_outside_are_never_followed(what, reading):
    assert assembled(assemble(reading, 3), torch.arange(3)) is None


def test_a_layer_whose_map_is_damaged_says_what_torch_says():
    layer = make("lhf")
    layer.map.fill_(255)
    with torch.no_grad(), pytest.raises(IndexError, match="out of range"):
        layer(some_ids(600))


@pytest.mark.parametrize(
    ("reading", "why"),
    [
        (Recipe((Read("t", torch.zeros(3, 4, dtype=torch.float64), Digit(3)),)), "float64"),
        (Recipe((Read("t", torch.zeros(3), Digit(3)),)), "1 dimensions"),
        (Recipe((Read("t", torch.nn.Linear(1, 1), Digit(3)),)), "Linear"),
        (Recipe((Read("t", torch.zeros(3, 4), Digit(4)),)), "fewer rows"),
        (Recipe((Read("t", torch.zeros(3, 4), Digit(3), 1),)), "fewer rows"),
        (Recipe((Read("t", torch.zeros(3, 4), Digit(3), -1),)), "fewer rows"),
        (Recipe((Read("t", torch.zeros(3, 4), torch.abs),)), "an address is"),
        (Recipe((Read("t", torch.zeros(3, 4), Digit(0)),)), "modulus"),
        (
            Mapped(
                Stored(pack(ZEROS[:1], 8), 8), Recipe((Read("t", torch.zeros(9, 4), Digit(9)),)), 9
            ),
            "fewer",
        ),
        (Recipe((Read("t", QuantizedTable(torch.zeros(3, 4)), Digit(3, 4, 2)),)), "modulus"),
        (Recipe((Read("t", QuantizedTable(torch.zeros(3, 4)), Clamp(-1)),)), "clamps to row -1"),
        (Recipe((Read("t", torch.zeros(3, 4), Stored(pack(ZEROS, 8), 8, 1, -1)),)), "number -1"),
        (Recipe((Read("t", torch.zeros(3, 4), Stored(pack(ZEROS, 8), 8, 2, 2)),)), "number 2 of 2"),
        (Recipe((Run("t", torch.zeros(3, 1), picking(8), 1),)), "picks"),
        (Recipe((Run("t", torch.zeros(3, 1), Digit(3), 4),)), "4 numbers of an array"),
        (Recipe((Run("t", QuantizedTable(torch.zeros(9, 1)), Digit(3), 2),)), "a scale each"),
        (Recipe((Run("t", torch.zeros(3, 2), Digit(3), 1),)), "an array of 3 x 2"),
        (Recipe((Read("t", torch.zeros(3, 4), Digit(3), 0, torch.zeros(3, 4)),)), "projection"),
        (
            Recipe((Read("t", torch.zeros(3, 4), Stored(pack(torch.zeros(1).long(), 8), 8)),)),
            "fewer",
        ),
        (Ranges(((2, Recipe((Read("t", torch.zeros(3, 4), Digit(3)),))),)), "end at id 2, not 3"),
    ],
)
def test_what_cannot_be_assembled_says_why(reading, why):
    with pytest.raises(Unsupported, match=why):
        assemble(reading, 3)


FORMS = [
    *(
        f"{name}(bits={bits})"
        for name in ("hash", "qr", "memcom", "mixed-radix", "robe")
        for bits in (2, 3, 4, 8, 16)
    ),
    *("memcom(head=20,bits=8)", "memcom(bits=8,weight_bits=8)", "hash-embedding(append=True)"),
    *("small-dim", "low-rank", "mixed-dim", "robe", "robe(signs=True)", "lma", "cce", "lhf"),
    *("jagged", "csr", "int8", "int4", "dpq", "mgqe", "pep", "amtl", "fiited", "scall"),
    *("lma(bits=8)", "cce(bits=4)", "jagged(bits=8)", "dpq(bits=8)", "low-rank(bits=4)"),
    *("full(bits=2)", "full(bits=3)", "lma(bits=3)", "jagged(bits=2)", "low-rank(bits=3)"),
    *("memcom(bits=2,weight_bits=3)", "memcom(bits=3,weight_bits=2)"),
]


@pytest.mark.parametrize("spec", FORMS)
def test_shipped_layers_are_compiled_and_equal_to_what_torch_composes(spec):
    layer = make(spec).freeze()
    ids = some_ids(7, 100)
    with torch.no_grad():
        assert kernels.explain(layer).name == "compiled"
        got = layer(ids)
        with kernels.plain():
            want = layer(ids)
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("spec", ["full", "memcom", "memcom-bias", "qr", "hash", "bch", "bloom"])
def test_half_precision_is_compiled(spec, dtype):
    layer = make(spec).to(dtype)
    ids = some_ids(600)
    with torch.no_grad():
        assert kernels.explain(layer).name == "compiled"
        got, exact = layer(ids), copy.deepcopy(layer).float()(ids)
    assert got.dtype == dtype
    torch.testing.assert_close(got, exact.to(dtype))


def seeds_loaded(layer):
    state = layer.state_dict()
    state["seeds"] = state["seeds"] + 12
    layer.load_state_dict(state)


CHANGES = {
    "seeds loaded": (["robe", "lma", "cce"], seeds_loaded),
    "seeds set": (["robe", "lma", "cce"], lambda layer: layer.seeds.data.add_(3)),
    "table replaced": (
        ["robe", "lma"],
        lambda layer: setattr(layer, "memory", torch.nn.Parameter(torch.randn_like(layer.memory))),
    ),
    "moved": (["robe"], lambda layer: setattr(layer.memory, "data", layer.memory.data.clone() + 1)),
    "not contiguous": (
        ["mixed-dim"],
        lambda layer: setattr(layer.tables[1], "data", layer.tables[1].data.T.contiguous().T),
    ),
    "doubled": (["robe", "cce", "jagged"], lambda layer: layer.double()),
    "halved": (["robe", "cce", "jagged"], lambda layer: layer.half()),
    "map changed": (["cce", "lhf"], lambda layer: layer.map.zero_()),
}


@pytest.mark.parametrize(
    ("spec", "change"), [(s, c) for c, (specs, _) in CHANGES.items() for s in specs]
)
def test_a_change_of_the_layer_is_seen_at_the_next_lookup(spec, change):
    layer, ids = make(spec), some_ids(600)
    with torch.no_grad():
        layer(ids)
        CHANGES[change][1](layer)
        got = layer(ids)
        with kernels.plain():
            want = layer(ids)
    torch.testing.assert_close(got, want)


def test_hooks_of_modules_in_a_layer_are_called():
    layer, seen = make("memcom(head=20)"), []
    layer.tail.register_forward_hook(lambda *call: seen.append(call[1][0].numel()))
    with torch.no_grad():
        assert "hooks" in kernels.explain(layer).reason
        layer(some_ids(600))
    assert seen
    assert seen[-1] < 600


def test_averaged_integers_inside_a_layer_are_refused():
    layer = memcom.quantize(make("memcom"), 8)
    with torch.no_grad():
        layer(some_ids(600))
        layer.table.unaveraged.fill_(3)
        with pytest.raises(RuntimeError, match="averaged"):
            layer(some_ids(600))


class Shifted(memcom.get("robe")):
    """A user's subclass that changes how vectors are composed."""

    def compose(self, ids):
        return super().compose(ids) + 1


def test_a_subclass_that_changes_compose_is_not_read_by_the_form_of_its_parent():
    torch.manual_seed(0)
    layer, ids = Shifted(501, 16, memory_size=100), some_ids(600)
    assert not layer.has_reading
    plain = make("robe(memory_size=100)", ratio=None)
    plain.load_state_dict(layer.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(layer(ids), plain(ids) + 1)
