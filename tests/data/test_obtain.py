"""Downloads from a server on this machine that can lie and cut short."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from memcom.data.obtain import ChecksumError, DownloadError, download, fetch, obtain
from memcom.data.registry import DataSet, File, FileSet

CONTENT = bytes(range(256)) * 400


@dataclass
class Server:
    """Contents by path, and the paths that were asked for."""

    url: str = ""
    contents: dict[str, bytes] = field(default_factory=dict)
    cut_at: int | None = None  # break the connection after this many bytes, once
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.path)
            content = state.contents.get(self.path)
            if content is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            end, state.cut_at = state.cut_at, None
            self.wfile.write(content[:end])

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
    thread.start()
    state.url = f"http://127.0.0.1:{listening.server_address[1]}"
    yield state
    listening.shutdown()
    thread.join()
    listening.server_close()


@pytest.fixture
def remote(server, register):
    """A set of one file that is on the server only."""
    folder, files = register("crafted", {"a.bin": CONTENT}, url=server.url, place=False)
    server.contents["/a.bin"] = CONTENT
    return folder, files["a.bin"]


def test_fetch_downloads_checks_and_shows_the_terms_once(server, remote, capsys):
    folder, _ = remote
    assert fetch("crafted") == folder
    assert (folder / "a.bin").read_bytes() == CONTENT
    shown = capsys.readouterr().err
    assert "terms of the test" in shown
    assert "cite the test" in shown
    fetch("crafted")
    assert "terms of the test" not in capsys.readouterr().err
    assert len(server.asked) == 1


def left(folder):
    """Names of the files in a folder."""
    return [path.name for path in folder.iterdir() if path.name != ".lock"]


def test_a_file_changed_upstream_is_refused_and_not_kept(server, remote):
    folder, file = remote
    server.contents["/a.bin"] = CONTENT[:-1] + b"?"
    with pytest.raises(ChecksumError) as caught:
        fetch("crafted")
    message = str(caught.value)
    assert file.hash is not None
    assert file.hash.removeprefix("sha256:") in message
    assert "changed upstream" in message
    assert left(folder) == []


def test_a_broken_connection_is_an_error_and_the_next_try_starts_afresh(server, remote):
    folder, _ = remote
    server.cut_at = 70_000
    with pytest.raises(DownloadError, match=r"http.*a\.bin"):
        fetch("crafted")
    assert left(folder) == []
    fetch("crafted")
    assert server.asked == ["/a.bin", "/a.bin"]
    assert (folder / "a.bin").read_bytes() == CONTENT


def test_a_missing_page_says_what_to_do(server, remote):
    server.contents.clear()
    with pytest.raises(DownloadError, match=r"404.*put it at .*a\.bin"):
        fetch("crafted")


def test_a_server_that_is_not_there_is_one_short_reason(server, tmp_path):
    closed = server.url.rpartition(":")[0] + ":9"  # discard: nobody listens
    with pytest.raises(DownloadError, match=r"did not come through: \[Errno \d+\] [\w ]+\. Try"):
        download(File("b", None, f"{closed}/b"), tmp_path / "b")


def test_an_md5_is_as_good_as_a_sha256(server, tmp_path):
    server.contents["/b"] = b"hello"
    file = File("b", "md5:5d41402abc4b2a76b9719d911017c592", f"{server.url}/b")
    download(file, tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"hello"
    with pytest.raises(ChecksumError, match="expected md5:00"):
        download(replace(file, hash="md5:00"), tmp_path / "c")
    assert left(tmp_path) == ["b"]


@pytest.mark.parametrize(
    ("damaged", "message"),
    [
        (CONTENT[:-5], "expected 102,400 bytes, got 102,395"),
        (b"x" + CONTENT[1:], "expected sha256"),
    ],
)
def test_a_damaged_file_in_place_is_never_used(register, damaged, message):
    folder, _ = register("crafted", {"a.bin": CONTENT})
    (folder / "a.bin").write_bytes(damaged)
    with pytest.raises(ChecksumError, match=message) as caught:
        fetch("crafted")
    assert "Delete it" in str(caught.value)


def test_a_set_without_a_url_says_where_to_put_the_file(register):
    folder, _ = register("crafted", {"a.bin": CONTENT}, place=False)
    with pytest.raises(FileNotFoundError, match=r"put a\.bin into") as caught:
        fetch("crafted")
    assert str(folder) in str(caught.value)


def test_an_unknown_form_lists_the_known_ones(register):
    register("crafted", {"a.bin": CONTENT})
    with pytest.raises(ValueError, match="'zip'; there are archive"):
        obtain("crafted", form="zip")


def test_a_made_set_has_nothing_to_fetch():
    with pytest.raises(ValueError, match="no files to fetch"):
        fetch("synthetic")


def package_entry(package: str, digest: str) -> DataSet:
    form = FileSet("inside", (File("__init__.py", digest),), package=package, version="1.2.3")
    return DataSet("inside", "t", "rows", "package", "", "l", "c", (form,))


def test_a_package_that_is_not_installed_says_how_to_install_it(monkeypatch):
    entry = package_entry("no_such_package_here", "sha256:00")
    monkeypatch.setattr("memcom.data.registry.data_sets", lambda: {"inside": entry})
    with pytest.raises(FileNotFoundError, match=r"pip install 'no_such_package_here==1\.2\.3'"):
        fetch("inside")


def test_another_version_of_a_package_is_refused_before_it_is_read(monkeypatch):
    entry = package_entry("json", "sha256:00")
    monkeypatch.setattr("memcom.data.registry.data_sets", lambda: {"inside": entry})
    with pytest.raises(ChecksumError, match=r"expected sha256 00.*pip install 'json==1\.2\.3'"):
        fetch("inside")
