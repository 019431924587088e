"""The command `memcom`: right arguments down, right words and exit codes up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
import torch
from click.testing import CliRunner, Result

import benchmarks
import memcom
from memcom._extras import EXTRAS, MissingExtra
from memcom.cli import main
from memcom.cli._group import wants_progress
from memcom.sweep import DamagedRecordError

ROOT = Path(__file__).resolve().parents[1]


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def test_help_names_every_command() -> None:
    result = call("--help")
    assert result.exit_code == 0
    commands = "bench clean course data doctor lint methods plan run site sweep warm-up"
    for name in commands.split():
        assert f"\n  {name} " in result.output
    assert "compare" not in result.output


_WITHOUT_TORCH = """
import atexit, sys
sys.argv[0] = "memcom"
atexit.register(lambda: print("heavy:", *{"torch", "pandas"} & set(sys.modules), file=sys.stderr))
from memcom.cli import main
main()
"""


@pytest.mark.parametrize(
    ("words", "variables", "part"),
    [
        ("--help", {}, "advise"),
        ("--version", {}, memcom.__version__),
        ("sweep --help", {}, "--methods"),
        ("data list", {}, "movielens"),
        ("data info synthetic", {}, "licence"),
        ("", {"_MEMCOM_COMPLETE": "bash_source"}, "complete"),
        (
            "",
            {"_MEMCOM_COMPLETE": "bash_complete", "COMP_WORDS": "memcom sw", "COMP_CWORD": "1"},
            "plain,sweep",
        ),
    ],
)
def test_what_answers_at_once_needs_no_torch(
    words: str, variables: dict[str, str], part: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_TORCH, *words.split()],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )
    assert part in done.stdout
    assert (done.returncode, done.stderr.split()) == (0, ["heavy:"])


def test_module_and_script_are_the_same() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "memcom", "plan", "full", "10", "4"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "stored     160 bytes of 160" in done.stdout  # 10 rows x 4 numbers x 4 bytes


def test_plan_prints_bytes_of_the_formula() -> None:
    result = call("plan", "memcom", "100000", "64", "--ratio", "16")
    assert result.exit_code == 0
    # 16x of 25.6 MB are 1.6 MB; 0.4 MB go to the weights, the rest to rows of 256 bytes.
    rows = (100_000 * 64 * 4 // 16 - 100_000 * 4) // 256
    assert f"num_buckets={rows}" in result.output
    assert f"{rows * 256 + 400_000:,} bytes of 25,600,000" in result.output


def test_plan_takes_options_and_bytes() -> None:
    result = call("plan", "qr(operation='concat')", "100000", "64", "--nbytes", "1.5 MB")
    assert result.exit_code == 0
    assert "operation='concat'" in result.output
    stored = int(result.output.partition("stored")[2].split()[0].replace(",", ""))
    assert 1_400_000 < stored <= 1_500_000


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("plan", "memcom", "1000", "64", "--ratio", "100"), "ratio < 64"),
        (("plan", "nope", "1000", "64", "--ratio", "4"), "'nope'; `memcom methods` lists them"),
        (("plan", "memcm", "1000", "64", "--ratio", "4"), "did you mean 'memcom'?"),
        (("plan", "qr(wrong=1)", "1000", "64", "--ratio", "4"), "wrong"),
        (("plan", "qr(", "1000", "64", "--ratio", "4"), "qr("),
        (("plan", "memcom", "1000", "64"), "--ratio"),
        (("plan", "memcom", "1000", "64", "--ratio", "4", "--nbytes", "1 MB"), "--nbytes"),
        (("plan", "memcom", "0", "64", "--ratio", "4"), "x>=1"),
        (("data", "info", "nope"), "nope"),
        (("data", "fetch", "synthetic"), "synthetic"),
        (("data", "info", "movielen"), "did you mean 'movielens'?"),
        (("sweep", "--data", "movielen"), "did you mean 'movielens'?"),
        (("sweep", "--data", "synthetic", "--methods", "fulll"), "did you mean 'full'?"),
        (("sweep", "--methods", "full,qr(operation='add'"), "--methods"),
        (("sweep", "--ratios", "4,x"), "numbers separated by commas"),
        (("sweep", "--nbytes", "1,500,000"), "write 1500000"),
        (("sweep",), "give a SPEC, or --data"),
        (("sweep", "--methods", "every"), "give a SPEC, or --data"),
        (("compare", "--ratio", "16"), "memcom sweep --data ... --methods every --times"),
        (("bench", "--threads", "1,0"), "numbers of threads"),
        (("run", "--profile", "medium"), "medium"),
    ],
)
def test_a_users_error_is_one_line(arguments: tuple[str, ...], part: str) -> None:
    result = call(*arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    (line,) = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    assert part in line


def test_the_traceback_can_be_had() -> None:
    words = ("plan", "memcom", "1000", "64", "--ratio", "100")
    assert "Traceback" not in call(*words).output
    result = call(*words, "-v")
    assert "Traceback" in result.output
    assert result.exit_code == 2


def test_a_missing_notebook_folder_is_said(tmp_path: Path) -> None:
    site = str(tmp_path / "site")
    result = call("run", "--folder", str(tmp_path), "--site", site)
    assert result.exit_code == 2
    assert str(tmp_path) in result.output
    assert call("site", "--site", site, "--docs", str(tmp_path)).exit_code == 2


def test_data_list_is_the_registry() -> None:
    registry = tomllib.loads((ROOT / "data" / "registry.toml").read_text(encoding="utf-8"))
    lines = call("data", "list").output.splitlines()
    assert [line.split()[0] for line in lines] == list(registry)
    listed = json.loads(call("data", "list", "--json").output)
    assert {each["name"]: each["licence"] for each in listed} == {
        name: entry["licence"] for name, entry in registry.items()
    }
    for line, each in zip(lines, listed, strict=True):
        absent = "by hand" if each["obtained"] == "own file" else "to fetch"
        assert ("here" if each["here"] else absent) in line
    for name, entry in registry.items():
        assert entry["licence"] in call("data", "info", name).output
        assert json.loads(call("data", "info", name, "--json").output)["title"] == entry["title"]


def test_methods_are_the_registry_one_a_line() -> None:
    lines = call("methods").output.splitlines()
    assert [line.split()[0] for line in lines] == memcom.available()
    assert all(line.endswith(".") for line in lines)
    listed = json.loads(call("methods", "--json").output)
    assert [each["method"] for each in listed] == memcom.available()
    assert listed[0]["use_when"] == memcom.get("full").card.use_when


def test_a_plan_as_json_is_the_plan() -> None:
    found = json.loads(call("plan", "qr", "1000", "64", "--ratio", "8", "--json").output)
    plan = memcom.plan("qr", 1000, 64, ratio=8)
    assert found["arguments"] == dict(plan.arguments)
    assert (found["method"], found["nbytes"]) == ("qr", plan.nbytes)


@pytest.fixture
def swept(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `sweep` passes on, in place of hours of training."""
    from memcom import sweep

    passed: dict[str, Any] = {}

    def run(spec: sweep.Spec, out: Path, **options: Any) -> list[sweep.Table]:
        passed.update(options, spec=spec, out=out)
        return []

    monkeypatch.setattr(sweep, "run", run)
    monkeypatch.setattr(
        sweep, "write_report", lambda *_, **__: sweep.Report({"report": Path("r")}, [], [])
    )
    return passed


SWEEP = ("sweep", "--data", "synthetic", "--profile", "fast")


def test_sweep_passes_its_options_on(swept: dict[str, Any]) -> None:
    result = call(
        *("sweep", "--data", "synthetic", "--methods", "full, qr(operation='add',head=9),every"),
        *("--ratios", "4,16", "--nbytes", "1.5MB,64 KiB", "--seeds", "2", "--profile", "fast"),
        *("--out", "here", "--times"),
    )
    assert result.exit_code == 0, result.output
    assert result.stdout == "report: r\n"
    spec = swept["spec"]
    assert ([each.name for each in spec.data], spec.ratios) == (["synthetic"], (4.0, 16.0))
    assert (spec.nbytes, spec.seeds, spec.profile) == ((1_500_000, 65_536), 2, "fast")
    assert spec.methods[0] == "qr(head=9, operation='add')"
    assert set(spec.methods) > set(memcom.available()) - {"full"}
    assert (swept["out"], swept["times"]) == (Path("here"), True)


def test_the_plan_is_shown_before_a_sweep_unless_it_is_to_be_quiet(swept: dict[str, Any]) -> None:
    result = call(*SWEEP, "--methods", "hash", "--ratios", "4", "--out", "here")
    first, second = result.stderr.splitlines()
    assert "full, small-dim, low-rank, truncate, hash at 4x, 3 seeds" in first
    assert second == "trials and report: here"
    assert call(*SWEEP, "-q").stderr == ""


def test_there_is_no_bar_without_a_terminal(
    swept: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    call(*SWEEP)
    assert swept["progress"] is False
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with click.Context(main) as context:
        assert wants_progress()
        context.meta["memcom.quiet"] = True
        assert not wants_progress()


def test_a_sweep_as_json_is_its_files_and_rows(swept: dict[str, Any]) -> None:
    found = json.loads(call(*SWEEP, "--json").stdout)
    assert found == {"files": {"report": "r"}, "tables": []}


def failing(error: Exception, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The result of `sweep` where running raises."""

    def fail(*spec: Any, **options: Any) -> None:
        raise error

    # As if a module of ours raised it.
    monkeypatch.setitem(fail.__globals__, "__name__", "memcom.sweep.scheduler")
    monkeypatch.setattr("memcom.sweep.run", fail)
    return call("sweep", "--data", "synthetic")


@pytest.mark.parametrize("error", [KeyError("x"), ModuleNotFoundError("no", name="memcom.x")])
def test_our_own_faults_keep_their_traceback(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = failing(error, monkeypatch)
    assert result.exception is error
    assert result.exit_code == 1
    assert "a fault of memcom" in result.output


@pytest.mark.parametrize("fault", [lambda: int("x"), lambda: torch.zeros(2).view(3)])
def test_an_error_from_deeper_down_is_not_dressed_as_the_users(
    fault: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ValueError and RuntimeError, but none that our own words raised."""
    monkeypatch.setattr("memcom.sweep.run", lambda *_, **__: fault())
    result = call("sweep", "--data", "synthetic")
    assert isinstance(result.exception, (ValueError, RuntimeError))
    assert result.exit_code == 1
    assert "a fault of memcom" in result.output


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError("width must be positive"), 2),
        (FileNotFoundError("there is no file x.csv"), 2),
        (MissingExtra("the engine 'ray'", "ray", "cluster"), 1),
        (ModuleNotFoundError("No module named 'pandas.io'", name="pandas.io"), 1),
        (OSError("the download broke off"), 1),
        (OSError(28, "No space left on device"), 1),
        (RuntimeError("workers cannot be started"), 1),
        (DamagedRecordError(Path("x.json"), "cut short"), 1),
    ],
)
def test_exit_codes_tell_typing_from_failing(
    error: Exception, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = failing(error, monkeypatch)
    assert result.exit_code == code
    assert "Error: " in result.output
    assert "Traceback" not in result.output


def test_a_missing_package_points_to_its_extra_or_the_doctor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    error = ModuleNotFoundError("No module named 'pandas.io'", name="pandas.io")
    result = failing(error, monkeypatch)
    assert "pandas.io is not installed: pip install 'memcom-kit[sweep]'" in result.output
    error = ModuleNotFoundError("No module named 'strange'", name="strange")
    assert "memcom doctor" in failing(error, monkeypatch).output


def test_warm_up_prints_where_the_kernels_are(monkeypatch: pytest.MonkeyPatch) -> None:
    from memcom import kernels

    if kernels.warm_up():
        result = call("warm-up")
        assert result.exit_code == 0
        assert list(Path(result.output.strip()).glob("memcom_*_bag.json"))
    monkeypatch.setattr(kernels, "warm_up", lambda: False)
    result = call("warm-up")
    assert result.exit_code == 1
    assert "plain PyTorch" in result.output


def test_run_reports_and_fails_with_the_course(monkeypatch: pytest.MonkeyPatch) -> None:
    from memcom import course

    seen: list[Any] = []

    def run_course(names: Any, **options: Any) -> list[Any]:
        seen.append((names, options))
        if names:
            raise course.CourseError([], {"03_memcom": "cell 4: ZeroDivisionError"}, Path("s"))
        return []

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(course, "run_course", run_course)
    monkeypatch.setattr(course, "summarise_runs", lambda runs: f"table of {runs}")
    good = call("run", "--site", "s", "-p", "SEED", "3")
    assert (good.exit_code, good.output) == (0, f"table of []\n\n{Path('s') / 'index.html'}\n")
    bad = call("run", "--profile", "full", "03")
    assert bad.exit_code == 1
    assert "table of []" in bad.output
    assert "ZeroDivisionError" in bad.output
    common = {"timeout": 600.0, "tour": False, "folder": Path("notebooks"), "docs": "docs"}
    common["progress"] = False  # there is no terminal
    assert seen == [
        (None, {**common, "profile": "fast", "parameters": {"SEED": 3}, "site": "s"}),
        (("03",), {**common, "profile": "full", "parameters": {}, "site": "site"}),
    ]


@pytest.mark.parametrize("missed", [0, 1])
def test_bench_passes_its_options_on_and_exits_by_the_targets(
    missed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed: dict[str, Any] = {}

    def command(out: Path | None, **options: Any) -> int:
        passed.update(out=out, **options)
        passed["log"]("a line")
        return missed

    monkeypatch.setattr(benchmarks, "command", command)
    result = call("bench", "out.csv", "--full", "--threads", "1,2", "--only", "step,memory")
    assert (result.exit_code, result.output) == (missed, "a line\n")
    del passed["log"]
    wanted = {"out": Path("out.csv"), "full": True, "threads": [1, 2], "only": ["step", "memory"]}
    assert passed == wanted


def test_an_unknown_part_of_the_benchmark_is_a_users_error() -> None:
    result = call("bench", "--only", "backward")
    assert result.exit_code == 2
    assert "parts are copy, forward, step" in result.output


def test_outside_a_checkout_the_notebooks_of_the_package_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from memcom import course

    folders: list[Path] = []
    monkeypatch.setattr(course, "run_course", lambda _, folder, **options: folders.append(folder))
    monkeypatch.setattr(course, "summarise_runs", lambda runs: "")
    monkeypatch.chdir(tmp_path)
    assert "taking those that memcom brings" in call("run").stderr
    (tmp_path / "notebooks").mkdir()
    assert call("run").stderr == ""
    call("run", "--folder", "mine")
    assert folders == [ROOT / "notebooks", Path("notebooks"), Path("mine")]


def test_the_course_is_copied_for_a_base_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for module in EXTRAS["notebooks"].split():
        monkeypatch.setitem(sys.modules, module, None)
    result = call("course", str(tmp_path / "mine"))
    assert result.exit_code == 0, result.output
    copies = [Path(line) for line in result.stdout.splitlines()]
    assert [path.name for path in copies] == sorted(
        path.name for path in (ROOT / "notebooks").glob("*.ipynb")
    )
    assert all(path.is_file() for path in copies)
    assert "pip install 'memcom-kit[notebooks]'" in result.stderr
    refused = call("run", str(copies[0]))
    assert refused.exit_code == 1
    assert (
        "ipykernel, nbclient, nbformat, papermill: pip install 'memcom-kit[notebooks]'"
        in " ".join(refused.output.split())
    )
