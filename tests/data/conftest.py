from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import settings

import memcom.data.registry as registry_module
from memcom.data.registry import DataSet, File, FileSet, data_root, data_sets

# How long one example takes depends on what else the machine does (the first one imports pandas).
settings.register_profile("data", deadline=None)
settings.load_profile("data")


def need(name: str) -> None:
    """Skip unless a real data set is here; tests never download."""
    entry = data_sets()[name]
    for form in entry.forms:
        if form.package and find_spec(form.package):
            return
        if not form.package and all((data_root() / name / f.path).is_file() for f in form.files):
            return
    pytest.skip(f"{name} is not here (package not installed, or nothing in MEMCOM_DATA/{name})")


@pytest.fixture
def real() -> Callable[[str], None]:
    return need


@pytest.fixture
def register(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., tuple[Path, dict[str, File]]]:
    """Put crafted files into an empty MEMCOM_DATA as the only form of a set."""

    def add(
        name: str,
        contents: dict[str, bytes],
        *,
        form: str = "archive",
        url: str | None = None,
        place: bool = True,
    ) -> tuple[Path, dict[str, File]]:
        folder = tmp_path / "data" / name
        files = {}
        for path, content in contents.items():
            digest = hashlib.sha256(content).hexdigest()
            address = None if url is None else f"{url}/{path}"
            files[path] = File(path, f"sha256:{digest}", address, len(content))
            if place:
                folder.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(content)
        entry = DataSet(
            name=name,
            title="a crafted set",
            kind="interactions",
            obtained="download",
            homepage="the test",
            licence="terms of the test",
            citation="cite the test",
            forms=(FileSet(form, tuple(files.values())),),
        )
        monkeypatch.setenv("MEMCOM_DATA", str(tmp_path / "data"))
        monkeypatch.setattr(registry_module, "data_sets", lambda: {name: entry})
        return folder, files

    return add
