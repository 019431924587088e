"""All sizes from one word."""

from __future__ import annotations

import dataclasses

import pytest

from memcom import data
from memcom.course import Profile, profile
from memcom.course.profiles import PROFILES


def test_fast_is_never_larger_than_full():
    fast, full = dataclasses.asdict(profile("fast")), dataclasses.asdict(profile("full"))
    for name in ("embedding_dim", "epochs", "patience", "synthetic_ids", "pairs"):
        assert fast[name] <= full[name], name
    assert set(fast["ratios"]) <= set(full["ratios"])
    assert set(fast["seeds"]) <= set(full["seeds"])


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_is_consistent(name):
    sizes = profile(name)
    assert sizes.name == name
    assert sizes.ratio in sizes.ratios
    assert list(sizes.ratios) == sorted(set(sizes.ratios))
    assert len(set(sizes.seeds)) == len(sizes.seeds)
    assert sizes.data in data.names()


def test_a_notebook_changes_a_size_for_both_profiles():
    assert profile("fast", epochs={"fast": 3, "full": 7}).epochs == 3
    assert profile("full", epochs={"fast": 3, "full": 7}).epochs == 7
    assert isinstance(profile("fast", epochs={"fast": 3, "full": 7}), Profile)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="unknown profile 'quick'; it must be one of fast, full"):
        profile("quick")
    with pytest.raises(ValueError, match="epochs needs a value for every profile"):
        profile("fast", epochs={"fast": 3})
    with pytest.raises(TypeError, match="epoch"):
        profile("fast", epoch={"fast": 3, "full": 7})
