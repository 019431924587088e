"""Records on disk: named by their key, locked while they are made, never a damaged one."""

from __future__ import annotations

import dataclasses
import json
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest

from memcom.sweep import DamagedRecordError, Record, Source, Store, Trial
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


def edit(change):
    """A change of the file's content, written as JSON."""

    def apply(text):
        content = json.loads(text)
        change(content)
        return json.dumps(content)

    return apply


def put(*names, value):
    """Set a field, however deep."""

    def change(content):
        for name in names[:-1]:
            content = content[name]
        content[names[-1]] = value

    return edit(change)


def unseal(change):
    """A change in a file of the format that has no digest."""

    def apply(text):
        content = json.loads(text)
        del content["digest"]
        return change(json.dumps(content | {"format": 1}))

    return apply


NO_RECORDS = {
    **{text[:9]: lambda _, text=text: text for text in ("null", "[]", "3", '"x"', "", "{}", "{")},
    "brackets": lambda _: "[" * 100_000,
    "objects": lambda _: '{"a":' * 100_000,
    "digits": lambda _: "9" * 100_000,
    "half": lambda text: text[: len(text) // 2],
    "latin-1": lambda text: text.encode().replace(b"qr(", b"q\xe9").decode("latin-1"),
}
CHANGES = {
    **{name: put("outcome", name, value=1) for name in ("nbytes", "full_nbytes", "output_nbytes")},
    "valid": put("outcome", "valid", value=0.999),
    "metric": put("outcome", "metrics", "ndcg", value=0.999),
    "added metric": put("outcome", "metrics", "other", value=0.5),
    "epoch": put("outcome", "best_epoch", value=4),
    "units": put("outcome", "units", value={}),
    "seconds": put("seconds", value=0.1),
    "about": put("about", value={"finished": "tomorrow"}),
    "status": put("status", value="failed"),
    "format": put("format", value=1),
    "no digest": edit(lambda content: content.pop("digest")),
    "digest": put("digest", value="0" * 64),
    "another setting": put("setting", "ratio", value=5.0),
    "another field": put("note", value="x"),
}
MALFORMED = {  # found without a digest, too
    "text": put("outcome", "valid", value="0.2"),
    "bool": put("outcome", "valid", value=True),
    "null": put("outcome", "valid", value=None),
    "nan": put("outcome", "metrics", "ndcg", value=float("nan")),
    "infinite": put("outcome", "metrics", "ndcg", value=float("inf")),
    "no metrics": put("outcome", "metrics", value={}),
    "listed metrics": put("outcome", "metrics", value=[0.1]),
    "another metric": put("outcome", "metrics", value={"ndcx": 0.1}),
    "negative bytes": put("outcome", "nbytes", value=-1),
    "half a byte": put("outcome", "nbytes", value=0.5),
    "listed about": put("about", value=[]),
    "no seconds": put("seconds", value=None),
    "no outcome": edit(lambda content: content.pop("outcome")),
    "no setting": edit(lambda content: content.pop("setting")),
    "listed setting": put("setting", value=[]),
    "unknown setting": put("setting", "colour", value="red"),
    "unknown outcome": put("outcome", "colour", value="red"),
    "data": put("data", value=None),
    "data options": put("data", "options", value=3),
    "key": put("key", value=None),
    "format of another kind": put("format", value=[]),
    "later format": put("format", value=3),
    "status": put("status", value="done"),
    "count": put("outcome", "units", "ndcg", "count", value=2),
    "negative count": put("outcome", "units", "ndcg", "count", value=-1),
    "array": put("outcome", "units", "ndcg", value=[0.1]),
    "no base 85": put("outcome", "units", "ndcg", "float32_zlib_base85", value="\\"),
    "no zlib": put("outcome", "units", "ndcg", "float32_zlib_base85", value="00000"),
}
DAMAGE = {
    **NO_RECORDS,
    **{f"changed {name}": change for name, change in CHANGES.items()},
    **{f"malformed {name}": change for name, change in MALFORMED.items()},
    **{f"old, malformed {name}": unseal(change) for name, change in MALFORMED.items()},
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_is_named_never_a_result_and_can_be_run_again(
    tmp_path, trial, record, damage
):
    path = Store(tmp_path).put(record)
    path.write_bytes(damage(path.read_text()).encode("latin-1"))
    with pytest.raises(
        DamagedRecordError, match=rf"{trial.key}\.json is damaged: .*--retry-failed"
    ):
        Store(tmp_path).get(trial)
    store = Store(tmp_path)
    store.retry(trial)
    assert store.get(trial) is None
    assert not path.exists()


def test_the_error_goes_through_a_pipe_whole(tmp_path):
    error = DamagedRecordError(tmp_path / "x.json", "it is no JSON")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize("put_there", [shutil.copy, lambda file, link: link.symlink_to(file)])
def test_the_file_of_another_trial_is_no_result(tmp_path, trial, record, put_there):
    other = dataclasses.replace(trial, seed=2)
    store = Store(tmp_path)
    mine, path = store.put(record), store.path(other)
    put_there(mine, path)
    with pytest.raises(DamagedRecordError, match=f"{other.key}.*it is the record of .*{trial.key}"):
        store.get(other)
    with pytest.raises(DamagedRecordError, match=other.key):
        store.records()
    store.retry(other)
    assert not path.exists()
    assert Store(tmp_path).get(trial) is not None


def test_a_link_to_nowhere_is_no_record_and_is_replaced(tmp_path, trial, record):
    store = Store(tmp_path / "out")
    path = store.path(trial)
    path.parent.mkdir(parents=True)
    path.symlink_to(tmp_path / "elsewhere.json")
    assert store.get(trial) is None
    store.put(record)
    assert not path.is_symlink()
    assert not (tmp_path / "elsewhere.json").exists()


def test_a_record_of_the_format_without_a_digest_is_read_and_known(tmp_path, trial, record):
    path = Store(tmp_path).put(record)
    assert Store(tmp_path).get(trial).sealed
    path.write_text(unseal(str)(path.read_text()))
    old = Store(tmp_path).get(trial)
    assert not old.sealed
    assert dataclasses.replace(old, sealed=True).as_json() == record.as_json()


def test_only_what_failed_or_is_damaged_is_run_again(tmp_path, trial, record):
    store, failed = Store(tmp_path), dataclasses.replace(trial, seed=7)
    store.put(record)
    store.put(Record(failed, None, "ValueError: x", "", 1.0))
    for each in (trial, failed):
        store.retry(each)
        store.retry(each)  # another process may have been quicker
    assert [each.trial for each in Store(tmp_path).records()] == [trial]


def test_a_partly_written_file_is_no_record_and_goes_with_the_lock(tmp_path, trial, record):
    store = Store(tmp_path)
    path = store.put(record)
    partial = path.with_name(f".{path.name}.abc123.json")
    partial.write_text('{"format": 1, "key": "')
    assert [each.trial for each in Store(tmp_path).records()] == [trial]
    store.lock(trial).release()
    assert not partial.exists()
    assert path.exists()


def test_what_another_process_writes_in_place_of_a_failure_stays(tmp_path, trial, record):
    store = Store(tmp_path)
    store.put(Record(trial, None, "ValueError: x", "", 1.0))
    Store(tmp_path).put(record)
    store.retry(trial)
    assert store.get(trial).outcome is not None


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


@pytest.mark.parametrize(
    "text",
    [
        *("{", "[1]", "null", "3", '"x"', "[" * 100_000),
        *('{"lookup_time": null}', '{"lookup_time": "0.5"}', '{"lookup_time": NaN}'),
        *('{"times": {"lookup_time": 0.5}, "digest": "00"}', '{"digest": null}'),
    ],
)
def test_a_damaged_file_of_times_is_named(tmp_path, trial, text):
    store = Store(tmp_path)
    assert store.times(trial) == {}
    path = store.put_times(trial, {"lookup_time": 0.5})
    assert store.times(trial) == {"lookup_time": 0.5}
    path.write_text(text)
    with pytest.raises(DamagedRecordError, match=f"{trial.key}.json"):
        store.times(trial)
    store.retry(trial)
    assert store.times(trial) == {}


def test_changed_times_are_noticed_and_those_without_a_digest_are_read(tmp_path, trial):
    store = Store(tmp_path)
    path = store.put_times(trial, {"lookup_time": 0.5})
    path.write_text(path.read_text().replace("0.5", "0.25"))
    with pytest.raises(DamagedRecordError, match="changed after it was written"):
        store.times(trial)
    path.write_text('{"lookup_time": 0.25}')
    assert store.times(trial) == {"lookup_time": 0.25}
