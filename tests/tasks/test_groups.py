"""Groups of parameters: what belongs to which, and what AdamW does to each."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import memcom
from memcom.embeddings import available, get, parse_spec
from memcom.tasks import HistoryRanker, ItemBias, TrainingOptions, fit
from memcom.tasks._groups import GROUPS, grouped, optimizer_groups
from tests.tasks.data import planted

COMMON = {"learning_rate": 0.01, "weight_decay": 0.3}
NONE: dict[str, dict[str, float]] = {group: {} for group in GROUPS}


def ranker(method: str, **options: Any) -> HistoryRanker:
    name, own = parse_spec(method)
    budget = {} if name == "full" else {"ratio": 2}
    torch.manual_seed(0)
    return HistoryRanker(memcom.build(name, 60, 16, **budget, **own), **options)


def names(model: torch.nn.Module) -> dict[str, set[str]]:
    of = {parameter: name for name, parameter in model.named_parameters()}
    return {group: {of[p] for p in found} for group, found in grouped(model).items()}


@pytest.mark.parametrize(
    ("method", "rows", "weights"),
    [
        ("full", {"weight"}, set()),
        ("memcom", {"table"}, {"multiplier"}),
        ("memcom-bias", {"table"}, {"multiplier", "bias"}),
        ("scalar-qr", {"table"}, {"multiplier"}),
        ("k-memcom", {"table"}, {"multiplier"}),
        ("hash-embedding", {"table"}, {"weights"}),
        ("qr", {"remainder", "quotient"}, set()),
        ("pep", {"table"}, {"threshold"}),
        ("memcom(head=5)", {"private", "tail.table"}, {"tail.multiplier"}),
        ("memcom(bits=8)", {"embedding.table"}, {"embedding.multiplier"}),
    ],
)
def test_rows_weights_and_the_rest(method: str, rows: set[str], weights: set[str]) -> None:
    model = ranker(method, hidden=(4,), batch_norm=True)
    found = names(model)
    inside = {f"embedding.{name}" for name in (*rows, *weights)}
    assert inside == {n for n, _ in model.named_parameters() if n.startswith("embedding.")}
    assert found["rows"] == {f"embedding.{name}" for name in rows}
    assert found["weights"] == {f"embedding.{name}" for name in weights}
    assert found["dense"] == {n for n, _ in model.named_parameters()} - inside


def test_a_torch_embedding_is_rows_and_what_is_fixed_is_in_no_group() -> None:
    model = HistoryRanker(torch.nn.Embedding(60, 8))
    assert names(model)["rows"] == {"embedding.weight"}
    model.embedding.weight.requires_grad_(False)
    assert names(model)["rows"] == set()


@pytest.mark.parametrize("name", available())
def test_what_a_class_declares_is_there(name: str) -> None:
    cls = get(name)
    if declared := {*cls.own_weights, *cls.undecayed}:
        layer = memcom.build(name, 300, 16, ratio=2)
        assert {n for n in declared if getattr(layer, n) is not None} <= {
            n for n, _ in layer.named_parameters()
        }


def test_biases_batch_norm_and_thresholds_have_no_decay() -> None:
    model = ranker("pep", hidden=(4,), batch_norm=True)
    of = {parameter: name for name, parameter in model.named_parameters()}
    decay = {
        of[p]: group["weight_decay"]
        for group in optimizer_groups(model, COMMON, NONE)
        for p in group["params"]
    }
    assert decay == {
        name: 0.3 if name in ("embedding.table", "output.weight", "tail.0.weight") else 0.0
        for name in of.values()
    }


def test_batch_norm_inside_an_embedding_has_no_decay() -> None:
    model = ranker("dhe(batch_norm=True)")
    norms = {p for name, p in model.named_parameters() if ".norms." in name}
    assert len(norms) == 4
    for group in optimizer_groups(model, COMMON, NONE):
        for each in group["params"]:
            assert (group["weight_decay"] == 0) == (each in norms or each is model.output_bias)


def test_each_group_shrinks_by_its_own_decay() -> None:
    model, steps = ranker("memcom-bias"), 4
    torch.nn.init.normal_(model.embedding.bias)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    options = TrainingOptions(
        learning_rate=1e-9,  # Adam's part of a step is of this size
        weight_decay=1e7,
        epochs=1,
        batch_size=-(-len(set(planted().user.tolist())) // steps),
        rows={"weight_decay": 2e7},
        weights={"weight_decay": 0.0},
    )
    fit(model, planted(), options)
    factor = {"embedding.table": 0.98**steps, "output.weight": 0.99**steps}
    for name, now in model.named_parameters():
        expected = before[name] * factor.get(name, 1.0)
        torch.testing.assert_close(now.detach(), expected, atol=1e-6, rtol=1e-6)


def test_each_group_moves_at_its_own_rate() -> None:
    model = ranker("memcom")
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    rates = {"rows": 1e-3, "weights": 5e-2, "dense": 1e-4}
    own = {group: {"learning_rate": rate} for group, rate in rates.items()}
    fit(model, planted(), epochs=1, batch_size=1000, weight_decay=0.0, **own)
    # Adam's first step is the rate, up or down, wherever there is a gradient that is not tiny.
    for name, group in (
        ("embedding.table", "rows"),
        ("embedding.multiplier", "weights"),
        ("output.weight", "dense"),
        ("output_bias", "dense"),
    ):
        moved = (model.get_parameter(name).detach() - before[name]).abs().max()
        assert float(moved) == pytest.approx(rates[group], rel=1e-2), name


def test_groups_without_values_of_their_own_change_nothing() -> None:
    states = []
    for own in ({}, {group: COMMON for group in GROUPS}):
        model = ranker("memcom-bias")
        fit(model, planted(), epochs=3, **COMMON, **own)
        states.append(model.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"rows": {"learning_rate": 0.0}}, r"rows learning_rate must be > 0 and finite, got 0.0"),
        ({"weights": {"weight_decay": -1.0}}, r"weights weight_decay must be >= 0.*-1.0"),
        ({"dense": {"weight_decay": float("inf")}}, r"dense weight_decay must be >= 0.*inf"),
        ({"dense": {"lr": 0.1}}, r"dense.*'learning_rate', 'weight_decay', got 'lr'"),
    ],
)
def test_bad_values_of_groups_are_named(own: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit(ItemBias(60), planted(), **own)
    with pytest.raises(TypeError, match="rows must be a mapping, got 3"):
        TrainingOptions(rows=3)  # type: ignore[arg-type]
