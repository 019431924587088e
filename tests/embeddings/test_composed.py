"""Every compressor in few bits, behind private rows, behind a learned map, and all at once."""

from __future__ import annotations

import copy
import functools
from typing import NamedTuple

import pytest
import torch

import memcom
from memcom.embeddings import CompressedEmbedding, QuantizedTable
from memcom.export import load, save
from tests.embeddings.cases import RATIO as MAP_SHARE

N, E, HEAD, RATIO = 300, 16, 10, 2
ROWS = torch.randint(N, (MAP_SHARE * N,), generator=torch.Generator().manual_seed(2))
MAP_NBYTES = MAP_SHARE * N * 9 // 8  # a row below 300 takes 9 bits

WRAPPINGS = {
    "bits=8": {"bits": 8},
    "bits=4": {"bits": 4},
    "head": {"head": HEAD},
    "head+bits": {"head": HEAD, "bits": 3},
    "map+head+bits": {"head": HEAD, "bits": 8},
}
PACKED = ("int8", "int4")  # few bits by themselves
PRUNED = ("pep", "amtl", "fiited", "scall")  # freezing drops the least of their numbers
# A coordinate is one stored number, or its negative: it moves by half a stored step at most.
SINGLE = ("full", "small-dim", "truncate", "hash", "robe", "lma", "lhf", "dpq", "mgqe")
SINGLE += ("jagged", "csr", *PRUNED, *PACKED)

CASES = [
    (name, wrapping)
    for name in memcom.available()
    for wrapping in WRAPPINGS
    if not (name in PACKED and wrapping.startswith("bits"))
]
every_case = pytest.mark.parametrize(("name", "wrapping"), CASES)


class Composed(NamedTuple):
    """A layer in training, what it freezes to, and the bytes it may have."""

    layer: CompressedEmbedding
    frozen: CompressedEmbedding
    plan: memcom.Plan
    mapped: bool

    @property
    def planned_nbytes(self) -> int:
        return self.plan.nbytes + (MAP_NBYTES if self.mapped else 0)


@functools.cache
def planned(name: str, *options: tuple[str, int]) -> memcom.Plan:
    unshrunk = name == "full" and "bits" not in dict(options)
    return memcom.plan(name, N, E, ratio=None if unshrunk else RATIO, **dict(options))


@functools.cache
def composed(name: str, wrapping: str, device: str = "cpu") -> Composed:
    plan = planned(name, *WRAPPINGS[wrapping].items())
    torch.manual_seed(0)
    layer = plan.build(device=device).eval()
    mapped = wrapping.startswith("map")
    if mapped:
        layer = memcom.MappedEmbedding(layer, ROWS).eval()
    return Composed(layer, layer.freeze(), plan, mapped)


def blank(layer: CompressedEmbedding) -> CompressedEmbedding:
    """A layer of the same making that holds nothing but zeros."""
    other = copy.deepcopy(layer)
    with torch.no_grad():
        for tensor in other.state_dict().values():
            tensor.zero_()
    return other


@every_case
def test_every_byte_is_planned_and_comes_back_from_a_file(name, wrapping, tmp_path):
    case = composed(name, wrapping)
    path = save(case.frozen, tmp_path / "layer.safetensors")
    header = 8 + int.from_bytes(path.read_bytes()[:8], "little")
    stored = path.stat().st_size - header
    assert stored == case.frozen.nbytes == case.layer.frozen_nbytes
    if name == "amtl":  # widths move in jumps, and may leave some of the budget over
        assert 0.95 * case.planned_nbytes <= stored <= case.planned_nbytes
    else:
        assert stored == case.planned_nbytes
    assert case.plan.nbytes <= case.plan.budget
    back = load(path, into=blank(case.frozen))
    assert torch.equal(back.materialize(), case.frozen.materialize())
    assert torch.equal(copy.deepcopy(case.frozen).materialize(), back.materialize())


@every_case
def test_freezing_keeps_each_vector_in_its_place(name, wrapping):
    case = composed(name, wrapping)
    layer, frozen = (c.inner if case.mapped else c for c in (case.layer, case.frozen))
    table = frozen.materialize()
    if case.mapped:  # matrix products of other shapes differ in their last bits
        torch.testing.assert_close(case.frozen.materialize(), table[ROWS])
    if "head" in wrapping:
        inside = layer.embedding if "bits" in wrapping else layer
        exact = torch.cat([inside.private.detach(), inside.tail.freeze().materialize()])
    else:
        exact = layer.embedding.freeze().materialize()
    error = (table - exact).abs()
    if "bits" not in wrapping:
        torch.testing.assert_close(table, exact)
        return
    assert error.any()
    if name in SINGLE:
        tables = [m for m in frozen.modules() if isinstance(m, QuantizedTable)]
        step = max(float(t.scale.max()) for t in tables)
        assert error.max() <= step / 2 + 1e-5
    of_row = error.square().mean(1).sqrt() / exact.square().mean().sqrt()
    assert of_row.max() < {8: 0.06, 4: 0.7, 3: 1.4}[case.plan.arguments["bits"]]
    assert of_row.mean() < {8: 0.015, 4: 0.25, 3: 0.5}[case.plan.arguments["bits"]]


@every_case
def test_the_meta_device_freezes_to_the_same_tensors(name, wrapping):
    real, meta = composed(name, wrapping), composed(name, wrapping, "meta")
    assert meta.frozen.nbytes == real.planned_nbytes
    assert {t.device.type for t in meta.frozen.state_dict().values()} == {"meta"}
    names = list(real.frozen.state_dict())
    assert list(meta.frozen.state_dict()) == names
    if name != "amtl":
        for key in names:
            one, other = (c.frozen.state_dict()[key] for c in (real, meta))
            assert (one.shape, one.dtype) == (other.shape, other.dtype)
    vectors = meta.frozen(torch.empty(3, 2, dtype=torch.int64, device="meta"))
    assert vectors.shape == (3, 2, E)


@every_case
def test_what_is_wrapped_is_trained(name, wrapping):
    layer = copy.deepcopy(composed(name, wrapping).layer).train()
    layer(torch.arange(2 * HEAD)).square().sum().backward()
    assert any(p.grad is not None and p.grad.any() for p in layer.parameters())


@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize("bits", [8, 2])
def test_what_is_packed_already_is_not_packed_again(name, bits):
    with pytest.raises(TypeError, match=f"stored in {name[3:]} bits already, so there is nothing"):
        memcom.plan(name, N, E, ratio=RATIO, bits=bits)


def test_a_map_behind_private_rows_is_packed_from_outside():
    # Wrapped the other way round: bits over private rows over a map over any compressor.
    torch.manual_seed(0)
    inner = memcom.build("pep", N, E, ratio=RATIO)
    layer = memcom.HeadEmbedding(memcom.MappedEmbedding(inner, ROWS), HEAD)
    frozen = memcom.embeddings.QuantizeLater(layer, 8).freeze()
    values = inner.num_values
    offsets = -(-(N + 1) * values.bit_length() // 8)
    private, blocks = HEAD * (E + 4), values + 4 * -(-values // 64)
    assert frozen.nbytes == private + blocks + -(-values * 4 // 8) + offsets + MAP_NBYTES
    expected = torch.cat([layer.private.detach(), inner.freeze().materialize()[ROWS]])
    assert (frozen.materialize() - expected).abs().max() < 0.04


def test_pep_behind_private_rows_trains_prunes_and_freezes_to_few_bits():
    torch.manual_seed(0)
    plan = memcom.plan("pep", N, E, ratio=8, head=HEAD, bits=8)
    layer = plan.build()
    wanted = torch.randn(N, E)
    tail = layer.embedding.tail
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.03)
    schedule = memcom.embeddings.PEPSchedule(tail, prune_steps=60, every=5, optimizer=optimizer)
    for _ in range(150):
        optimizer.zero_grad()
        (layer(torch.arange(N)) - wanted).square().mean().backward()
        optimizer.step()
        schedule.step(torch.arange(N - HEAD))
    frozen = layer.freeze()
    assert frozen.nbytes == plan.nbytes <= 4 * N * E / 8
    table = frozen.materialize()
    assert int((table[HEAD:] != 0).sum()) <= tail.num_values
    assert (table - layer(torch.arange(N))).abs().max() < 0.05
    assert (table - wanted).square().mean() < 0.8 * wanted.square().mean()
    assert (table[:HEAD] - wanted[:HEAD]).square().mean() < (table - wanted).square().mean() / 2
