"""Text for people: bytes, durations and tables in words, and others' words in Markdown and HTML.

Names of files, items and methods come from outside. They enter a page through `escape`, `markdown`,
`code` or `fenced` only, so that they are shown and do nothing.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal

from tabulate import tabulate

from memcom._check import shown, whole

_SIZE = re.compile(
    r"\s*([0-9]{1,3}(?:,[0-9]{3})+|[0-9]+(?:_[0-9]+)*)(\.[0-9]+)?\s*(?:(?:([kmgt])(i?))?b)?\s*",
    re.IGNORECASE | re.ASCII,
)
_MOST_BYTES = 2**63 - 1
_UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def in_bytes(nbytes: float) -> str:
    """Return bytes with three digits and a decimal unit: 2560000000 is ``"2.56 GB"``."""
    for size, unit in _UNITS:
        if nbytes >= 0.9995 * size:
            return f"{nbytes / size:.3g} {unit}"
    return f"{nbytes:.3g} B"


def parse_nbytes(text: int | str) -> int:
    """Read bytes from a number or from text such as ``"1.5 MB"`` (10^6) or ``"64 KiB"`` (2^10).

    Args:
        text: A number of bytes, or a number with one of the units B, kB, MB, GB, TB, KiB, MiB, GiB,
            TiB, in capitals or not.

    Returns:
        Whole bytes, rounded down.

    Raises:
        ValueError: If it is no number with a known unit, or not 1 to 2^63 - 1 bytes. A comma stands
            between thousands only; "1,5 MB" is written "1.5 MB".
    """
    if isinstance(text, int) and not isinstance(text, bool):
        return whole("a size in bytes", text, 1, _MOST_BYTES)
    match = None if isinstance(text, bool) else _SIZE.fullmatch(str(text)[:100])
    if match is None:
        raise ValueError(
            "a size is written like 1500000, '1,500,000', '1.5 MB' or '64 KiB' (a point before "
            f"decimals, commas between thousands), got {shown(text)}"
        )
    digits, decimals, unit, binary = match.groups()
    number = Decimal(digits.replace(",", "") + (decimals or ""))
    power = "kmgt".index(unit.lower()) + 1 if unit else 0
    nbytes = int(number * (1024 if binary else 1000) ** power)
    if not 1 <= nbytes <= _MOST_BYTES:
        raise ValueError(f"a size must be 1 to 2^63 - 1 bytes, got {shown(text)}")
    return nbytes


def duration(seconds: float) -> str:
    """Return a duration in the unit that suits it: ``"45 s"``, ``"12 min"``, ``"3.5 h"``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def escape(text: str) -> str:
    """Return text for HTML, between tags or in an attribute in double quotes."""
    return html.escape(text, quote=False).replace('"', "&quot;")


def markdown(text: str) -> str:
    """Return text on one line that Markdown shows letter by letter, in a table's cell, too."""
    line = escape(" ".join(text.split()))
    return re.sub(
        r"[|`*~$\[\]{}\\]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])",
        lambda found: f"&#{ord(found[0])};",
        line,
    )


def code(text: str) -> str:
    """Return text on one line as a code span of Markdown."""
    line = " ".join(text.split())
    ticks = "`" * (1 + _longest_ticks(line))
    space = " " if "`" in line else ""
    return f"{ticks}{space}{line}{space}{ticks}"


def fenced(text: str, language: str = "") -> str:
    """Return lines as a code block of Markdown."""
    fence = "`" * max(3, 1 + _longest_ticks(text))
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def table(
    rows: Sequence[Mapping[str, str]], *, style: str = "markdown", right: Sequence[str] = ()
) -> str:
    """Return rows of ready-made cells as a table; the only place that lays one out.

    Args:
        rows: A mapping of column to cell each; columns stand in the order they are first met, and a
            missing cell is empty.
        style: ``"markdown"``, or ``"plain"`` for a terminal.
        right: Columns aligned to the right, as numbers are.

    Returns:
        The lines, without a newline at the end; empty without rows.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return tabulate(
        [[row.get(name, "") for name in columns] for row in rows],
        headers=columns,
        tablefmt={"markdown": "pipe", "plain": "plain"}[style],
        colalign=["right" if name in right else "left" for name in columns] if rows else None,
        disable_numparse=True,
    )


def _longest_ticks(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)
