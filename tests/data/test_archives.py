"""Archives that are hostile, damaged, or change on the disk."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from memcom import data
from memcom.data import obtain as obtain_module
from memcom.data.obtain import ChecksumError, obtain, read_members

RATINGS = "1\t5\t3\t881250949\n2\t5\t4\t881250950\n"
FILMS = "5|Les (1995)|x\n"
MESSAGE = b"From: x\n\nlast words"


def packed(members):
    """A zip archive from pairs of name (or ZipInfo) and content."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


def tarred(members):
    """A packed tar archive from pairs of TarInfo (or name) and content."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for member, content in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


@pytest.fixture
def untouched(tmp_path):
    """Everything under the folder of the test and beside it, as it was before."""

    def state():
        around = [tmp_path, *tmp_path.rglob("*"), *tmp_path.parent.glob("*")]
        return {path: path.stat().st_size for path in around if path.is_file()}

    return state


@pytest.mark.parametrize("prefix", ["../../", "/evil/", "C:\\evil\\", "ml-100k/../../../", ""])
def test_names_in_a_zip_archive_lead_nowhere(register, untouched, prefix):
    members = [(f"{prefix}u.data", RATINGS), (f"{prefix}u.item", FILMS), (f"{prefix}else", "x")]
    if "\\" in prefix:
        members = [(name.replace("\\", "/"), text) for name, text in members]
    register("ml-100k", {"ml-100k.zip": packed(members)})
    before = untouched()
    assert data.load("ml-100k").item_names.tolist() == ["Les (1995)"]
    assert untouched() == before
    assert not Path("/evil").exists()


def test_a_link_in_a_zip_archive_is_not_followed(register, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text(RATINGS)
    link = zipfile.ZipInfo("ml-100k/u.data")
    link.external_attr = 0o120777 << 16
    register("ml-100k", {"ml-100k.zip": packed([(link, str(secret)), ("u.item", FILMS)])})
    with pytest.raises(ValueError, match=r"Unable to parse|invalid literal|[Ii]nteger"):
        data.load("ml-100k")


def test_two_files_of_one_name_are_refused(register):
    members = [("a/u.data", RATINGS), ("b/u.data", RATINGS), ("u.item", FILMS)]
    register("ml-100k", {"ml-100k.zip": packed(members)})
    with pytest.raises(ValueError, match=r"ml-100k\.zip holds two files called u\.data"):
        data.load("ml-100k")


def test_a_zip_bomb_is_refused_before_it_unpacks(register, monkeypatch):
    monkeypatch.setattr(obtain_module, "MAX_UNPACKED", 100_000)
    for sizes in ([100_001], [60_000, 60_000]):
        members = [(name, "1" * size) for name, size in zip(("u.data", "u.item"), sizes)]  # noqa: B905
        register("ml-100k", {"ml-100k.zip": packed(members)})
        with pytest.raises(ValueError, match=r"ml-100k\.zip unpacks to more than 100,000 bytes"):
            data.load("ml-100k")


def test_a_zip_archive_that_lies_about_its_size_is_damaged(register):
    content = packed([("u.data", "1" * 50_000), ("u.item", FILMS)])
    lie = content.replace((50_000).to_bytes(4, "little"), (50).to_bytes(4, "little"))
    assert lie != content
    for broken in (lie, content[:-30], b"PK\x03\x04", b"", content[:40] + b"?" * 9 + content[49:]):
        register("ml-100k", {"ml-100k.zip": broken})
        with pytest.raises(ValueError, match=r"ml-100k\.zip is damaged"):
            data.load("ml-100k")


def link_to(kind, name, target):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("prefix", ["../../", "/evil/", "20news/"])
def test_names_and_links_in_a_tar_archive_lead_nowhere(register, untouched, tmp_path, prefix):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    members = [
        (f"{prefix}20news-train/a.one/1", MESSAGE),
        (f"{prefix}20news-test/b.two/2", MESSAGE),
        *(
            (link_to(kind, f"{prefix}20news-train/a.one/3", str(secret)), b"")
            for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE)
        ),
    ]
    register("20newsgroups", {"20news-bydate.tar.gz": tarred(members)})
    before = untouched()
    bags = data.load("20newsgroups")
    assert len(bags) == 2
    assert "secret" not in bags.token_names
    assert untouched() == before
    assert not Path("/evil").exists()


@pytest.mark.parametrize("name", ["1", "a/b/c", "train/a/²"])
def test_a_message_of_another_name_is_refused(register, name):
    register("20newsgroups", {"20news-bydate.tar.gz": tarred([(name, MESSAGE)])})
    with pytest.raises(ValueError, match=rf"20news-bydate\.tar\.gz: expected .*'{name}'"):
        data.load("20newsgroups")


def test_a_tar_bomb_is_refused_before_it_unpacks(register, monkeypatch):
    monkeypatch.setattr(obtain_module, "MAX_UNPACKED", 100_000)
    bomb = tarred([("20news-train/a/1", b"x" * 200_000)])
    register("20newsgroups", {"20news-bydate.tar.gz": bomb})
    with pytest.raises(ValueError, match="unpacks to more than 100,000 bytes"):
        data.load("20newsgroups")


def test_a_damaged_tar_archive_is_named(register):
    whole = tarred([("20news-train/a/1", MESSAGE), ("20news-train/a/2", bytes(range(256)) * 99)])
    inside = gzip.decompress(whole)
    for broken in (b"", b"\x1f\x8b", whole[:-30], gzip.compress(inside[:2000]), b"no archive"):
        register("20newsgroups", {"20news-bydate.tar.gz": broken})
        with pytest.raises(ValueError, match=r"20news-bydate\.tar\.gz is damaged"):
            data.load("20newsgroups")


@pytest.mark.parametrize("content", [b"another", b"a", b"a crafted file, and more behind it"])
def test_a_file_that_changes_after_its_checksum_is_not_read(register, content):
    folder, files = register("crafted", {"u.data": b"a crafted file"}, form="unpacked")
    obtained = obtain("crafted")
    assert obtained.read() == b"a crafted file"
    assert hashlib.sha256(obtained.read()).hexdigest() == files["u.data"].hash.split(":")[1]
    (folder / "u.data").write_bytes(content)
    for read in (obtained.read, lambda: read_members(obtained, "u.data")):
        with pytest.raises(ChecksumError, match=r"u\.data: expected .*changed"):
            read()


@pytest.mark.parametrize("name", ["ml-100k", "20newsgroups", "gowalla"])
def test_no_loader_reads_a_file_by_its_path_after_the_check(register, monkeypatch, name):
    contents = {
        "ml-100k": {"ml-100k.zip": packed([("u.data", RATINGS), ("u.item", FILMS)])},
        "20newsgroups": {"20news-bydate.tar.gz": tarred([("20news-train/a/1", MESSAGE)])},
        "gowalla": {"train.txt": b"1 2 3\n", "valid.txt": b"1 4\n", "test.txt": b"1 5\n"},
    }[name]
    folder, _ = register(name, contents)
    checked = obtain_module._checked

    def swap(form, where):
        found = checked(form, where)
        for path in contents:  # another writes into the folder, after the check
            (folder / path).write_bytes(contents[path][::-1])
        return found

    monkeypatch.setattr(obtain_module, "_checked", swap)
    with pytest.raises(ChecksumError, match="changed"):
        data.load(name)
