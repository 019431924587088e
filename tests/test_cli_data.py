"""A broken data file on the command line: one line that names the file and a remedy that exists."""

from __future__ import annotations

import ast
import gzip
import inspect
import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import memcom
from memcom.cli import main
from memcom.data.files import load_file
from memcom.sweep import spec_of

pytest.importorskip("pandas")

HEADER = "user;item;time\n"
TEXT = HEADER + "".join(f"u{row % 7};i{row % 11};{row}\n" for row in range(50))
COMMA = TEXT.replace(";", ",")
PACKED = gzip.compress(COMMA.encode())
CASES = {
    "semicolon": ("own.csv", TEXT.encode(), []),
    "text": ("own.txt", TEXT.replace(";", "\t").encode(), []),
    "latin-1": ("own.csv", COMMA.replace("u3", "ü").encode("latin-1"), []),
    "utf-16": ("own.csv", COMMA.encode("utf-16"), []),
    "cut short": ("own.csv.gz", PACKED[: len(PACKED) // 2], []),
    "no xz": ("own.csv.xz", b"nonsense", []),
    "no zst": ("own.csv.zst", b"nonsense", []),
    "trailing": ("own.csv", COMMA.replace("\n", ",\n").replace("time,", "time").encode(), []),
    "no parquet": ("own.parquet", b"nonsense", []),
    "binary": ("own.csv", bytes(range(256)), []),
    "encoding": ("own.csv", COMMA.encode(), ["--encoding", "klingon"]),
    "separator": ("own.csv", COMMA.encode(), ["--separator", "::"]),
    "class": ("own.csv", COMMA.encode(), ["--label-col", "nothing"]),
}


def options_of(command: click.Command) -> set[str]:
    own = {name for parameter in command.params for name in parameter.opts}
    if isinstance(command, click.Group):
        own = own.union(*(options_of(each) for each in command.commands.values()))
    return own


def sweep(path: Path, *more: str):
    words = ["sweep", "--dry-run", "--data", str(path), "--user-col", "user", "--item-col", "item"]
    words += [
        "--engine",
        "local",
        "--profile",
        "fast",
        "--methods",
        "hash",
        "--out",
        str(path) + "s",
    ]
    return CliRunner().invoke(main, [*words, *more])


@pytest.mark.parametrize("case", CASES)
def test_a_broken_file_is_one_line_that_names_it(tmp_path, case):
    name, content, more = CASES[case]
    (tmp_path / name).write_bytes(content)
    result = sweep(tmp_path / name, *more)
    assert result.exit_code == 2, result.output
    message = result.output.partition("Error: ")[2]
    assert name in message or case in message
    assert len(message.splitlines()) == 1
    named = set(re.findall(r"--[a-z][a-z-]+", message))
    assert named <= options_of(main.commands["sweep"])


@pytest.mark.parametrize(
    ("name", "content", "more"),
    [
        ("own.csv", TEXT, ["--separator", ";"]),
        ("own.txt", TEXT.replace(";", "\t"), ["--separator", r"\t"]),
        ("own.dat", TEXT.replace(";", "\t"), ["--separator", "tab"]),
    ],
)
def test_separator_and_encoding_can_be_given(tmp_path, name, content, more):
    (tmp_path / name).write_bytes(content.replace("u3", "ü").encode("latin-1"))
    result = sweep(tmp_path / name, "--encoding", "latin-1", *more)
    assert result.exit_code == 0, result.output


def test_every_option_of_the_loader_has_one_on_the_command_line():
    loader = set(inspect.signature(load_file).parameters) - {"path", "seed"}
    for name in ("sweep", "advise"):
        options = options_of(main.commands[name])
        assert {f"--{option.replace('_', '-')}" for option in loader} <= options, name


@pytest.mark.parametrize(("least", "code"), [("0", 0), ("9.5", 0), ("50", 2)])
def test_rows_rated_lower_are_left_out(tmp_path, least, code):
    (tmp_path / "own.csv").write_text(COMMA)
    result = sweep(tmp_path / "own.csv", "--rating-col", "time", "--min-rating", least)
    assert result.exit_code == code, result.output
    assert ("no row is left (of 50)" in result.output) == bool(code)


def test_clicks_of_ones_own_are_swept(tmp_path):
    lines = [f"{row % 7},{row % 11},{row % 3},{row},{row % 2}" for row in range(200)]
    (tmp_path / "own.csv").write_text("\n".join(["user,item,page,price,click", *lines]))
    columns = ("--label-col", "click", "--field-cols", "page", "--dense-cols", "price")
    result = sweep(tmp_path / "own.csv", "--task", "clicks", *columns, "--ratios", "1.1")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("least", [0.0, 2.5])
def test_a_least_rating_of_nought_is_passed_on(least):
    columns = {"user_col": "u", "field_cols": ["page"], "min_rating": least, "split": None}
    found = spec_of(None, data="own.csv", columns=columns).data[0].options
    assert found == {"user_col": "u", "field_cols": ["page"], "min_rating": least}


def test_no_message_of_the_library_names_an_option_that_no_command_has():
    known = options_of(main)
    package = Path(memcom.__file__).parent
    others = {"cli", "course", "doctor.py"}  # they name options of other programs, too
    for path in sorted(package.rglob("*.py")):
        if path.relative_to(package).parts[0] in others:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
                named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", node.value))
                assert named <= known, (path, node.lineno, named - known)
