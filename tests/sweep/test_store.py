"""Records on disk: exact, keyed by what decides them, locked while they are made."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

from memcom.data import load
from memcom.sweep.records import DataKey, Job, Record
from memcom.sweep.spec import Source
from memcom.sweep.store import Store
from memcom.tasks.protocol import Outcome, Setting, Size


@pytest.fixture
def job():
    key = DataKey("films.csv", {"user_col": "u"}, "ab" * 32)
    setting = Setting("ranking", "qr(operation='mult')", 4.0, None, 1, 0.01, {"hidden": []})
    return Job(key, setting)


@pytest.fixture
def record(job):
    units = {"ndcg": np.array([0.1, 0.0, 1 / 3], np.float32), "none": np.empty(0, np.float32)}
    outcome = Outcome({"ndcg": 0.1444}, 0.2, Size(10, 40), 7, 3, units)
    return Record(job, outcome, seconds=1.5, about={"finished": "now"})


def test_a_record_comes_back_exactly(tmp_path, record):
    path = Store(tmp_path).put(record)
    again = Store(tmp_path).get(record.job)
    assert again.job == record.job
    assert again.seconds == 1.5
    assert again.outcome.size == record.outcome.size
    assert again.outcome.units["ndcg"].dtype == np.float32
    for name, values in record.outcome.units.items():
        np.testing.assert_array_equal(again.outcome.units[name], values)
    assert path.name == f"4x-lr0.01-seed1-{record.job.key}.json"
    assert path.parent == tmp_path / "trials/films.csv/ranking/qr_operation=_mult"


def test_the_key_hears_everything_but_the_code(job):
    setting = job.setting
    changed = [
        dataclasses.replace(setting, method="hash"),
        dataclasses.replace(setting, ratio=None, nbytes=40),
        dataclasses.replace(setting, ratio=5.0),
        dataclasses.replace(setting, seed=2),
        dataclasses.replace(setting, learning_rate=0.1),
        dataclasses.replace(setting, options={"hidden": [8]}),
    ]
    jobs = [Job(job.data, each) for each in changed]
    jobs += [
        Job(dataclasses.replace(job.data, **change), setting)
        for change in ({"checksum": "cd"}, {"options": {}}, {"name": "x"})
    ]
    assert len({each.key for each in [job, *jobs]}) == 10
    assert Job(job.data, dataclasses.replace(setting)).key == job.key


def test_the_checksum_is_of_the_content():
    data = load("synthetic", num_users=20, num_items=50)
    source = Source("some/where/pairs.csv", {"user_col": "u"})
    key = DataKey.of(source, data)
    assert key == DataKey.of(Source("else/pairs.csv", {"user_col": "u"}), data)
    renamed = dataclasses.replace(data, notes="other", name="other")
    assert DataKey.of(source, renamed) == key
    split = data.split.copy()
    split[0] = (split[0] + 1) % 3
    assert DataKey.of(source, dataclasses.replace(data, split=split)) != key


def test_a_damaged_file_is_named_and_never_a_result(tmp_path, record):
    path = Store(tmp_path).put(record)
    content = json.loads(path.read_text())
    content["setting"]["ratio"] = 5.0
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f"{record.job.key}.*remove it"):
        Store(tmp_path).get(record.job)
    content["setting"]["ratio"] = 4.0
    content["outcome"]["units"]["ndcg"]["count"] = 2
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="an array of 2 values"):
        Store(tmp_path).records()
    path.write_text("")
    with pytest.raises(ValueError, match="remove it"):
        Store(tmp_path).records()


def test_a_forgotten_record_counts_again_once_it_is_another(tmp_path, record):
    store = Store(tmp_path)
    store.put(record)
    store.forget(record.job)
    assert store.get(record.job) is None
    other = dataclasses.replace(record, about={"finished": "later"})
    Store(tmp_path).put(other)
    assert store.get(record.job).finished == "later"


def test_a_lock_holds_until_its_process_is_gone(tmp_path, job):
    code = (
        "import sys\n"
        "from filelock import FileLock\n"
        "lock = FileLock(sys.argv[1])\n"
        "lock.acquire()\n"
        "print('locked', flush=True)\n"
        "sys.stdin.read()\n"
    )
    store = Store(tmp_path)
    store.lock(job).release()
    arguments = [sys.executable, "-c", code, str(tmp_path / ".locks" / f"{job.key}.lock")]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"locked\n"
        assert store.lock(job) is None
        process.kill()
        process.wait()
    lock = store.lock(job)
    assert lock is not None
    lock.release()
