"""The wheel is whole: what it installs works outside a checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("hatchling")
pytest.importorskip("papermill")

import tomllib

import memcom

ROOT = Path(__file__).resolve().parents[1]

pytestmark = [pytest.mark.slow, pytest.mark.ci]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the wheel holds."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "installed")
    return folder / "installed"


def call(installed: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command from the unpacked wheel, somewhere else."""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-m", "memcom", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


def test_it_holds_no_more_than_it_should(installed: Path) -> None:
    names = {str(path.relative_to(installed)) for path in installed.rglob("*") if path.is_file()}
    assert {name.partition("/")[0] for name in names} <= {
        "memcom",
        f"memcom_kit-{memcom.__version__}.dist-info",
    }
    assert not [name for name in names if "__pycache__" in name or "checkpoint" in name]
    assert sum((installed / name).stat().st_size for name in names) < 20e6


def test_the_command_is_the_wheels(installed: Path, tmp_path: Path) -> None:
    assert memcom.__version__ in call(installed, tmp_path, "--version").stdout
    listed = call(installed, tmp_path, "data", "list").stdout.splitlines()
    registry = ROOT / "data" / "registry.toml"
    assert [line.split()[0] for line in listed] == list(
        tomllib.loads(registry.read_text(encoding="utf-8"))
    )
    wrong = call(installed, tmp_path, "bench", "--only", "nothing")
    assert wrong.returncode == 2
    assert "copy, forward" in wrong.stderr


def test_the_course_is_copied_and_its_last_chapters_run(installed: Path, tmp_path: Path) -> None:
    copied = call(installed, tmp_path, "course", "mine")
    originals = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == originals
    assert len(copied.stdout.splitlines()) == len(originals)
    done = call(installed, tmp_path, "run", "mine/08_sweep.ipynb", "--profile", "fast")
    assert done.returncode == 0, done.stderr
    assert "equal_to_library = true" in done.stdout
    (tmp_path / "mine" / originals[0]).write_text("solved", encoding="utf-8")
    again = call(installed, tmp_path, "course", "mine")
    assert again.returncode == 2
    assert originals[0] in again.stderr
