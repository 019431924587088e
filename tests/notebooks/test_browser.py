"""A notebook in JupyterLab, in a real browser: run it, move a slider, see another picture."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from memcom.course.build.kernel import kernel_environment
from tests.browsing import CHROMIUM, opened
from tests.course.build import sample

SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false"},  # the offer covers the page
    "notebook-extension/tracker": {"windowingMode": "none"},  # or cells out of sight are not drawn
}
PICTURE = ".jupyter-widgets img"
FAILURE = '[data-mime-type="application/vnd.jupyter.stderr"]:has-text("Traceback (most recent")'
FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
FIRST = sorted(FOLDER.glob("[0-9][0-9]_*.ipynb"))[:1]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine"),
]
playwright_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A JupyterLab with its own configuration on a folder; gives the folder and its address."""
    tmp_path = tmp_path_factory.mktemp("lab")
    root = tmp_path / "notebooks"
    root.mkdir()
    for name, setting in SETTINGS.items():
        file = tmp_path / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(setting))
    port = free_port()
    environment = {
        **os.environ,
        **kernel_environment(),
        "JUPYTER_CONFIG_DIR": str(tmp_path / "config"),
        "JUPYTER_DATA_DIR": str(tmp_path / "data"),
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(tmp_path / "workspaces"),
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    with (tmp_path / "lab.log").open("w") as log:
        server = subprocess.Popen(
            [
                *(sys.executable, "-m", "jupyterlab", "--no-browser"),
                *("--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}"),
                *("--ServerApp.port_retries=0", f"--ServerApp.root_dir={root}"),
                *("--IdentityProvider.token=", "--ServerApp.password="),
                "--ServerApp.allow_root=True",
            ],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_for(f"http://127.0.0.1:{port}/api", server, tmp_path / "lab.log")
            yield root, f"http://127.0.0.1:{port}/lab"
        finally:
            server.terminate()
            server.wait(timeout=30)


def wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.1)  # the server is another process; there is nothing to wait on
    raise AssertionError(f"JupyterLab did not start:\n{log.read_text()}")


def open_and_run(browser: Any, address: str, name: str) -> Any:
    """Open a notebook and run all its cells.

    It gets a workspace of its own: a shared one brings back the notebook of the test before, which
    may then be the one that runs.
    """
    page = browser.new_page()
    page.goto(f"{address}/workspaces/{name}/tree/{name}.ipynb")
    idle = '.jp-Notebook-ExecutionIndicator[data-status="idle"]'
    page.wait_for_selector(idle, timeout=60_000)
    page.get_by_text("| Idle", exact=False).first.wait_for(timeout=60_000)  # the status bar
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    return page


def wait_for_picture(page: Any, timeout: float) -> Any:
    """The first picture of a widget; an error shown instead is an error here, at once."""
    found = page.wait_for_selector(f"{PICTURE}, {FAILURE}", timeout=timeout * 1000)
    assert page.locator(FAILURE).count() == 0, page.locator(FAILURE).first.inner_text()
    return found


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    with opened(tmp_path / "profile", width=1200) as context:
        yield context


def test_a_notebook_is_alive(lab: tuple[Path, str], browser: Any, tmp_path: Path) -> None:
    root, address = lab
    sample.write(root)
    page = open_and_run(browser, address, "00_sample")
    picture = wait_for_picture(page, 90)
    before = picture.get_attribute("src")
    assert picture.get_attribute("alt") == "64 buckets < 1000 ids, as line"

    # a slider changes the picture and its text
    page.locator(".jupyter-widgets .noUi-handle").first.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_selector(f'{PICTURE}[alt^="256 buckets"]', timeout=30_000)
    assert page.locator(PICTURE).first.get_attribute("src") != before
    status = page.locator('.jupyter-widgets [role="status"]').first
    assert "256 buckets < 1000 ids" in status.inner_text()
    assert page.locator(PICTURE).count() == 1  # replaced, not added

    # an exercise answers; the folded solution shows no code and says whose answer passed
    page.get_by_text("rows: not tried yet").wait_for(timeout=30_000)
    page.get_by_text("rows (the solution): passed").wait_for(timeout=30_000)
    assert page.get_by_text("return min(a, m)").count() == 0

    # record() puts nothing on the screen
    assert page.get_by_text("data type cannot be displayed").count() == 0
    assert page.get_by_text("application/vnd.memcom").count() == 0
    page.screenshot(path=str(tmp_path / "lab.png"))


@pytest.mark.parametrize("path", FIRST, ids=[path.stem for path in FIRST])
def test_a_notebook_of_the_course(path: Path, lab: tuple[Path, str], browser: Any) -> None:
    root, address = lab
    shutil.copy(path, root)
    page = open_and_run(browser, address, path.stem)
    wait_for_picture(page, 300)
    before = page.locator(PICTURE).first.get_attribute("src")
    handle = page.locator(".jupyter-widgets .noUi-handle").first
    handle.focus()
    for key in ("ArrowRight", "ArrowLeft"):  # the handle may stand at one end
        page.keyboard.press(key)
        try:
            page.wait_for_function(
                "([selector, old]) => document.querySelector(selector)?.src !== old",
                arg=[PICTURE, before],
                timeout=15_000,
            )
            return
        except playwright_api.TimeoutError:
            continue
    raise AssertionError("the picture stayed the same when the slider moved")
