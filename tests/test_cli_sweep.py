"""``memcom sweep`` on a file of one's own, from the command line to the picture."""

from __future__ import annotations

import csv
import json
import re
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memcom.cli import main

pytest.importorskip("pandas")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """4,000 pairs of 200 readers and 320 papers: readers like their own quarter of the papers."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("own") / "pairs.csv"
    with open(path, "w") as file:
        file.write("reader,paper,when\n")
        for reader in range(200):
            popular = 1 / (1 + np.arange(80)) ** 0.7
            papers = rng.choice(80, 20, replace=False, p=popular / popular.sum())
            for step, paper in enumerate(papers):
                quarter = reader % 4 if rng.random() < 0.9 else rng.integers(4)
                file.write(f"r{reader},p{4 * paper + quarter},{1_000_000 + step}\n")
    return path


def words(pairs, out, *more):
    return [
        *("sweep", "--data", str(pairs), "--user-col", "reader", "--item-col", "paper"),
        *("--methods", "full,hash,qr(operation=concat)", "--ratios", "4", "--seeds", "2"),
        *("--profile", "fast", "--set", "epochs=30", "--set", "embedding_dim=16"),
        *("--engine", "local", "--out", str(out), *more),
    ]


@pytest.fixture(scope="module")
def done(pairs, tmp_path_factory):
    out = tmp_path_factory.mktemp("sweep")
    result = CliRunner().invoke(main, words(pairs, out))
    assert result.exit_code == 0, result.output
    return out, result.output


def test_own_file_end_to_end(done):
    out, shown = done
    assert len(list(out.rglob("*.json"))) == 1 + 2 * (2 + 5)
    with open(out / "summary.csv") as file:
        rows = {row["method"]: row for row in csv.DictReader(file)}
    assert {row["status"] for row in rows.values()} == {"finished"}
    ndcg = {method: float(row["ndcg"]) for method, row in rows.items()}
    assert ndcg["full"] > 1.2 * max(ndcg["popular"], ndcg["bias-only"])  # quarters can be learned
    assert all(float(rows[m]["compression_ratio"]) >= 4 for m in ("hash", "low-rank", "small-dim"))
    assert "clearly above the controls" in shown
    assert "hash, qr(operation='concat') at 4x, 2 seeds; at most 15 trials" in shown
    assert f"trials and report: {out}" in shown
    assert (out / "report.md").exists()


def test_a_picture_is_drawn_where_matplotlib_is(done):
    pytest.importorskip("matplotlib")
    assert (done[0] / "pairs.csv_ranking.png").read_bytes().startswith(b"\x89PNG")


def test_a_second_run_repeats_nothing_and_a_dry_run_knows(pairs, done):
    out, _ = done
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.json")}
    plan = CliRunner().invoke(main, words(pairs, out, "--dry-run")).output
    assert re.search(r"full .* 1 +1  0 s, 2 done", plan)
    assert CliRunner().invoke(main, words(pairs, out)).exit_code == 0
    assert CliRunner().invoke(main, words(pairs, out, "--report-only")).exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.json")} == before


def test_a_dry_run_probes_where_nothing_is_known(pairs, tmp_path):
    result = CliRunner().invoke(main, words(pairs, tmp_path, "--dry-run", "--jobs", "2"))
    assert result.exit_code == 0, result.output
    assert "15 trials, " in result.output
    assert "with 2 at a time" in result.output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--ratios", "four"), "numbers separated by commas"),
        (("--set", "epochs"), "name=value"),
        (("--set", "epoch=3"), "no option 'epoch'"),
        (("--methods", "hush"), "hush"),
        (("--task", "sorting"), "task must be one of"),
        (("--ratios", "nan"), ">= 1, got nan"),
        (("--ratios", "inf"), ">= 1, got inf"),
        (("--ratios", "0.5"), ">= 1, got 0.5"),
        (("--seeds", "1.5"), "1.5"),
        (("--seeds", "20000"), "from 1 to 10,000, got 20000"),
        (("--nbytes", "0.5"), "bytes, got '0.5'"),
        (("--learning-rates", "0.1,inf"), "> 0, got inf"),
        (("--learning-rates", "0"), "> 0, got 0.0"),
        (("--set", "epochs=x"), "epochs must be a whole number, not negative, got 'x'"),
        (("--set", "epochs=-1"), "not negative, got -1"),
        (("--set", "epochs=0"), "epochs must be at least 1, got 0"),
        (("--set", "epochs=nan"), "got 'nan'"),
        (("--set", "epochs=[1,2.5]"), "got 2.5"),
        (("--set", "embedding_dim=0"), "embedding_dim must be at least 1, got 0"),
        (("--set", "embedding_dim=inf"), "got 'inf'"),
        (("--set", "dropout=1e999"), "dropout must be a finite number, got inf"),
        (("--split", "odd"), "odd"),
        (("--methods", "qr(num_bucket=3)"), "qr(num_bucket=3): qr does not take num_bucket"),
    ],
)
def test_what_a_user_gets_wrong_is_one_line(pairs, tmp_path, monkeypatch, more, message):
    monkeypatch.setattr("memcom.sweep.source.load", lambda *_, **__: pytest.fail("data was loaded"))
    result = CliRunner().invoke(main, words(pairs, tmp_path, *more))
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())


VALUES = st.sampled_from(
    [
        "",
        "0",
        "-1",
        "1",
        "1.5",
        "1e400",
        "nan",
        "inf",
        "x",
        "[",
        "[1, 2]",
        "hash(",
        "a,b",
        "1 kB",
        "%",
    ]
) | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
OPTIONS = st.sampled_from(
    ["--task", "--methods", "--ratios", "--nbytes", "--seeds", "--learning-rates", "--profile",
     "--split", "--engine", "--jobs", "--rating-col", "--label-col", "--time-col"]
)  # fmt: skip
SETTINGS = st.sampled_from(["epochs", "embedding_dim", "dropout", "hidden", "tied", "k", "x"])


@settings(deadline=None, max_examples=80, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.tuples(OPTIONS, VALUES)
        | st.tuples(st.just("--set"), st.builds("{}={}".format, SETTINGS, VALUES)),
        min_size=1,
        max_size=2,
    )
)
def test_whatever_is_typed_is_a_report_or_one_line(pairs, tmp_path_factory, typed):
    out = tmp_path_factory.mktemp("typed")
    more = [word for pair in typed for word in pair]
    result = CliRunner().invoke(main, words(pairs, out, "--report-only", *more))
    assert result.exit_code in (0, 2), (more, result.output, result.exception)
    if result.exit_code:
        assert re.search(r"(Error|Usage): ", result.output)
        assert not re.search(r"object (is not|has no)|NoneType", result.output)


@pytest.mark.slow
def test_a_sweep_tells_times_where_asked(pairs, tmp_path):
    more = ("--methods", "hash,memcom", "--seeds", "1", "--times", "--json")
    result = CliRunner().invoke(main, words(pairs, tmp_path, *more))
    assert result.exit_code == 0, result.output
    (table,) = json.loads(result.stdout)["tables"]
    rows = {row["method"]: row for row in table["rows"]}
    assert rows.keys() > {"popular", "full", "low-rank", "hash", "memcom"}
    assert all(rows[m]["lookup_time"] > 0 for m in ("full", "hash", "memcom"))
    assert "step_time" not in rows["popular"]


def test_a_plan_as_json_has_the_bytes_of_every_row(pairs, tmp_path):
    result = CliRunner().invoke(main, words(pairs, tmp_path, "--dry-run", "--json"))
    (table,) = json.loads(result.stdout)
    rows = {row["method"]: row for row in table["rows"]}
    assert rows["full"]["nbytes"] == 4 * 16 * 320  # ids x width in fp32
    assert rows["hash"]["nbytes"] <= 4 * 16 * 320 / 4
    assert rows["hash"]["ratio"] == 4
    assert not list(tmp_path.iterdir())


def test_only_what_can_be_ranked_is_swept(tmp_path, monkeypatch):
    monkeypatch.setattr("memcom.sweep.source.load", lambda *_, **__: {})
    result = CliRunner().invoke(main, ["sweep", "--data", "nycflights", "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert "ranking needs Interactions, nycflights is dict" in " ".join(result.output.split())


WITHOUT = ("pandas", "pyarrow", "joblib", "matplotlib")


def test_all_missing_packages_are_named_at_once(pairs, tmp_path, monkeypatch):
    for package in WITHOUT:
        monkeypatch.setitem(sys.modules, package, None)
    out = tmp_path / "out"
    result = CliRunner().invoke(main, words(pairs, out, "--engine", "processes"))
    said = " ".join(result.output.split())
    assert "pandas, joblib, pyarrow, matplotlib: pip install 'memcom-kit[sweep]'" in said
    assert not out.exists()


def test_a_wrong_column_is_said_before_missing_packages(pairs, tmp_path, monkeypatch):
    for package in WITHOUT:
        monkeypatch.setitem(sys.modules, package, None)
    for command in ("sweep", "advise"):
        wrong = [command, "--data", str(pairs), "--user-col", "reder", "--item-col", "paper"]
        wrong += ["--ratio", "4"] if command == "advise" else ["--out", str(tmp_path)]
        result = CliRunner().invoke(main, wrong)
        assert "did you mean 'reader'?" in " ".join(result.output.split())
        absent = [command, "--data", "no.csv", *wrong[3:]]
        assert "no file no.csv" in CliRunner().invoke(main, absent).output


def test_pictures_alone_are_a_note(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr("memcom.sweep.source.load", lambda *_, **__: {})
    result = CliRunner().invoke(main, ["sweep", "--data", "synthetic", "--out", str(tmp_path)])
    assert "no pictures without matplotlib: pip install 'memcom-kit[sweep]'" in result.output
    assert "ranking needs Interactions" in result.output


@pytest.mark.parametrize(
    ("methods", "failing", "code", "said"),
    [
        ("hash", "", 0, ""),
        ("hash,memcom", "hash", 1, "2 of 13 trials failed"),
        ("hash", "*", 1, "every trial failed"),
    ],
)
def test_the_exit_code_tells_of_failed_trials(tmp_path, monkeypatch, methods, failing, code, said):
    monkeypatch.setenv("TOY_FAIL", failing)
    words = [
        *("sweep", "--data", "synthetic", "--task", "tests.sweep.toy:TASK", "--methods", methods),
        *("--ratios", "2", "--seeds", "1", "--profile", "fast"),
        *("--engine", "local", "--out", str(tmp_path)),
    ]
    for more in ([], ["--report-only"]):
        result = CliRunner().invoke(main, words + more)
        assert result.exit_code == code, result.output
        assert said in result.output
        assert ("failed" in result.output) == bool(said)
        assert (tmp_path / "report.md").exists()
    monkeypatch.delenv("TOY_FAIL")
    assert CliRunner().invoke(main, [*words, "--retry-failed"]).exit_code == 0


def test_a_damaged_trial_is_one_line(tmp_path):
    words = [
        *("sweep", "--data", "synthetic", "--task", "tests.sweep.toy:TASK", "--methods", "hash"),
        *("--ratios", "2", "--seeds", "1", "--profile", "fast", "--engine", "local"),
        *("--out", str(tmp_path)),
    ]
    assert CliRunner().invoke(main, words).exit_code == 0
    path = next((tmp_path / "trials").rglob("*.json"))
    path.write_text(path.read_text().replace('"best_epoch"', '"best"'))
    for more in ([], ["--report-only"]):
        result = CliRunner().invoke(main, words + more)
        assert result.exit_code == 1
        assert f"{path.name} is damaged" in result.output.replace("\n", "")
    assert CliRunner().invoke(main, [*words, "--retry-failed"]).exit_code == 0
