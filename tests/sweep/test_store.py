"""Records on disk: named by their key, locked while they are made, never a damaged one."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

from memcom.sweep import Record, Source, Store, Trial
from memcom.tasks.protocol import Outcome, Size


@pytest.fixture
def trial():
    source = Source("films.csv", {"user_col": "u"}, "ab" * 32)
    return Trial("ranking", "qr(operation='mult')", 4.0, None, 1, 0.01, {}, source=source)


@pytest.fixture
def record(trial):
    units = {"ndcg": np.array([0.1, 0.0, 1 / 3], np.float32)}
    outcome = Outcome({"ndcg": 0.1444}, 0.2, Size(10, 40), 7, 3, units)
    return Record(trial, outcome, seconds=1.5, about={"finished": "now"})


def test_a_record_is_a_file_that_names_it(tmp_path, trial, record):
    path = Store(tmp_path).put(record)
    assert path.name == f"4x-lr0.01-seed1-{trial.key}.json"
    assert path.parent == tmp_path / "trials/films.csv/ranking/qr_operation=_mult"
    again = Store(tmp_path).get(trial)
    assert again.as_json() == record.as_json()
    assert Store(tmp_path / "empty").get(trial) is None


def test_a_damaged_file_is_named_and_never_a_result(tmp_path, trial, record):
    path = Store(tmp_path).put(record)
    content = json.loads(path.read_text())
    content["setting"]["ratio"] = 5.0
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f"{trial.key}.*remove it"):
        Store(tmp_path).get(trial)
    content["setting"]["ratio"] = 4.0
    content["outcome"]["units"]["ndcg"]["count"] = 2
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f"{trial.key}.* 2 values"):
        Store(tmp_path).records()
    path.write_text("")
    with pytest.raises(ValueError, match=trial.key):
        Store(tmp_path).records()


def test_a_partly_written_file_is_no_record_and_goes_with_the_lock(tmp_path, trial, record):
    store = Store(tmp_path)
    path = store.put(record)
    partial = path.with_name(f".{path.name}.abc123.json")
    partial.write_text('{"format": 1, "key": "')
    assert [each.trial for each in Store(tmp_path).records()] == [trial]
    store.lock(trial).release()
    assert not partial.exists()
    assert path.exists()


def test_a_removed_record_is_gone_until_another_process_writes_one(tmp_path, trial, record):
    store = Store(tmp_path)
    store.put(record)
    store.remove(trial)
    store.remove(trial)  # another process may have been quicker
    assert store.get(trial) is None
    Store(tmp_path).put(dataclasses.replace(record, seconds=9.0))
    assert store.get(trial).seconds == 9.0


def test_a_lock_holds_until_its_process_is_gone(tmp_path, trial):
    code = (
        "import sys\n"
        "from filelock import FileLock\n"
        "lock = FileLock(sys.argv[1])\n"
        "lock.acquire()\n"
        "print('locked', flush=True)\n"
        "sys.stdin.read()\n"
    )
    store = Store(tmp_path)
    store.lock(trial).release()
    arguments = [sys.executable, "-c", code, str(tmp_path / ".locks" / f"{trial.key}.lock")]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"locked\n"
        assert store.lock(trial) is None
        process.kill()
        process.wait()
    lock = store.lock(trial)
    assert lock is not None
    lock.release()


@pytest.mark.parametrize("text", ["{", "[1]", '{"lookup_time": null}'])
def test_a_damaged_file_of_times_is_named(tmp_path, trial, text):
    store = Store(tmp_path)
    assert store.times(trial) == {}
    path = store.put_times(trial, {"lookup_time": 0.5})
    assert store.times(trial) == {"lookup_time": 0.5}
    path.write_text(text)
    with pytest.raises(ValueError, match=f"{trial.key}.json"):
        store.times(trial)
