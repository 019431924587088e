"""Data sets: known ones by name, your own by path; ids by descending frequency, fixed splits.

>>> from memcom import data
>>> ratings = data.load("movielens")
>>> ratings.num_items
9066
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from typing import Any

from memcom._annotations import check_types
from memcom._check import did_you_mean, whole
from memcom._extras import MissingExtra
from memcom.data.containers import TEST, TRAIN, VALID, Interactions, LabelledBags, LabelledRows
from memcom.data.criteo import load_criteo, load_criteo_10k
from memcom.data.files import is_file_name, load_file
from memcom.data.frames import is_table
from memcom.data.movielens import load_ml_1m, load_ml_100k, load_movielens
from memcom.data.obtain import ChecksumError, DownloadError, fetch
from memcom.data.pairs import (
    load_amazon_book_part,
    load_google_local,
    load_gowalla,
    load_lastfm_2k,
)
from memcom.data.registry import data_sets, describe
from memcom.data.synthetic import load_synthetic
from memcom.data.synthetic_clicks import load_synthetic_clicks
from memcom.data.tables import load_babynames, load_nycflights
from memcom.data.text import load_20newsgroups, load_ucla_courses

__all__ = [
    "TEST",
    "TRAIN",
    "VALID",
    "ChecksumError",
    "DownloadError",
    "Interactions",
    "LabelledBags",
    "LabelledRows",
    "describe",
    "fetch",
    "load",
    "names",
]

_LOADERS: dict[str, Callable[..., Any]] = {
    "movielens": load_movielens,
    "ml-100k": load_ml_100k,
    "ml-1m": load_ml_1m,
    "gowalla": load_gowalla,
    "google-local": load_google_local,
    "lastfm-2k": load_lastfm_2k,
    "amazon-book-part": load_amazon_book_part,
    "20newsgroups": load_20newsgroups,
    "ucla-courses": load_ucla_courses,
    "babynames": load_babynames,
    "nycflights": load_nycflights,
    "criteo": load_criteo,
    "criteo-10k": load_criteo_10k,
    "synthetic": load_synthetic,
    "synthetic-clicks": load_synthetic_clicks,
}


def names() -> list[str]:
    """List the names that `load` knows, in the order of the registry."""
    return list(data_sets())


def load(name: Any, **options: Any) -> Any:
    """Load a data set: a known one, your own CSV, TSV or Parquet file, or a table in memory.

    >>> from memcom import data
    >>> data.load([("ann", "tea"), ("ann", "milk"), ("bob", "tea")]).num_items
    2

    Args:
        name: One of `names`, or a path to a file (see `memcom.data.files.load_file`); or a table
            of pandas, Polars or Arrow; or pairs of a user and an item: an array ``(rows, 2)``, two
            arrays, an iterable of pairs.
        **options: Options of the set's loader, for a file ``user_col="...", item_col="..."``.

    Returns:
        `Interactions`, `LabelledRows` or `LabelledBags`.

    Raises:
        ValueError: If there is no such set, or an option is out of its range.
        TypeError: If ``name`` is nothing of the kind, an option is of another type, or the set has
            none of that name; the message lists the known ones.
        MissingExtra: If a package of the extra "data" is not installed.
    """
    by_name = isinstance(name, str | os.PathLike)
    loader = _LOADERS.get(str(name)) if by_name else load_file
    arguments: tuple[Any, ...] = () if by_name else (name,)
    if not by_name:
        name = "a table" if is_table(name) else "a list of pairs"
    if loader is None:
        if not is_file_name(name):
            known = ", ".join(names())
            raise ValueError(
                f"no data set is called {name!r}; there are {known}, or give the path of a "
                f".csv, .tsv or .parquet file{did_you_mean(str(name), names())}"
            )
        loader, arguments = load_file, (name,)
    known_options = list(inspect.signature(loader).parameters)[len(arguments) :]
    for option in options:
        if option not in known_options:
            there = ", ".join(known_options)
            raise TypeError(f"{name} has no option {option!r}; there are: {there}")
    options = check_types(loader, options)
    if "seed" in options:
        options["seed"] = whole("seed", options["seed"], 0, 2**62)
    try:
        return loader(*arguments, **options)
    except ModuleNotFoundError as error:
        raise MissingExtra(f"reading {name}", error.name, "data") from error
