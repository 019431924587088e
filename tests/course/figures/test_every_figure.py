"""Every figure: pure, the same whatever the reader has set, all of its text inside."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("matplotlib")

import memcom
from memcom import collisions
from memcom.course import figures
from tests.course.figures.pictures import COUNTS, memcom_layer
from tests.course.figures.test_encoder import ARGS as TEXTS
from tests.course.figures.test_encoder import POINTS as TABLES
from tests.course.figures.test_verdicts import ARGS, CURVES, MODELS
from tests.plots import looks

NAMES = [f"film {i}" for i in range(300)]
METERS = [
    {"label": "full", "formula": 4e6, "seen": 4.4e6},
    {"label": "memcom", "formula": 2e5, "seen": 3e5},
]
POINTS = [{"method": m, "bytes": 1e8, "seconds": s} for m, s in (("full", 1e-2), ("memcom", 3e-3))]
FIGURES = {
    "long_tail": lambda: figures.long_tail(COUNTS),
    "multiplier": lambda: figures.multiplier_by_popularity(
        memcom_layer(), np.arange(400, 0, -1), before=np.ones(400)
    ),
    "occupancy": lambda: figures.bucket_occupancy(
        collisions.report(memcom.build("qr", 300, 8, ratio=4))
    ),
    "expected": lambda: figures.expected_against_observed(
        100, [50, 1000], {"hash": [90, 4], "qr": [0, 0]}
    ),
    "rounding": lambda: figures.rounding_collisions(np.linspace(0, 1, 300), np.arange(300) % 7),
    "who_shares": lambda: figures.who_shares(memcom_layer(), [1, 21, 5]),
    "effective": lambda: figures.effective_table(memcom_layer()),
    "gallery": lambda: figures.effective_tables({"memcom": memcom_layer(40, 9)}),
    "budget": lambda: figures.memcom_budget(9066, 64, 16, True),
    "calculator": lambda: figures.budget_calculator(10_000, 16, "100 KB", "adam"),
    "family": lambda: figures.family_member("memcom", 96, 16, 4),
    "hashing": lambda: figures.hashing_explorer(64, "random hash", 1.0),
    "microscope": lambda: figures.microscope(
        np.arange(300, 0, -1), NAMES, method="hash", vocabulary=300, ratio=4, rank=2
    ),
    "qr": lambda: figures.qr_grid(20, 5),
    "strips": lambda: figures.code_strips(900, 3),
    "steps": lambda: figures.code_steps(900),
    "width rule": lambda: figures.width_rule(900, 16, 4, 0.5),
    "widths": lambda: figures.widths_by_popularity({"pep": COUNTS // 10}, COUNTS),
    "memory": lambda: figures.memory_side_by_side(METERS),
    "roofline": lambda: figures.roofline(POINTS, {"memory": 1e10}),
    "traffic": lambda: figures.lookup_bytes("memcom", 5_000, 16, 64, 1.0, 1),
    "fields": lambda: figures.field_bytes({"a": 3, "b": 4_000}, 16, "hash", 8.0, 200),
    "gains": lambda: figures.gains_by_task(
        {"rank": {"popular": [0.2], "full": [0.3], "hash": [0.25]}}, {"rank": "popular"}
    ),
    "two scores": lambda: figures.two_scores(*ARGS),
    "curves": lambda: figures.learning_curves(CURVES, "score"),
    "retrieval": lambda: figures.error_and_retrieval(TABLES, 0.82, 0.03),
    "files": lambda: figures.files_of_models({"full": (4_000_000, 10**6), "int8": (10**6, 10**6)}),
    "nearest": lambda: figures.nearest_texts(*TEXTS, query="title 1", table="hash, 16x"),
    "models": lambda: figures.models_by_bytes(MODELS, "memcom", "nbytes", 4_000),
}
every = pytest.mark.parametrize("name", FIGURES)


@every
def test_it_is_pure(name):
    looks.check_purity(FIGURES[name])


@every
def test_it_looks_the_same_whatever_the_reader_has_set(name):
    looks.check_independence(FIGURES[name])


@every
def test_no_text_sticks_out_of_it(name):
    looks.check_room(FIGURES[name])
