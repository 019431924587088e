"""The comparison as text for a terminal, and as CSV and JSON for everything else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from memcom.experiments.files import write_csv, write_json
from memcom.experiments.rows import Comparison, Row, by_ratio
from memcom.experiments.trials import Result

_HEADER = (
    "method",
    "bytes",
    "ratio",
    "output bytes",
    "nDCG@{k}",
    "±95%",
    "loss %",
    "95% interval",
    "lookup",
    "step",
    "rate",
)


def format_comparison(comparison: Comparison, *, k: int = 10) -> str:
    """The whole comparison as text: facts, the margin over the controls, the table.

    Args:
        comparison: From `compare`.
        k: The k of nDCG@k, for the heading.

    Returns:
        Lines of text.
    """
    lines = [f"{name}: {fact}" for name, fact in comparison.about.items()]
    lines += ["", margin_line(comparison), ""]
    cells: list[Sequence[str] | str] = [[name.format(k=k) for name in _HEADER]]
    for ratio, rows in by_ratio(comparison.rows):
        cells.append("controls and full table" if ratio is None else f"ratio {ratio:g}")
        cells += [_cells(row) for row in rows]
    lines += _aligned(cells)
    best = [row for row in comparison.rows if not row.failed and row.seeds == 1]
    if len(best) > 1:
        lines += ["", "one seed: there is no interval over seeds; use --seeds 3 or more"]
    return "\n".join(lines)


def margin_line(comparison: Comparison) -> str:
    """One sentence: how far the full table is above the controls, and whether that is clear."""
    if not comparison.margins:
        return "WARNING: no margin over the controls, because the full table or they have failed"
    parts = [
        f"{100 * margin.value:+.1f} % over {control} ({100 * margin.low:+.1f} to "
        f"{100 * margin.high:+.1f})"
        for control, margin in comparison.margins.items()
    ]
    text = f"full table: nDCG {', '.join(parts)}, 95 % over users"
    if comparison.carries_signal:
        return text
    return (
        f"WARNING: {text}. It does not clearly beat the controls: this task carries little signal, "
        "and differences between compressors below mean little"
    )


def write(comparison: Comparison, folder: Path | str) -> list[Path]:
    """Write ``compare.csv``, the table, and ``compare.json``, everything with every trial.

    Args:
        comparison: From `compare`.
        folder: Created if it is not there.

    Returns:
        The two paths.

    Raises:
        OSError: They cannot be written.
    """
    rows = [asdict(row) for row in comparison.rows]
    everything = {
        "data": comparison.data,
        "about": comparison.about,
        "carries_signal": comparison.carries_signal,
        "margins": {name: margin._asdict() for name, margin in comparison.margins.items()},
        "rows": rows,
        "trials": [_trial(result) for result in comparison.results],
    }
    folder = Path(folder)
    return [
        write_csv(folder / "compare.csv", rows),
        write_json(folder / "compare.json", everything),
    ]


def _trial(result: Result) -> dict[str, Any]:
    fields = asdict(result)
    ndcg, recall = fields.pop("ndcg"), fields.pop("recall")
    scores = {"ndcg": float(ndcg.mean()), "recall": float(recall.mean())} if len(ndcg) else {}
    return {**fields, **scores}


def _cells(row: Row) -> Sequence[str]:
    if row.failed:
        return [row.method, f"failed: {row.failed}"]
    return [
        row.method,
        f"{row.nbytes:,}",
        f"{row.compression_ratio:.2f}" if row.compression_ratio else "-",
        f"{row.output_nbytes:,}",
        f"{row.ndcg:.4f}",
        _number(row.ndcg_interval, ".4f"),
        "0" if row.method == "full" else _number(100 * row.loss, "+.1f"),
        "" if row.method == "full" else f"{100 * row.loss_low:+.1f} to {100 * row.loss_high:+.1f}",
        _number(row.lookup_time, ".2f"),
        _number(row.step_time, ".2f"),
        _number(row.learning_rate, "g"),
    ]


def _number(value: float, spec: str) -> str:
    return "-" if math.isnan(value) else format(value, spec)


def _aligned(lines: list[Sequence[str] | str]) -> list[str]:
    """Columns padded to one width, numbers to the right; a plain string is a heading."""
    whole = [cells for cells in lines if len(cells) == len(_HEADER) and not isinstance(cells, str)]
    widths = [max(map(len, column)) for column in zip(*whole, strict=True)]
    text = []
    for cells in lines:
        if isinstance(cells, str):
            text += ["", cells]
            continue
        first = cells[0].ljust(widths[0])
        if len(cells) == len(_HEADER):
            rest = "  ".join(c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True))
        else:
            rest = "  ".join(cells[1:])
        text.append(f"{first}  {rest}".rstrip())
    return text
