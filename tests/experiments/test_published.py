"""The papers' figures, as the abstracts have them."""

from __future__ import annotations

import memcom
from experiments.claims import PUBLISHED, published_points


def test_figures_of_memcoms_abstract():
    ranking = [p for p in PUBLISHED if p.metric == "ndcg"]
    memcom_loses = {p.ratio: p.loss for p in ranking if p.method == "memcom"}
    rivals_lose = {p.ratio: p.loss for p in ranking if p.method != "memcom"}
    assert memcom_loses == {16: 0.04, 4: 0.04, 12: 0.04, 40: 0.04}
    assert rivals_lose == {16: 0.16, 4: 0.06, 12: 0.10, 40: 0.08}


def test_methods_are_those_of_the_registry_and_every_figure_has_a_source():
    known = {*memcom.available(), "best other method"}
    assert {p.method for p in PUBLISHED} <= known
    assert all(p.source and 0 < p.loss < 1 < p.ratio for p in PUBLISHED)


def test_points_are_scaled_to_our_full_table():
    points = published_points(0.5, "ndcg", methods=["memcom"])
    assert [p["compression_ratio"] for p in points] == [4, 12, 16, 40]
    assert {round(p["ndcg"], 12) for p in points} == {0.48}
    assert published_points(0.5, "auc") == []
