"""``memcom compare``: load, compare, print, write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from memcom.data import Interactions, load
from memcom.experiments.compare import Comparison, compare
from memcom.experiments.report import format_comparison, write


def compare_command(
    *,
    data: str = "movielens",
    user_col: str | None = None,
    item_col: str | None = None,
    time_col: str | None = None,
    split: str | None = None,
    ratios: Sequence[float] = (16.0,),
    methods: Sequence[str] | None = None,
    seeds: int = 3,
    profile: str = "full",
    out: Path | str = "results/compare",
    jobs: int | None = None,
) -> Comparison:
    """Compare compressors on a data set and print and write the table.

    Args:
        data: A registered data set of interactions, or the path of a CSV, TSV or Parquet file.
        user_col: Column of the user in your own file.
        item_col: Column of the item.
        time_col: Column of the time.
        split: ``"time"`` or ``"random"``; None is the data set's own.
        ratios: Compression ratios.
        methods: Compressors; every one of the registry if None.
        seeds: Seeds per method.
        profile: ``"fast"`` or ``"full"``.
        out: Folder for ``compare.csv`` and ``compare.json``.
        jobs: Trials at a time; None is one per core.

    Returns:
        The comparison.

    Raises:
        TypeError: The data set has labels and no interactions; there is nothing to rank.
        ValueError: An option makes no sense.
    """
    given = {"user_col": user_col, "item_col": item_col, "time_col": time_col, "split": split}
    loaded = load(data, **{name: value for name, value in given.items() if value})
    if not isinstance(loaded, Interactions):
        raise TypeError(
            f"{data} is {type(loaded).__name__}; compare ranks items and needs pairs of user "
            "and item, as in movielens, or a file with user_col and item_col"
        )
    comparison = compare(
        loaded, ratios=ratios, methods=methods, seeds=seeds, profile=profile, jobs=jobs
    )
    print(format_comparison(comparison))
    print("\nwritten:", ", ".join(str(path) for path in write(comparison, out)))
    return comparison
