"""Numbers and tables in words: bytes, durations, and rows as Markdown or for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tabulate import tabulate

_UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def in_bytes(nbytes: float) -> str:
    """Return bytes with three digits and a decimal unit: 2560000000 is ``"2.56 GB"``."""
    for size, unit in _UNITS:
        if nbytes >= 0.9995 * size:
            return f"{nbytes / size:.3g} {unit}"
    return f"{nbytes:.3g} B"


def duration(seconds: float) -> str:
    """Return a duration in the unit that suits it: ``"45 s"``, ``"12 min"``, ``"3.5 h"``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


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
