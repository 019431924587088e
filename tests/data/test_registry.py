from __future__ import annotations

import re
import subprocess
import sys

import pytest

from memcom import data
from memcom.data.registry import data_root, data_sets, find_set

NAMES = [
    "movielens",
    "ml-100k",
    "ml-1m",
    "gowalla",
    "google-local",
    "lastfm-2k",
    "amazon-book-part",
    "20newsgroups",
    "ucla-courses",
    "babynames",
    "nycflights",
    "criteo",
    "criteo-10k",
    "synthetic",
    "synthetic-clicks",
]


def test_all_sets_are_there_and_each_has_a_loader():
    assert data.names() == NAMES
    assert set(data._LOADERS) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_entry_is_complete(name):
    entry = find_set(name)
    assert entry.kind in ("interactions", "rows", "bags")
    assert entry.obtained in ("download", "package", "made", "own file")
    assert entry.licence
    assert entry.citation
    downloadable = False
    for form in entry.forms:
        assert form.files
        for file in form.files:
            if name != "criteo":  # the one set whose file has no trustworthy checksum
                assert file.hash is not None
                assert re.fullmatch(r"sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}", file.hash)
            if file.url:
                assert file.url.startswith("https://")
        downloadable |= all(file.url for file in form.files)
        assert bool(form.package) == (entry.obtained == "package")
    assert downloadable == (entry.obtained == "download")


@pytest.mark.parametrize("name", NAMES)
def test_describe_tells_terms_and_files(name):
    text = data.describe(name)
    entry = data_sets()[name]
    for part in (entry.title, entry.licence, entry.citation):
        assert part in text
    for form in entry.forms:
        for file in form.files:
            assert file.path in text


def test_describe_tells_the_sizes():
    text = data.describe("movielens")
    assert "100,004 rows, 671 users, 9,066 items" in text
    assert "97,310 distinct name" in data.describe("babynames")


@pytest.mark.parametrize("call", [data.describe, data.fetch, data.load])
def test_an_unknown_name_lists_the_known_ones(call):
    with pytest.raises(ValueError, match=r"'movielense'.*movielens, ml-100k"):
        call("movielense")


def test_an_unknown_option_lists_the_known_ones():
    with pytest.raises(TypeError, match=r"'ratio'.*num_items"):
        data.load("synthetic", ratio=3)


def test_a_missing_package_names_the_extra(monkeypatch, tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("u,i\n1,2\n")
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ModuleNotFoundError, match=r"pandas: pip install 'memcom-kit\[data\]'"):
        data.load(path, user_col="u", item_col="i")


def test_importing_the_room_loads_nothing_heavy():
    program = (
        "import sys; import memcom.data;"
        "print(sorted({'pandas', 'pooch', 'requests', 'pyarrow'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"


def test_memcom_data_decides_where_sets_lie(monkeypatch, tmp_path):
    monkeypatch.setenv("MEMCOM_DATA", str(tmp_path))
    assert data_root() == tmp_path
    monkeypatch.delenv("MEMCOM_DATA")
    assert data_root().is_absolute()


def test_without_a_checkout_the_folder_is_the_systems_cache(monkeypatch, tmp_path):
    pooch = pytest.importorskip("pooch")
    monkeypatch.delenv("MEMCOM_DATA", raising=False)
    monkeypatch.setattr("memcom.data.registry._CHECKOUT", tmp_path)
    found = data_root()
    assert str(found).startswith(str(pooch.os_cache("memcom").parent))
    assert found.name == "memcom"
