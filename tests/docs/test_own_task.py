"""The task of docs/howto/own-task.md enters a sweep."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest

from memcom import data
from memcom.sweep import Spec, run, write_report
from tests.docs.test_sources import DOCS

pytest.importorskip("joblib")


@pytest.fixture
def rating(tmp_path, monkeypatch):
    """Write the page's first block as the module that the page names."""
    page = (DOCS / "howto" / "own-task.md").read_text(encoding="utf-8")
    (tmp_path / "rating.py").write_text(re.search(r"```python\n(.*?)```", page, re.DOTALL)[1])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "rating", raising=False)
    yield "rating:TASK"
    sys.modules.pop("rating", None)


def test_the_task_of_the_page_is_swept(rating, tmp_path):
    pd = pytest.importorskip("pandas")
    random = np.random.default_rng(0)
    user, item = random.integers(20, size=600), random.integers(60, size=600)
    table = pd.DataFrame({"user": user, "item": item, "stars": 1.0 + item % 5})
    ratings = data.load(table, user_col="user", item_col="item", rating_col="stars")
    spec = Spec(
        task=rating,
        methods=("qr",),
        ratios=(2.0,),
        seeds=2,
        profile="fast",
        learning_rates=(0.01,),
        options={"epochs": 2, "embedding_dim": 8},
        baselines=("small-dim",),
    )
    (table,) = run(spec, tmp_path, data=ratings, progress=False)
    (found,) = write_report([table], tmp_path).rows
    rows = {row.method: row for row in found}
    assert set(rows) == {"full", "qr", "small-dim"}
    assert {row.status for row in found} == {"finished"}
    assert {row.seeds for row in found} == {2}
    assert all(0 < row.value.value < 9 for row in found), [row.value for row in found]
    assert rows["qr"].nbytes <= rows["full"].nbytes / 2
