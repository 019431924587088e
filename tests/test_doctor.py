"""The doctor finds what is planted, and says how to mend it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from memcom import doctor
from memcom._extras import EXTRAS
from memcom.doctor import Finding

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = [
    "torch>=2.4",
    "tomli>=2.0; python_version < '3'",
    "pandas>=2.2; extra == 'data'",
    "matplotlib>=3.8; extra == 'notebooks'",
    "numba>=0.60; extra == 'fast'",
    "ruff>=0.6; extra == 'dev'",
]


def statuses(findings: list[Finding]) -> list[str]:
    return [finding.status for finding in findings]


def judge(versions: dict[str, str], *demanded: str) -> dict[str, Finding]:
    """Findings on planted versions, by the package each begins with; the good ones as "ok"."""

    def version_of(name: str) -> str:
        if name not in versions:
            raise PackageNotFoundError(name)
        return versions[name]

    findings = doctor.check_requirements(REQUIREMENTS, demanded, version_of)
    return {"ok" if f.status == "ok" else f.what.split()[0]: f for f in findings}


def test_good_packages_are_one_line() -> None:
    found = judge({"torch": "2.13.0+cpu", "pandas": "3.1", "matplotlib": "3.8", "numba": "0.60"})
    assert set(found) == {"ok"}
    assert "torch 2.13.0+cpu" in found["ok"].what
    assert found["ok"].what.startswith("4 packages")


def test_versions_are_compared_as_numbers() -> None:
    # as text "2.13" < "2.4" and "2.10" < "2.2"
    assert "pandas" not in judge({"torch": "2.13", "pandas": "2.10", "numba": "0.61"})
    assert "torch" in judge({"torch": "2.3.9"})


def test_an_old_package_fails_even_in_an_extra() -> None:
    found = judge({"torch": "2.4.0", "pandas": "1.5.3"})
    assert found["pandas"] == Finding(
        "FAIL", "pandas 1.5.3 does not meet >=2.2", "pip install 'pandas>=2.2'"
    )


def test_a_missing_core_package_fails() -> None:
    finding = judge({"pandas": "2.2"})["torch"]
    assert (finding.status, finding.remedy) == ("FAIL", "pip install 'torch>=2.4'")


def test_a_missing_extra_is_a_note_unless_it_is_demanded() -> None:
    note = judge({"torch": "2.4"})["extras"]
    assert note.status == "note"
    assert "data (the known data sets), notebooks (the course)" in note.what
    assert note.remedy.endswith("[data,notebooks,fast]'")
    found = judge({"torch": "2.4"}, "notebooks")
    assert found["matplotlib"].status == "FAIL"
    assert found["extras"].remedy.endswith("[data,fast]'")


def test_a_remedy_is_of_the_installation() -> None:
    """A wheel's user has no constraints, no "." and no Makefile."""
    assert doctor._install(["data"], checkout=False) == "pip install 'memcom-kit[data]'"
    there = doctor._install(["data", "fast"], checkout=True)
    assert there.endswith("pip install -c constraints.txt -e '.[data,fast]'")


def test_a_base_install_passes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    extra = {module for modules in EXTRAS.values() for module in modules.split()}
    for module in [*extra, *(name for name in sys.modules if name.partition(".")[0] in extra)]:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delenv("MEMCOM_DATA", raising=False)
    monkeypatch.setattr("memcom.data.registry._CHECKOUT", tmp_path)
    here, away = doctor.check_data(None)
    assert (here.status, away.status) == ("ok", "note")
    (kernel,) = doctor.check_kernel(False, sys.executable)
    assert (kernel.status, kernel.what) == ("note", "Jupyter is not installed")


def test_findings_as_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    findings = [Finding("ok", "good"), Finding("FAIL", "bad", "mend it")]
    monkeypatch.setattr(doctor, "diagnose", lambda: findings)
    assert doctor.run_doctor(as_json=True) == 1
    assert json.loads(capsys.readouterr().out) == [
        {"status": "ok", "what": "good", "remedy": ""},
        {"status": "FAIL", "what": "bad", "remedy": "mend it"},
    ]


def test_the_kit_itself_must_be_installed() -> None:
    (finding,) = doctor.check_requirements(None)
    assert finding.status == "FAIL"
    assert "pip install" in finding.remedy


def test_an_old_python_fails() -> None:
    assert statuses(doctor.check_python((3, 10, 18), "python")) == ["FAIL"]
    assert statuses(doctor.check_python((3, 11, 0), "python")) == ["ok"]


def test_the_kernel_must_be_this_python(tmp_path: Path) -> None:
    """Two environments made from one Python have the same file behind their links."""
    here, other = tmp_path / "a" / "bin" / "python", tmp_path / "b" / "bin" / "python3"
    for link in (here, other):
        link.parent.mkdir(parents=True)
        link.symlink_to(sys.executable)
    same = str(here.with_name("python3"))

    def verdict(kernel: str | None) -> str:
        (finding,) = doctor.check_kernel(True, str(here), lambda: kernel)
        return finding.status

    assert verdict(same) == "ok"
    assert verdict(str(other)) == "FAIL"
    assert verdict(None) == "FAIL"
    (finding,) = doctor.check_kernel(True, str(here), lambda: str(other))
    assert finding.remedy == f"{here} -m ipykernel install --sys-prefix"


def test_no_jupyter_fails_only_where_it_is_demanded() -> None:
    def find() -> str:
        raise ImportError("jupyter_client")

    assert statuses(doctor.check_kernel(True, sys.executable, find)) == ["FAIL"]
    assert statuses(doctor.check_kernel(False, sys.executable, find)) == ["note"]


def test_the_kernel_of_another_environment_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel that somebody once registered under the name python3 hides the right one."""
    kernel = tmp_path / "kernels" / "python3"
    kernel.mkdir(parents=True)
    (kernel / "kernel.json").write_text(
        '{"argv": ["/elsewhere/bin/python", "-f", "{connection_file}"], "display_name": "Python 3"}'
    )
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    assert doctor.kernel_python() == "/elsewhere/bin/python"
    assert statuses(doctor.check_kernel(True, sys.executable)) == ["FAIL"]


def test_data_folder_that_is_a_file_fails(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    (finding,) = doctor.check_data(str(tmp_path / "data"))
    assert finding.status == "FAIL"
    assert "MEMCOM_DATA" in finding.remedy


def test_data_sets_on_this_machine_are_told_from_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMCOM_DATA", str(tmp_path))
    here, away = doctor.check_data(str(tmp_path))
    assert (here.status, away.status) == ("ok", "note")
    assert "synthetic" in here.what
    assert "criteo-10k" in away.what


def test_little_room_fails() -> None:
    gib = 2.0**30
    assert statuses(doctor.check_room(8 * gib, 8 * gib)) == ["ok", "ok"]
    assert statuses(doctor.check_room(0.5 * gib, 8 * gib)) == ["FAIL", "ok"]
    assert statuses(doctor.check_room(None, 0.1 * gib)) == ["note", "FAIL"]


def test_an_unknown_extra_is_refused() -> None:
    with pytest.raises(ValueError, match="'notebook'; there are sweep, data, notebooks"):
        doctor.diagnose(["notebook"])


def test_a_finding_shows_its_remedy_below() -> None:
    text = str(Finding("FAIL", "torch is missing", "pip install torch"))
    assert text == "[FAIL] torch is missing\n       -> pip install torch"


def test_report_is_one_line_or_the_failures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    findings = [Finding("ok", "good"), Finding("note", "odd")]
    monkeypatch.setattr(doctor, "diagnose", lambda demanded=(): findings)
    assert doctor.print_failures()
    assert capsys.readouterr().out.startswith("[ok] Python 3.")
    assert doctor.run_doctor() == 0
    findings.append(Finding("FAIL", "planted", "mend it"))
    capsys.readouterr()
    assert not doctor.print_failures()
    assert capsys.readouterr().out == "[FAIL] planted\n       -> mend it\n"
    assert doctor.run_doctor() == 1
    assert "1 failed" in capsys.readouterr().out


@pytest.mark.slow
def test_a_broken_torch_is_diagnosed(tmp_path: Path) -> None:
    """`import memcom` needs torch; the doctor must be able to speak without."""
    (tmp_path / "torch.py").write_text("raise OSError('libtorch_cpu.so: cannot open')")
    done = subprocess.run(
        [sys.executable, str(ROOT / "memcom" / "doctor.py")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    assert "[FAIL] torch does not import: libtorch_cpu.so" in done.stdout
    assert "->" in done.stdout


@pytest.mark.slow
def test_this_machine_passes() -> None:
    """What `make setup` prints last; the machine that runs the tests is a good one."""
    done = subprocess.run(
        [sys.executable, "-m", "memcom.doctor"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All is well." in done.stdout
    assert done.stdout.count("[ok]") >= 6
