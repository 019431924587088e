"""Training with rounded tables: what is trained is what is shipped."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import memcom
from memcom import embeddings
from memcom.embeddings import QuantizedTable, RoundingSchedule, attach
from memcom.embeddings.quantized_table import first_steps, pack_table
from memcom.tasks._fit import Learner

N, E = 120, 16
IDS = torch.arange(N)
PRUNED = ("pep", "amtl", "fiited", "scall")
PACKED = ("int8", "int4")
TRAINED = [name for name in memcom.available() if name not in (*PRUNED, *PACKED)]


def layer(name: str = "qr", **options):
    torch.manual_seed(0)
    options = {"bits": 4, "rounding": 0.5, "ratio": 4, **options}
    return memcom.build(name, N, E, **options)


def trained(emb, steps: int, optimizer=None, schedules=None, wanted_seed: int = 1):
    """Train for some steps of ten; return the optimizer and the schedules to go on with."""
    wanted = torch.randn(N, E, generator=torch.Generator().manual_seed(wanted_seed))
    optimizer = optimizer or torch.optim.Adam(emb.parameters(), 0.05)
    schedules = schedules or attach(emb, 10, optimizer=optimizer)
    for _ in range(steps):
        optimizer.zero_grad()
        (emb(IDS) - wanted).square().mean().backward()
        optimizer.step()
        schedules.step()
    return optimizer, schedules


def test_gradients_of_rounded_rows_move_unrounded_ones():
    # By hand, for a full table and plain gradient descent on the squared distance.
    emb, rate = layer("full", bits=4), 0.3
    wanted = torch.randn(N, E, generator=torch.Generator().manual_seed(1))
    master = emb.embedding.table.detach().clone()
    read = master
    optimizer = torch.optim.SGD(emb.parameters(), rate)
    schedules = attach(emb, 6, optimizer=optimizer)
    for step in range(1, 7):
        optimizer.zero_grad()
        (emb(IDS) - wanted).square().sum().div(2).backward()
        optimizer.step()
        schedules.step()
        master = master - rate * (read - wanted)
        read = QuantizedTable(master, 4)(IDS) if step >= 3 else master
        assert schedules.within_budget == (step >= 3)
        torch.testing.assert_close(emb.materialize(), read, rtol=0, atol=1e-6)
    torch.testing.assert_close(emb.master_0, master)
    assert not torch.allclose(emb.materialize(), master, atol=0.01)


@pytest.mark.parametrize("bits", [4, 8, 16])
@pytest.mark.parametrize("name", TRAINED)
def test_what_is_frozen_is_what_training_reads(name, bits):
    emb = layer(name, bits=bits, weight_bits=8, ratio=1.9)
    assert type(embeddings.schedule_for(emb, 10)) is RoundingSchedule
    _, schedules = trained(emb, 10)
    assert schedules.within_budget
    frozen = emb.freeze()
    assert any(isinstance(m, QuantizedTable) for m in frozen.modules())
    assert torch.equal(frozen.eval()(IDS), emb.eval()(IDS))
    assert frozen.nbytes == emb.frozen_nbytes <= 4 * N * E / 1.9


@pytest.mark.parametrize("name", ["qr", "memcom", "pq"])
def test_behind_private_rows_and_with_ranges_that_are_searched_for(name):
    emb = layer(name, head=10, clip="greedy")
    trained(emb, 10)
    assert torch.equal(emb.freeze()(IDS), emb(IDS))


@pytest.mark.parametrize("name", PRUNED)
def test_layers_that_store_what_they_do_not_train_are_refused(name):
    with pytest.raises(ValueError, match=r"rounding must be 0 for \w+, whose .* scale, got 0.5"):
        layer(name)
    assert layer(name, rounding=0.0).rounding == 0


@pytest.mark.parametrize("name", ["qr", "memcom", "full"])
def test_training_goes_on_after_rounding_as_if_it_had_not_stopped(name):
    whole = layer(name, weight_bits=8)
    trained(whole, 9)
    first = layer(name, weight_bits=8)
    optimizer, _ = trained(first, 7)
    again = layer(name, weight_bits=8)
    again.load_state_dict(first.state_dict())
    optimizer_again = torch.optim.Adam(again.parameters(), 0.05)
    optimizer_again.load_state_dict(optimizer.state_dict())
    schedules = attach(again, 10, optimizer=optimizer_again)
    assert schedules.within_budget
    trained(again, 2, optimizer_again, schedules)
    assert torch.equal(again.materialize(), whole.materialize())
    assert torch.equal(again.freeze().materialize(), whole.freeze().materialize())


def test_codes_come_first_and_then_rounding():
    for rounding, steps in ((0.5, (8, 10)), (0.1, (9, 10))):
        emb = layer("pq", bits=8, rounding=rounding)
        optimizer, schedules = trained(emb, steps[0] - 1)
        assert set(schedules.schedules) == {"", "embedding"}
        assert not schedules.within_budget
        trained(emb, 1, optimizer, schedules)
        assert schedules.within_budget
        trained(emb, steps[1] - steps[0], optimizer, schedules)
        assert torch.equal(emb.freeze()(IDS), emb(IDS))


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.AdamW(p, 0.05, weight_decay=0.1),
        lambda p: torch.optim.SGD(p, 20.0, momentum=0.9),
        lambda p: memcom.optim.LazyAdam(p, 0.05),
    ],
)
def test_any_optimizer_learns_with_rounded_rows(make):
    emb = layer("full", rounding=1.0)
    before = emb.materialize()
    optimizer = make(emb.parameters())
    _, schedules = trained(emb, 1, optimizer)
    trained(emb, 30, optimizer, schedules)
    wanted = torch.randn(N, E, generator=torch.Generator().manual_seed(1))
    after = emb.freeze().materialize()
    assert (after - wanted).square().mean() < 0.6 * (before - wanted).square().mean()


def test_sparse_steps_of_a_fused_optimizer_are_taken_up():
    wanted = torch.randn(N, E, generator=torch.Generator().manual_seed(1))
    tables = []
    for fused in (False, True):
        emb = layer("qr", sparse=True, rounding=1.0)
        optimizer = memcom.optim.SGD(emb.parameters(), 0.1)
        if fused:
            optimizer.fuse(emb)
        schedules = attach(emb, 5, optimizer=optimizer)
        for _ in range(5):
            optimizer.zero_grad()
            (emb(IDS[:50]) - wanted[:50]).square().mean().backward()
            optimizer.step()
            schedules.step()
        tables.append(emb.freeze().materialize())
    torch.testing.assert_close(tables[0], tables[1])


class Model(nn.Module):
    def __init__(self, emb) -> None:
        super().__init__()
        self.embedding = emb

    @property
    def device(self):
        return self.embedding.device

    def loss(self, ids):
        wanted = torch.randn(N, E, generator=torch.Generator().manual_seed(1))
        return (self.embedding(ids) - wanted[ids]).square().mean()


def test_the_epoch_is_chosen_on_rounded_rows():
    emb = layer("full", bits=4)
    model, seen = Model(emb), []
    optimizer = torch.optim.Adam(model.parameters(), 0.05)

    def score() -> float:
        is_shipped = torch.equal(emb.freeze()(IDS), emb(IDS))
        seen.append((is_shipped, -model.loss(IDS).item()))
        return seen[-1][1]

    learner = Learner(
        model,
        model.loss,
        optimizer,
        batch_size=30,
        generator=torch.Generator().manual_seed(0),
        num_steps=40,
    )
    record = learner.fit(IDS, score, epochs=10, patience=10)
    learner.close()
    assert [is_shipped for is_shipped, _ in seen] == [False] * 4 + [True] * 6
    assert record.best_epoch >= 5
    assert record.valid == max(value for _, value in seen[4:])
    assert -model.loss(IDS).item() == record.valid
    assert torch.equal(emb.freeze()(IDS), emb(IDS))


def test_an_averaged_model_keeps_its_buffers_in_order():
    model = Model(layer("cce", bits=8))
    averaged = torch.optim.swa_utils.AveragedModel(model)
    trained(model.embedding, 10)
    averaged.update_parameters(model)
    emb = averaged.module.embedding
    assert torch.equal(emb.embedding.map, model.embedding.embedding.map)
    step = max(float(m.scale.max()) for m in emb.freeze().modules() if hasattr(m, "scale"))
    assert (emb.freeze()(IDS) - emb(IDS)).abs().max() <= 2 * step


def test_without_rounding_the_state_is_that_of_the_compressor():
    plain, rounding = layer(rounding=0.0), layer()
    assert {n.partition(".")[0] for n in plain.state_dict()} == {"embedding"}
    more = sum(p.nbytes for p in plain.parameters()) + 1
    assert rounding.nbytes == plain.nbytes + more
    assert rounding.frozen_nbytes == plain.frozen_nbytes
    assert embeddings.schedule_for(plain, 10) is None
    with pytest.raises(ValueError, match="rounding > 0"):
        plain.round_tables()


def test_reset_and_meta():
    emb = layer("memcom", weight_bits=8)
    trained(emb, 10)
    emb.reset_parameters()
    assert not emb.is_rounded
    assert not torch.equal(emb.freeze()(IDS), emb(IDS))
    meta = memcom.build("memcom", N, E, ratio=4, bits=4, rounding=0.5, device="meta")
    assert meta.frozen_nbytes <= N * E
    loaded = layer("memcom").resize_num_embeddings(N + 5)
    assert loaded.rounding == 0.5


@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan")])
def test_a_senseless_share_is_refused(value):
    with pytest.raises(ValueError, match="rounding must be >= 0 and <= 1"):
        layer(rounding=value)


def test_rounding_needs_bits_and_is_written_in_a_specification():
    with pytest.raises(ValueError, match=r"rounding=0.25 needs bits"):
        memcom.build("qr", N, E, ratio=4, rounding=0.25)
    name, options = memcom.parse_spec("qr(bits=4,rounding=0.25)")
    assert memcom.build(name, N, E, ratio=4, **options).rounding == 0.25
    schedule = layer(rounding=0.25).schedule(100)
    assert schedule.prune_steps == 75


def test_rows_that_a_step_takes_beyond_fp16_are_named():
    emb = layer("full", bits=8, ratio=3)
    with torch.no_grad():
        emb.embedding.table[3, 2] = 1e9
    with pytest.raises(ValueError, match="row 3 cannot be quantised"):
        emb.round_tables()


def straight_through(rounded: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    return value + (rounded - value).detach()


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("width", [16, 4])
def test_steps_are_learned_as_in_the_paper(bits, width):
    # The paper's code by autograd: round and fp16 pass the gradient on, and that of s is scaled.
    n, rate = 40, 0.03 / 2 ** (bits - 1)  # at higher ones a step would fall by more than half
    emb = memcom.build("full", n, width, bits=bits, rounding=1.0, clip="learned")
    wanted = torch.randn(n, width, generator=torch.Generator().manual_seed(1))
    optimizer = torch.optim.SGD(emb.parameters(), rate)
    emb.round_tables()
    share = 16 if width == 16 else 64  # numbers of a row, or of a block
    most, padding = 2 ** (bits - 1) - 1, -n * width % share
    values = emb.master_0.detach().clone().requires_grad_()
    steps = emb.step_0.detach().clone().requires_grad_()

    def rounded() -> torch.Tensor:
        groups = nn.functional.pad(values.flatten(), (0, padding)).view(-1, share)
        scale = (share * most) ** -0.5
        s = straight_through(steps, steps * scale)
        s = straight_through(s.half().float(), s)
        ratio = (groups / s).clamp(-most - 1, most)
        return (straight_through(ratio.round(), ratio) * s).flatten()[: n * width].view(n, width)

    before = steps.detach().clone()
    for _ in range(8):
        optimizer.zero_grad()
        (emb(torch.arange(n)) - wanted).square().sum().div(2).backward()
        optimizer.step()
        emb.round_tables()
        loss = (rounded() - wanted).square().sum() / 2
        gradients = torch.autograd.grad(loss, [values, steps])
        with torch.no_grad():
            for tensor, gradient in zip((values, steps), gradients, strict=True):
                tensor -= rate * gradient
        torch.testing.assert_close(emb.step_0, steps.detach(), rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(emb.master_0, values.detach(), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(emb.materialize(), rounded().detach(), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(steps, before, rtol=0.01)


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_first_steps_are_nearly_the_best_there_are(bits):
    table = torch.randn(20, E, generator=torch.Generator().manual_seed(0)).double()
    most = 2 ** (bits - 1) - 1

    def error(steps: torch.Tensor) -> torch.Tensor:
        stored = steps.half().double()
        found = (table / stored).round().clamp(-most - 1, most) * stored
        return (found - table).square().sum(1, keepdim=True)

    tried = [error(torch.full((20, 1), 4 / 1.003**k)) for k in range(2000)]
    least = torch.stack(tried).amin(0)
    assert error(first_steps(table, bits)).sum() < 1.1 * least.sum()


@pytest.mark.parametrize("name", TRAINED)
def test_what_is_frozen_is_what_training_with_learned_steps_reads(name):
    emb = layer(name, bits=2, weight_bits=8, ratio=1.9, clip="learned")
    assert emb.freeze().nbytes == emb.frozen_nbytes  # with the first steps
    trained(emb, 10)
    frozen = emb.freeze()
    assert torch.equal(frozen.eval()(IDS), emb.eval()(IDS))
    assert frozen.nbytes == emb.frozen_nbytes <= 4 * N * E / 1.9


def test_learned_steps_lose_less_than_ranges_of_rows_in_two_bits():
    generator = torch.Generator().manual_seed(1)
    read_out = torch.randn(E, 6, generator=generator) / E**0.5
    wanted, losses = torch.randn(N, 6, generator=generator), {}
    for clip in ("minmax", "greedy", "learned"):
        emb = layer("full", bits=2, clip=clip)
        optimizer = torch.optim.SGD(emb.parameters(), 0.3)
        schedules = attach(emb, 200, optimizer=optimizer)
        for _ in range(200):
            optimizer.zero_grad()
            (emb(IDS) @ read_out - wanted).square().sum().div(2).backward()
            optimizer.step()
            schedules.step()
        losses[clip] = float((emb.freeze()(IDS) @ read_out - wanted).square().mean())
    assert losses["learned"] < 0.8 * min(losses["minmax"], losses["greedy"]), losses


def test_steps_begin_anew_where_a_schedule_replaces_numbers():
    emb = layer("pq", bits=4, clip="learned", rounding=0.5)
    optimizer, schedules = trained(emb, 7)  # codewords are zeros so far
    assert emb.step_0.eq(0).all()
    emb.embedding.table.data.normal_(generator=torch.Generator().manual_seed(0))
    trained(emb, 1, optimizer, schedules)
    assert emb.embedding._reads_codes
    spread = emb.master_0.std()
    assert (emb.embedding.codebook.values - emb.master_0).std() < 0.1 * spread
    assert spread > 0.3


def test_learned_steps_are_saved_with_the_layer():
    whole = layer("qr", weight_bits=8, clip="learned")
    trained(whole, 8)
    again = layer("qr", weight_bits=8, clip="learned")
    again.load_state_dict(whole.state_dict())
    assert torch.equal(again.rounded_0, whole.rounded_0)
    with torch.no_grad():  # one more step of an optimizer, which freezing takes up
        for emb in (whole, again):
            for p in emb.parameters():
                p.mul_(1.01)
    assert torch.equal(again.freeze().materialize(), whole.freeze().materialize())


def test_learned_steps_need_training():
    with pytest.raises(ValueError, match="clip must be minmax or greedy without rounding, got le"):
        layer("qr", clip="learned", rounding=0.0)
    for call in (
        lambda: memcom.quantize(layer("qr").embedding, 4, clip="learned"),
        lambda: memcom.build("int8", N, E, clip="learned"),
        lambda: QuantizedTable(torch.ones(3, E), 4, clip="learned"),
    ):
        with pytest.raises(ValueError, match="clip must be"):
            call()
    with pytest.raises(ValueError, match=r"steps must have shape \(3, 1\), got \(2, 1\)"):
        QuantizedTable(torch.ones(3, E), 4, steps=torch.ones(2, 1))
    halves = layer("full", bits=16, clip="learned", ratio=1.5)
    trained(halves, 10)
    assert not [name for name in halves.state_dict() if name.startswith("step")]
    assert torch.equal(halves.freeze()(IDS), halves(IDS))


def test_weights_in_blocks_are_rounded_too():
    emb = layer("memcom", bits=8, weight_bits=4)
    trained(emb, 10)
    weights = emb.embedding.multiplier.detach()
    expected = pack_table(emb.master_1, 4)(IDS)
    assert emb.master_1.shape == weights.shape
    assert torch.equal(weights, expected)
