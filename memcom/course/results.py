"""The committed results, which notebook 08 reads."""

from __future__ import annotations

from pathlib import Path

from memcom._files import shipped


def results_folder() -> Path:
    """Return the folder of the sweeps that come with memcom, in a checkout or installed.

    Returns:
        A folder per sweep, to be read by `memcom.sweep.read_rows` and its like, and beside them
        ``claims.csv`` (every claim with its verdict), ``published.csv`` (the papers' figures) and
        ``data-sets.csv`` (sizes of the ranking data sets).

    Raises:
        FileNotFoundError: This installation has no results.
    """
    return shipped("experiments/results")
