"""The command `memcom`: right arguments down, right words and exit codes up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import benchmarks
import memcom
from memcom._extras import MissingExtra
from memcom.cli import main

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def test_help_names_every_command() -> None:
    result = call("--help")
    assert result.exit_code == 0
    commands = "bench clean compare course data doctor lint plan run site sweep warm-up"
    for name in commands.split():
        assert f"\n  {name} " in result.output


def test_help_loads_no_heavy_room() -> None:
    code = "import sys, memcom.cli; print([m for m in sys.modules if m.startswith('memcom.')])"
    rooms = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    for heavy in ("course", "data", "plots", "profiling", "sweep", "tasks"):
        assert f"'memcom.{heavy}" not in rooms


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
        (("plan", "nope", "1000", "64", "--ratio", "4"), "nope"),
        (("plan", "qr(wrong=1)", "1000", "64", "--ratio", "4"), "wrong"),
        (("plan", "qr(", "1000", "64", "--ratio", "4"), "qr("),
        (("plan", "memcom", "1000", "64"), "--ratio"),
        (("plan", "memcom", "1000", "64", "--ratio", "4", "--nbytes", "1 MB"), "--nbytes"),
        (("plan", "memcom", "0", "64", "--ratio", "4"), "x>=1"),
        (("data", "info", "nope"), "nope"),
        (("data", "fetch", "synthetic"), "synthetic"),
        (("compare", "--methods", "full,qr(operation='add'"), "--methods"),
        (("compare", "--ratio", "0.5"), "x>=1"),
        (("run", "--profile", "medium"), "medium"),
    ],
)
def test_a_users_error_is_one_line(arguments: tuple[str, ...], part: str) -> None:
    result = call(*arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    (line,) = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    assert part in line


def test_the_traceback_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMCOM_TRACEBACK", "1")
    result = call("plan", "memcom", "1000", "64", "--ratio", "100")
    assert isinstance(result.exception, memcom.BudgetError)


def test_a_missing_notebook_folder_is_said(tmp_path: Path) -> None:
    site = str(tmp_path / "site")
    result = call("run", "--folder", str(tmp_path), "--site", site)
    assert result.exit_code == 2
    assert str(tmp_path) in result.output
    assert call("site", "--site", site, "--docs", str(tmp_path)).exit_code == 2


def test_data_list_is_the_registry() -> None:
    registry = tomllib.loads((ROOT / "data" / "registry.toml").read_text(encoding="utf-8"))
    assert call("data", "list").output.split() == list(registry)
    for name, entry in registry.items():
        assert entry["licence"] in call("data", "info", name).output


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `compare` passes on, in place of hours of training."""
    from memcom import sweep

    passed: dict[str, Any] = {}

    def run(spec: sweep.Spec, out: Path, **options: Any) -> list[sweep.Table]:
        passed.update(options, spec=spec, out=out)
        return []

    monkeypatch.setattr(sweep, "run", run)
    monkeypatch.setattr(
        sweep, "write_report", lambda *_, **__: sweep.Report({"report": "r"}, [], [])
    )
    return passed


def test_compare_passes_its_options_on(compared: dict[str, Any]) -> None:
    result = call(
        *("compare", "--data", "pairs.csv", "--user-col", "reader", "--item-col", "paper"),
        *("--ratio", "4", "--ratio", "16", "--methods", "full, qr(operation='add',head=9)"),
        *("--seeds", "2", "--profile", "fast", "--split", "random", "--out", "here"),
    )
    assert result.exit_code == 0, result.output
    assert result.output.rstrip().endswith("report: r")
    spec = compared["spec"]
    columns = {"user_col": "reader", "item_col": "paper", "split": "random"}
    assert [(each.name, each.options) for each in spec.data] == [("pairs.csv", columns)]
    assert (spec.ratios, spec.seeds, spec.profile) == ((4.0, 16.0), 2, "fast")
    assert spec.methods == ("qr(head=9, operation='add')",)
    assert (compared["out"], compared["times"]) == (Path("here"), True)


def test_compare_has_defaults(compared: dict[str, Any]) -> None:
    assert call("compare").exit_code == 0
    spec = compared["spec"]
    assert ([each.name for each in spec.data], spec.ratios) == (["movielens"], (16.0,))
    assert set(spec.methods) > set(memcom.available()) - {"full"}
    assert (spec.seeds, spec.profile) == (3, "full")


def failing(error: Exception, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The result of `compare` where the sweep raises."""

    def fail(*spec: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr("memcom.sweep.run", fail)
    return call("compare")


@pytest.mark.parametrize("error", [KeyError("x"), ModuleNotFoundError("no", name="memcom.x")])
def test_our_own_faults_keep_their_traceback(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert failing(error, monkeypatch).exception is error


def test_a_missing_extra_points_to_the_doctor(monkeypatch: pytest.MonkeyPatch) -> None:
    error = ModuleNotFoundError("No module named 'pandas.io'", name="pandas.io")
    result = failing(error, monkeypatch)
    assert result.exit_code == 2
    assert "memcom.doctor" in result.output


def test_warm_up_prints_where_the_kernels_are(monkeypatch: pytest.MonkeyPatch) -> None:
    from memcom import kernels

    if kernels.warm_up():
        result = call("warm-up")
        assert result.exit_code == 0
        assert list(Path(result.output.strip()).glob("memcom_*_bag.json"))
    monkeypatch.setattr(kernels, "warm_up", lambda: False)
    result = call("warm-up")
    assert result.exit_code == 2
    assert "plain PyTorch" in result.output


def test_an_extra_that_is_named_stays_named(monkeypatch: pytest.MonkeyPatch) -> None:
    result = failing(MissingExtra("the engine 'ray'", "ray", "cluster"), monkeypatch)
    assert result.exit_code == 2
    assert "pip install 'memcom-kit[cluster]'" in " ".join(result.output.split())
    assert "memcom.doctor" not in result.output


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
    result = call(
        "bench", "out.csv", "--full", "--threads", "1", "--threads", "2", "--only", "step"
    )
    assert (result.exit_code, result.output) == (missed, "a line\n")
    del passed["log"]
    wanted = {"out": Path("out.csv"), "full": True, "threads": (1, 2), "only": ("step",)}
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
    call("run")
    (tmp_path / "notebooks").mkdir()
    call("run")
    call("run", "--folder", "mine")
    assert folders == [ROOT / "notebooks", Path("notebooks"), Path("mine")]
