"""The tuning stage: equal, reproducible candidates for every row, chosen on validation alone."""

from __future__ import annotations

import csv
import itertools
from dataclasses import replace

import numpy as np
import pytest

from memcom.sweep import Spec, Store, dry_run, run, tables, write_report
from memcom.sweep.spec import spec_of
from memcom.sweep.table_text import about_tuning
from memcom.sweep.trial import Record
from memcom.sweep.tune import Range, Tune, flattened, nested
from memcom.tasks.protocol import Outcome, Size
from tests.sweep.toy import runs, spec

SPACE = {"learning_rate": {"low": 0.01, "high": 1.0}, "work": [0, 1, 2]}
TUNE = {"space": SPACE, "budget": 4, "epochs": 2}


def test_lists_without_a_budget_are_a_grid():
    tune = Tune({"learning_rate": [0.1, 0.2], "std": [1.0, 2.0, 3.0]})
    found = [(each["learning_rate"], each["std"]) for each in tune.candidates()]
    assert found == list(itertools.product([0.1, 0.2], [1.0, 2.0, 3.0]))
    assert Tune(tune.space, budget=6).candidates() == tune.candidates()


@pytest.mark.parametrize("log", [True, False])
@pytest.mark.parametrize("budget", [5, 16])
def test_every_part_of_a_range_is_tried_once(budget, log):
    tune = Tune({"std": {"low": 0.01, "high": 3.0, "log": log}, "hidden": [[], [8]]}, budget)
    values = np.array([each["std"] for each in tune.candidates()])
    scale = np.log if log else np.asarray
    shares = (scale(values) - scale(0.01)) / (scale(3.0) - scale(0.01))
    parts = np.sort(shares) * budget
    assert np.all(parts > np.arange(budget) - 0.1)  # values have three digits
    assert np.all(parts < np.arange(1, budget + 1) + 0.1)
    hidden = [len(each["hidden"]) for each in tune.candidates()]
    assert abs(hidden.count(0) - hidden.count(1)) <= 1


def test_a_setting_that_is_known_to_be_good_is_tried_besides():
    known = {"learning_rate": 0.5, "work": 2}
    tune = Tune(**TUNE, also=[known])
    assert tune.candidates() == [known, *Tune(**TUNE).candidates()]
    assert "and learning_rate 0.5, work 2" in str(tune)
    (found,) = {spec(tune=tune).candidates({"work": 0})[0][0]}
    assert found == 0.5


@pytest.mark.parametrize("also", [[{"work": 1}], [{"learning_rate": 0.1, "work": 1, "std": 2.0}]])
def test_such_a_setting_has_the_options_of_the_space(also):
    with pytest.raises(ValueError, match=r"each of tune also .* (learning_rate|std)"):
        Tune(**TUNE, also=also)


def test_candidates_depend_on_the_seed_and_on_each_options_own_range():
    ranges = {"a": Range(1, 2), "b": Range(1, 2), "c": [1, 2, 3]}
    first = Tune(ranges, 8).candidates()
    turned = Tune(dict(reversed(ranges.items())), 8).candidates()
    assert [each["a"] for each in first] == [each["a"] for each in turned]
    assert [each["a"] for each in first] != [each["b"] for each in first]
    alone = Tune({"a": Range(1, 2)}, 8).candidates()
    assert [each["a"] for each in first] == [each["a"] for each in alone]
    assert Tune(ranges, 8, seed=1).candidates() != first


def test_options_of_groups_have_names_with_a_dot():
    options = {"weights": {"weight_decay": 0.0}, "epochs": 3}
    assert flattened(options) == {"weights.weight_decay": 0.0, "epochs": 3}
    assert nested(flattened(options)) == options
    assert flattened({"std": {"low": 1, "high": 2}}) == {"std": {"low": 1, "high": 2}}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"space": {"std": {"low": 0.1, "high": 1}}}, "range for std, so it needs a budget"),
        ({"space": {"std": {"low": 0, "high": 1}}, "budget": 4}, "low.*> 0, got 0"),
        ({"space": {"std": {"low": 1, "high": 1}}, "budget": 4}, "high.*> 1, got 1"),
        ({"space": {"std": Range(2.0, 1.0)}, "budget": 4}, "high.*> 2, got 1.0"),
        ({"space": {"std": {"low": 1}}, "budget": 4}, "low, high and at most log"),
        ({"space": {"std": {"low": 1, "high": 2, "by": 1}}, "budget": 4}, "at most log"),
        ({"space": {"std": []}}, "at least one value"),
        ({"space": {"std": 3}}, "must be a list.*got 3"),
        ({"space": 3}, "must be a table"),
        ({"budget": 0}, "budget.*from 1 to 1,000, got 0"),
        ({"epochs": 0}, "epochs.*at least 1, got 0"),
        ({"seed": -1}, "seed.*got -1"),
        ({"epochs": 5, "finalists": 0}, "finalists.*from 1 to 1,000, got 0"),
        ({"finalists": 2}, "finalists needs tune epochs"),
        ({"trials": 4}, "no field trials"),
    ],
)
def test_what_makes_no_sense_is_named(fields, message):
    with pytest.raises(ValueError, match=message):
        Spec(tune=fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tune": {"space": {"stdd": [1.0]}}}, "no option 'stdd'"),
        ({"tune": {"space": {"weights": [1.0]}}}, "no option 'weights'"),
        ({"tune": {"space": {"std.rows": [1.0]}}}, "no option 'std.rows'"),
        ({"tune": {"space": {"weights": {"lr": [1.0]}}}}, "weights.*got 'lr'"),
        ({"tune": {"space": {"std": [0.0]}}}, "std must be > 0"),
        ({"tune": {"space": {"std": [1.0]}}, "vary": {"std": [1.0]}}, "std is tuned"),
        (
            {"tune": {"space": {"weights": {"weight_decay": [1.0]}}}}
            | {"options": {"weights": {"weight_decay": 0.0}}},
            "weights.weight_decay is tuned, so it cannot be in options",
        ),
        ({"tune": {"epochs": 5}, "vary": {"epochs": [5, 9]}}, "epochs is tuned"),
        (
            {"tune": {"space": {"learning_rate": [1.0]}}, "learning_rates": [0.1]},
            "learning_rates or a tune space",
        ),
    ],
)
def test_options_that_a_task_cannot_tune_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        Spec(**fields)


def test_whole_numbers_stay_whole():
    tune = {"space": {"batch_size": {"low": 10, "high": 1000}}, "budget": 5}
    found = Spec(tune=tune)
    sizes = [options["batch_size"] for _, options in found.candidates(found.variants()[0])]
    assert len(sizes) == 5
    assert all(type(size) is int and 10 <= size <= 1000 for size in sizes)


def test_every_row_has_the_same_candidates_and_only_they_differ():
    found = Spec(tune={"space": {"weights": {"weight_decay": [0.0, 0.3]}}}, references=())
    (options,) = found.variants()
    popular, *grids = found.grids(options)
    assert [trial.learning_rate for trial in popular] == [None]
    for grid in grids:
        chosen = [(t.learning_rate, t.options["weights"]["weight_decay"]) for t in grid]
        assert chosen == list(itertools.product([3e-3, 1e-2, 3e-2], [0.0, 0.3]))
        assert {t.options["weight_decay"] for t in grid} == {0.3}


def test_options_that_came_later_are_left_out_where_nothing_names_them():
    plain, named = Spec(), Spec(options={"std": 1.0, "weights": {}})
    assert plain.variants() == named.variants()
    assert not {"std", "weights"} & plain.variants()[0].keys()
    changed = Spec(options={"weights.weight_decay": 0, "std": 0.1}).variants()[0]
    assert (changed["weights"], changed["std"]) == ({"weight_decay": 0.0}, 0.1)
    assert [each["std"] for each in Spec(vary={"std": [0.1, 1.0]}).variants()] == [0.1, 1.0]


def test_an_option_of_the_command_line_is_not_tuned(tmp_path):
    file = tmp_path / "spec.toml"
    file.write_text(
        "[tune]\nbudget = 2\n[tune.space]\nweights.weight_decay = [0.0, 1.0]\nstd = [1.0, 2.0]\n"
    )
    found = spec_of(file, set_options=["weights.weight_decay=0.5"])
    assert set(found.tune.space) == {"std"}
    assert found.options == {"weights": {"weight_decay": 0.5}}
    assert len(spec_of(file).candidates(found.variants()[0])) == 2
    file.write_text("[tune.space]\nlearning_rate = [0.1]\n")
    assert spec_of(file, learning_rates=[0.2]).stage.space == {"learning_rate": (0.2,)}
    assert spec_of(None, tune=Tune({"std": [2.0]})).tune.space == {"std": (2.0,)}


@pytest.mark.parametrize("text", ["tune = 3", "options = 3", "vary = [1]", "[tune]\nspace = 3"])
def test_a_file_with_a_value_for_a_table_is_refused_in_a_sentence(tmp_path, text):
    file = tmp_path / "spec.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match="must be a table of names and values"):
        spec_of(file)


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuned")
    return run(spec(tune=TUNE, seeds=2), folder, data=data, progress=False), folder


def test_each_row_has_its_budget_and_the_best_is_trained_anew(finished):
    (table,), folder = finished
    records = {record.trial: record for record in Store(folder).records()}
    assert len(records) == 1 + (1 + 2 * 5) * (4 + 2)
    for cell, found in zip(table.cells, table.progress(Store(folder)), strict=True):
        if cell.first.learning_rate is None:
            continue
        assert {trial.options["epochs"] for trial in cell.grid} == {2}
        best = max(cell.grid, key=lambda trial: records[trial].outcome.valid)
        assert [trial.seed for trial in found.finals] == [0, 1]
        for final in found.finals:
            assert final.learning_rate == best.learning_rate
            assert final.options == best.options | {"epochs": 3}
            assert final in records


def test_a_finished_stage_is_not_run_again(finished, data, tmp_path, monkeypatch):
    monkeypatch.setenv("TOY_LOG", str(tmp_path / "log"))
    (tmp_path / "log").touch()
    run(spec(tune=TUNE, seeds=3), finished[1], data=data, progress=False)
    assert runs(tmp_path / "log").total() == 11  # a seed more of every row that learns


def test_reports_tell_what_was_chosen_from_what(finished):
    found, folder = finished
    report = write_report(found, folder)
    text = report.files["report"].read_text()
    assert "chosen on validation, for every row from 4 trials of at most 2 epochs" in text
    assert "learning_rate 0.01 to 1 by logarithm; work 0, 1, 2; drawn with seed 0" in text
    with open(report.files["summary"]) as file:
        rows = list(csv.DictReader(file))
    with open(report.files["trials"]) as file:
        trials = list(csv.DictReader(file))
    tried = {float(t["learning_rate"]) for t in trials if t["learning_rate"]}
    assert rows[0]["work"] == rows[0]["learning_rate_end"] == ""  # popular learns nothing
    for row in rows[1:]:
        ends = {min(tried): "lowest", max(tried): "highest"}
        assert row["learning_rate_end"] == ends.get(float(row["learning_rate"]), "")
        assert row["work_end"] == {"0": "lowest", "2": "highest"}.get(row["work"], "")
    epochs = [(t["method"], t["epochs"]) for t in trials if t["method"] == "full"]
    assert sorted(epochs) == [("full", "2")] * 4 + [("full", "3")] * len(epochs[4:])


def test_the_best_of_short_trials_are_trained_to_the_end_before_one_is_chosen(data, tmp_path):
    tune = TUNE | {"finalists": 2}
    (table,) = run(spec(tune=tune, seeds=2), tmp_path, data=data, progress=False)
    records = {record.trial: record for record in Store(tmp_path).records()}
    assert len(records) == sum(cell.num_trials for cell in table.cells) == 1 + 11 * (4 + 2 + 1)
    assert ", the best 2 then trained to the end" in about_tuning(table)

    def valid(trial):
        return records[trial].outcome.valid

    for cell, found in zip(table.cells, table.progress(Store(tmp_path)), strict=True):
        if cell.first.learning_rate is None:
            continue
        short = sorted(cell.grid, key=valid)[-2:]
        long = [replace(each, options={**each.options, "epochs": 3}) for each in short]
        assert found.finals[0] == found.chosen.trial == max(long, key=valid)
        assert [trial.seed for trial in found.finals] == [0, 1]
        assert {*cell.grid, *long, *found.finals} == {*found.records}


def test_finalists_that_fail_leave_the_choice_to_the_others(data, tmp_path):
    (table,) = tables(spec(tune=TUNE | {"finalists": 2}), data)
    cell, store = table.cells[1], Store(tmp_path)
    assert len(cell.progress(store).pending) == 4
    for trial in cell.grid:
        store.put(Record(trial, outcome(valid=trial.learning_rate)))
    first, second = cell.progress(store).pending
    assert first.learning_rate > second.learning_rate
    store.put(Record(first, None, "diverged"))
    store.put(Record(second, outcome(valid=0.0)))
    found = cell.progress(store)
    assert found.chosen.trial == second == found.finals[0]
    store.put(Record(second, None, "diverged"))
    found = cell.progress(store)
    assert found.chosen is None
    assert not found.pending


def outcome(valid):
    return Outcome({"score": 0.0}, valid, Size(8, 16), 0)


def test_a_dry_run_tells_tuning_from_final_trials(data, tmp_path):
    found = list(tables(spec(tune=TUNE, ratios=(2,)), data))
    text = dry_run(found, tmp_path, probe=False)
    (full,) = [line.split() for line in text.splitlines() if line.startswith("  full")]
    assert full[3:5] == ["4", "3"]
    assert text.splitlines()[-1].startswith(f"{1 + 6 * 7} trials, {6 * 4} of them for tuning")
