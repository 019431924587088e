"""The specs under experiments/ can be read, and mean something."""

from __future__ import annotations

from pathlib import Path

import pytest

from memcom import data
from memcom.sweep import Spec

SPECS = sorted((Path(__file__).parents[2] / "experiments").glob("*.toml"))


def test_there_are_specs():
    assert "movielens" in {path.stem for path in SPECS}


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_a_spec_is_whole(path):
    spec = Spec.read(path)
    assert {source.name for source in spec.data} <= set(data.names())
    assert spec.seeds >= 3
    for options in spec.variants():
        methods = {grid[0].method for grid in spec.grids(options)}
        assert methods > {"full", *(spec.baselines if spec.methods else ())}
