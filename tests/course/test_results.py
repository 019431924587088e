"""The committed results are found, in a checkout as in an installed package."""

from __future__ import annotations

import pytest

from memcom import course, sweep

pd = pytest.importorskip("pandas")


def test_the_folder_holds_what_notebook_08_reads():
    folder = course.results_folder()
    assert "ml-1m" in set(sweep.read_rows(folder)["sweep"])
    claims = pd.read_csv(folder / "claims.csv")
    assert set(claims["verdict"]) == {"yes", "no", "open", "not judged"}
    assert {"method", "compression_ratio", "loss"} <= set(pd.read_csv(folder / "published.csv"))
    assert {"data", "head_share"} <= set(pd.read_csv(folder / "data-sets.csv"))
