"""The runner is strict where papermill is not. These tests start kernels."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

pytest.importorskip("papermill")

from memcom.course import ExerciseError, NotebookError, WidgetError
from memcom.course import run_notebook as run
from memcom.course.build.outputs import harvest
from memcom.course.exercises import CHECK_MIME
from tests.course.build import sample

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return sample.write(tmp_path_factory.mktemp("course"))


@pytest.fixture(scope="module")
def student(path):
    """A run as a student meets the notebook, toured."""
    before = path.read_bytes()
    result = run(path, {"NUM_IDS": 50}, tour=True)
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    return result


def outputs(result, tag):
    return sample.find(result.notebook, tag).outputs


def test_records_and_results_come_back(student):
    assert student.name == "00_sample"
    assert student.recorded == {"num_ids": 50, "profile": "fast"}
    assert [row["method"] for row in student.results] == ["full", "hash"]
    assert student.results[1]["nbytes"] == 50


def test_a_student_has_not_tried_and_sees_no_solution(student):
    assert student.checks == {"row": "not tried yet", "rows": "not tried yet"}
    assert not any("solution" in cell.metadata.tags for cell in student.notebook.cells[1:3])
    assert "min(a, m)" not in json.dumps(student.notebook)


def test_solutions_pass(path):
    result = run(path, solutions=True)
    assert result.checks == {"row": "passed", "rows": "passed"}
    assert result.recorded["num_ids"] == 1000


def test_solutions_can_come_after_a_students_run(path):
    result = run(path, solutions="last")
    cells = result.notebook.cells
    order = [tag for cell in cells for tag in cell.metadata.tags if tag in ("exercise", "solution")]
    assert order == ["exercise"] * 2 + ["solution"] * 2
    said = [check["status"] for _, check in harvest(result.notebook, CHECK_MIME)]
    assert said == ["not tried yet"] * 2 + ["passed"] * 2
    assert result.checks == {"row": "passed", "rows": "passed"}


def test_time_and_memory_are_measured(student):
    assert 0 < sum(student.cell_seconds) < student.seconds < 120
    assert len(student.cell_seconds) == len(student.notebook.cells)
    assert 50 * 2**20 < student.peak_rss_bytes < 2 * 2**30


def test_the_measuring_cells_are_gone(student):
    assert "memcom-harvest" not in json.dumps(student.notebook)
    assert "VmHWM" not in json.dumps(student.notebook)


def test_the_widget_state_is_there(student):
    state = student.notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"]
    (output,) = [entry for entry in state.values() if entry["model_name"] == "OutputModel"]
    assert "<img" in json.dumps(output)


def test_kernel_is_this_interpreter_in_the_notebooks_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    liar = tmp_path / "jupyter" / "kernels" / "python3"
    liar.mkdir(parents=True)
    spec = {"argv": ["/bin/false"], "display_name": "another Python", "language": "python"}
    (liar / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("MPLBACKEND", "agg")
    source = sample.small(
        "import os, sys, memcom, matplotlib\n"
        "from memcom.course import record\n"
        "record('executable', sys.executable)\n"
        "record('folder', os.getcwd())\n"
        "record('package', memcom.__file__)\n"
        "record('threads', os.environ['OMP_NUM_THREADS'])\n"
        "record('backend', matplotlib.get_backend())"
    )
    result = run(sample.write(tmp_path / "course", source))
    import memcom

    assert result.recorded == {
        "executable": sys.executable,
        "folder": str(tmp_path / "course"),
        "package": memcom.__file__,
        "threads": "1",
        "backend": result.recorded["backend"],
    }
    assert "inline" in result.recorded["backend"]
    assert os.getcwd() != result.recorded["folder"]


def test_peak_memory_is_the_kernels_own_and_sees_what_was_freed(tmp_path):
    ballast = bytearray(400 * 2**20)  # a large caller must not count
    ballast[:: 2**12] = b"x" * len(ballast[:: 2**12])
    small = run(sample.write(tmp_path, sample.small("1"), "01_small"))
    large = sample.small("x = b'x' * (300 * 2**20)\ndel x")
    result = run(sample.write(tmp_path, large, "02_large"))
    assert len(ballast) == 400 * 2**20
    grown = result.peak_rss_bytes - small.peak_rss_bytes
    assert 280 * 2**20 < grown < 330 * 2**20
    assert small.peak_rss_bytes < 400 * 2**20


@pytest.mark.parametrize(
    ("parameters", "error", "text"),
    [
        ({"NUM_ID": 3}, ValueError, "no parameter 'NUM_ID'; it has PROFILE, NUM_IDS"),
        ({"NUM_IDS": "3"}, TypeError, "NUM_IDS must be int, not '3'"),
        ({"NUM_IDS": True}, TypeError, "NUM_IDS must be int, not True"),
        ({"PROFILE": 3}, TypeError, "PROFILE must be str, not 3"),
        ({"PROFILE": "quick"}, ValueError, "PROFILE must be one of 'fast', 'full', got 'quick'"),
        ({"NUM_IDS": 0}, ValueError, "NUM_IDS must be >= 1, got 0"),
    ],
)
def test_wrong_parameters_stop_before_anything_runs(path, parameters, error, text, monkeypatch):
    import papermill

    monkeypatch.setattr(papermill, "execute_notebook", None)
    with pytest.raises(error, match=text):
        run(path, parameters)


def test_papermill_alone_meets_the_same_check(path, tmp_path):
    import papermill

    with pytest.raises(papermill.PapermillExecutionError, match="NUM_IDS must be >= 1, got 0"):
        papermill.execute_notebook(
            path, tmp_path / "out.ipynb", {"NUM_IDS": 0}, kernel_name="python3", progress_bar=False
        )


def test_an_error_carries_the_cells_own_traceback(tmp_path):
    source = sample.small("def deep(x):\n    return x / 0", "print('so far')\ndeep(NUM_IDS)")
    with pytest.raises(NotebookError) as caught:
        run(sample.write(tmp_path, source))
    text = str(caught.value)
    assert "00_sample.ipynb: cell 2 raised ZeroDivisionError: division by zero" in text
    assert "deep(NUM_IDS)" in text
    assert "return x / 0" in text
    assert "\x1b" not in text


def test_a_slow_cell_is_stopped(tmp_path):
    source = sample.small("import threading\nthreading.Event().wait()")
    with pytest.raises(NotebookError, match="a cell took over 2 s"):
        run(sample.write(tmp_path, source), timeout=2)


def test_a_dead_kernel_is_an_error(tmp_path):
    source = sample.small("import os\nos._exit(9)")
    with pytest.raises(NotebookError, match="the kernel died"):
        run(sample.write(tmp_path, source))


def test_a_notebook_that_leaves_half_way_is_an_error(tmp_path):
    source = sample.small("import sys\nsys.exit(0)", "1")
    with pytest.raises(NotebookError, match="stopped before its last cell"):
        run(sample.write(tmp_path, source))


def test_a_record_twice_is_an_error(tmp_path):
    twice = "from memcom.course import record\nrecord('a', 1)\nrecord('a', 2)"
    with pytest.raises(NotebookError, match="records 'a' a second time"):
        run(sample.write(tmp_path, sample.small(twice)))


def test_a_wrong_solution_is_an_error_only_where_solutions_run(tmp_path):
    notebook = sample.build()
    solution = sample.find(notebook, "solution")
    solution.source = solution.source.replace("a % m", "a + m")
    path = sample.write(tmp_path, notebook)
    with pytest.raises(ExerciseError, match=r"row: failed\nid 7 reads row 2 of 5"):
        run(path, solutions=True)
    assert run(path).checks["row"] == "not tried yet"


FAILING_AT_256 = 'figure = Figure(figsize=(5, 3))\n    assert num_buckets != 256, "planted"'


def test_a_tour_finds_a_failing_callback(tmp_path):
    notebook = sample.build()
    for cell in notebook.cells:
        cell.source = cell.source.replace("figure = Figure(figsize=(5, 3))", FAILING_AT_256)
    path = sample.write(tmp_path, notebook)
    run(path)  # the default picture is fine
    with pytest.raises(WidgetError, match="Buckets 256, Style line: AssertionError: planted"):
        run(path, tour=True)


def test_the_saved_state_tells_of_a_callback_that_nothing_else_reports(tmp_path):
    source = sample.small(
        "from ipywidgets import interact\n"
        "def callback(x=1):\n"
        "    raise ZeroDivisionError('planted')\n"
        "interact(callback, x=(0, 3));"
    )
    with pytest.raises(WidgetError) as caught:
        run(sample.write(tmp_path, source))
    assert "ZeroDivisionError: planted" in str(caught.value)
    assert "the widget of cell 1" in str(caught.value)
    assert "in callback" in str(caught.value)
