"""The programs of faults in short, and their eyes: what is wrong with a folder is counted."""

from __future__ import annotations

import json
import sys

import pytest

from benchmarks.faults.sweeps import box, outcomes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="kills processes as Linux does"),
]

if sys.platform == "linux":
    from benchmarks.faults.programs import (
        clock,
        full_disk,
        kill_workers,
        shared_folder,
        signals,
        two_at_once,
    )


def sound(found):
    assert found.disturbed
    assert not found.faults, found
    assert found.trials in (25, 45)
    return found


@pytest.mark.parametrize("engine", ["processes", "ray"])
def test_workers_killed_in_the_middle_of_their_trials(engine):
    pytest.importorskip({"processes": "joblib"}.get(engine, engine))
    assert sound(kill_workers(engine, 3)).disturbed == 3


@pytest.mark.parametrize("engine", ["local", "processes"])
def test_a_command_that_is_ended_by_each_signal(engine):
    pytest.importorskip("joblib")
    assert "workers_left 0" in sound(signals(engine, 3)).notes


def test_two_sweeps_in_one_folder():
    pytest.importorskip("joblib")
    assert "exits (0, 0)" in sound(two_at_once(1)).notes
    sound(shared_folder(2))


@pytest.mark.parametrize("engine", ["local", "processes"])
def test_a_disk_that_is_full_in_the_middle_of_a_trial(engine):
    pytest.importorskip("joblib")
    assert "stored_before 0" in sound(full_disk(engine, 1)).notes


def test_a_clock_that_jumps():
    sound(clock("local", 1))


def test_what_is_wrong_is_counted():
    with box(seconds=0, ratios=(2,)) as place:
        place.finish()
        first, second, third, *_ = (place.out / path for path in outcomes(place.out))
        assert not place.found("as it is", 0).faults
        text = first.read_text()
        first.unlink()
        assert place.found("lost", 0).lost == 1
        first.write_text(text)
        third.with_name(f".{third.name}.abc.json").write_text("{")
        assert place.found("half a file", 0).damaged == 1
        third.with_name(f".{third.name}.abc.json").unlink()
        (place.folder / "elsewhere").touch()
        assert place.found("outside", 0).outside == 1
        (place.folder / "elsewhere").unlink()
        content = json.loads(second.read_text())
        second.write_text(json.dumps(content | {"seconds": -1.0}))
        assert place.found("changed", 0).damaged == 1
        second.write_text(json.dumps(content))
        place.log.write_text(place.log.read_text() * 2)
        assert place.found("twice", 0).doubled == 25
