"""Caveats above a table: too little signal, too few epochs, too narrow a grid."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from memcom.sweep import Row, Spec, Store, run, summarise, tables
from memcom.sweep.caveats import about_ends, about_epochs, about_signal
from memcom.sweep.rows import Choice
from tests.tasks.data import planted

OPTIONS = {"epochs": 16, "embedding_dim": 8, "batch_size": 50, "weight_decay": 0.0}


def row(method, **fields):
    known = {"seeds": 3, "learning_rate": 0.01}
    return Row(method, 4.0, None, "finished", **known | fields)


def test_a_task_without_signal_is_called_that(tmp_path):
    data = planted()
    noise = np.random.default_rng(0).permutation(data.item)
    _, keep = np.unique(np.stack([data.user, noise]), axis=1, return_index=True)
    hopeless = replace(
        data,
        user=data.user[keep],
        item=noise[keep],
        split=data.split[keep],
        item_counts=-np.sort(-np.bincount(noise[keep][data.split[keep] == 0], minlength=60)),
    )
    alone = Spec(methods=(), ratios=(), seeds=1, learning_rates=(3e-2, 1e-1), options=OPTIONS)
    said = []
    for number, each in enumerate((data, hopeless)):
        (table,) = run(alone, tmp_path / str(number), data=each, progress=False)
        said.append(about_signal(table, summarise(table, Store(tmp_path / str(number)))))
    assert said[0].startswith("The full table is clearly above the controls")
    assert said[1].startswith("WARNING: the full table is not clearly above the controls")


def test_rows_that_were_still_getting_better_are_counted():
    rows = [
        row("full", last_epoch=1),
        row("hash", last_epoch=2),
        row("qr", last_epoch=3),
        row("popular", seeds=1, learning_rate=math.nan, last_epoch=1),
        Row("low-rank", 4.0, None, "failed: RuntimeError: out of luck"),
    ]
    assert about_epochs(rows).startswith("2 of 3 rows were")
    assert about_epochs([row("full", last_epoch=3), *rows]).startswith("3 of 4 rows with the full")
    assert about_epochs([row("full"), row("hash", last_epoch=1)]) == ""


@pytest.mark.parametrize("name", ["learning_rate", "weights.weight_decay"])
def test_values_at_an_end_of_those_tried_are_counted(name):
    ends = ["lowest", "lowest", "highest", "", "only"]
    rows = [row("hash", tuned={name: Choice(0.1, end)}) for end in ends]
    rows.append(row("popular", seeds=1, learning_rate=math.nan, tuned={name: Choice(None)}))
    option = name.replace("_", " ")
    for words in ("Of 5 rows", f"1 had one {option}", f"2 chose the lowest {option}", "1 chose"):
        assert words in about_ends(name, rows)
    assert f"{name}_end in summary.csv" in about_ends(name, rows)
    assert about_ends(name, [row("hash", tuned={name: Choice(0.1)})]) == ""


def test_a_table_without_controls_says_so(data):
    (table,) = tables(Spec(methods=(), ratios=(), controls=()), data)
    assert "without a control" in about_signal(table, [row("full")])
