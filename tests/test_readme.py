"""The front door: short, its code prints what it says, tables are current, links lead on."""

from __future__ import annotations

import contextlib
import io
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= 200


def test_the_python_blocks_print_what_stands_below_them() -> None:
    pairs = re.findall(r"```python\n(.*?)```\n+```text\n(.*?)```", README, flags=re.DOTALL)
    assert len(pairs) == len(re.findall("```python", README)) >= 1
    scope: dict[str, object] = {}
    for code, wanted in pairs:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, "README.md", "exec"), scope)
        assert printed.getvalue() == wanted


TEXT = re.sub(r"```.*?```|`[^`\n]*`", "", README, flags=re.DOTALL)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#]+)\)", TEXT))))
def test_links_lead_somewhere(target: str) -> None:
    assert target.startswith("https://") or (ROOT / target).exists()


def test_commands_exist() -> None:
    from memcom.cli import main

    shell = "".join(re.findall(r"```sh\n.*?```|`[^`\n]*`", README, flags=re.DOTALL))
    commands = set(re.findall(r"(?:^|`|/)memcom ([a-z-]+)", shell, flags=re.MULTILINE))
    assert len(commands) > 3
    assert commands <= set(main.commands)
    targets = set(re.findall(r"`?make ([a-z]+)", README))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(re.search(rf"^{target}:", makefile, flags=re.MULTILINE) for target in targets)


def test_tables_and_picture_are_those_of_the_results() -> None:
    pytest.importorskip("pandas")
    from experiments.claims.results import Results
    from experiments.pages import tables

    results = Results()
    for table in (tables.choice(results), tables.losses(results, tables.FEW)):
        assert table in README
        assert len(table.splitlines()) <= 15


def test_it_lists_every_notebook_by_its_title() -> None:
    for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")):
        title = json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"][0]
        name = title.removeprefix("# ").strip().partition(":")[0]
        assert f"[{path.stem[:2]} {name}](notebooks/{path.name})" in README


def test_the_map_names_every_room() -> None:
    lines = README.partition("## Map of the code")[2].partition("##")[0]
    rooms = {
        path.name + "/" * path.is_dir()
        for path in (ROOT / "memcom").iterdir()
        if not path.name.startswith("_")
        and (path.suffix == ".py" or (path / "__init__.py").exists())
    }
    named = set(re.findall(r"[a-z]+(?:/|\.py)", lines))
    assert rooms - named == set()
