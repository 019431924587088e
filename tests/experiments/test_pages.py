"""The generated pages: current, and their tables are those of the CSV files."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

pd = pytest.importorskip("pandas")
pytest.importorskip("scipy.stats")
pytest.importorskip("matplotlib")

from experiments.claims import Results
from experiments.pages import pictures, tables
from experiments.pages.__main__ import FAMILY, pages, read_spec, stale
from experiments.pages.numbers import Numbers, check, two_digits, words

RESULTS = Path(pictures.RESULTS)


@pytest.fixture(scope="module")
def results():
    return Results()


def cells(text):
    """The cells of the Markdown tables in a text, a list a line, without the rules."""
    lines = [line for line in text.splitlines() if re.match(r"\|[^:-]", line)]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_pages_and_pictures_are_current():
    every = [*pages(), *(picture.path for picture in pictures.ALL)]
    old = stale(path for path in every if path != FAMILY)
    assert not old, f"run python -m experiments.pages; not current: {', '.join(map(str, old))}"


@pytest.mark.slow
def test_the_table_of_all_methods_is_current():
    """Builds, plans and exports every method."""
    assert not stale([FAMILY]), f"run python -m experiments.pages {FAMILY}"


def test_every_sweep_has_its_specification_and_its_page():
    specs, sweeps = {path.stem for path in (RESULTS.parent).glob("*.toml")}, Results().sweeps
    assert set(sweeps) <= specs
    assert {RESULTS.parents[1] / "docs" / "results" / f"{n}.md" for n in sweeps} < set(pages())


def test_links_between_pages_lead_somewhere():
    docs = FAMILY.parent
    for page in (docs / "results").glob("*.md"):
        for target in re.findall(r"\]\(([\w-]+\.md|[./\w-]+\.png)\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), (page.name, target)


def test_losses_side_by_side_are_those_of_the_sweeps(results):
    head, *lines = cells(tables.losses(results, ["qr", "hash"]))
    assert head == ["data", "full", "qr", "hash"]
    assert len(lines) == 6
    for data, full, qr, hashing in lines:
        rows = pd.read_csv(RESULTS / data / "summary.csv").set_index(["method", "ratio"])
        assert float(full) == pytest.approx(rows.xs("full")["ndcg"].item(), abs=1e-4)
        for method, cell in (("qr", qr), ("hash", hashing)):
            assert float(cell) == pytest.approx(100 * rows.loc[(method, 16), "loss"], abs=0.051)


def test_a_sweep_page_has_every_row(results):
    for sweep in results.sweeps:
        rows = pd.read_csv(RESULTS / sweep / "summary.csv")
        text = tables.sweep_tables(results, sweep)
        done = [line for line in cells(text) if line[0] != "ratio"]
        finished = rows[rows["status"] == "finished"]
        assert len(done) == len(finished)
        assert sorted(line[1] for line in done) == sorted(finished["method"])
        assert text.count("\n- `") == len(rows) - len(finished)


def test_a_rate_or_an_epoch_at_the_end_of_what_was_tried_says_so(results):
    head, *lines = cells(tables.sweep_tables(results, "gowalla"))
    rows = pd.read_csv(RESULTS / "gowalla" / "summary.csv").dropna(subset=["learning_rate"])
    trained = [line for line in lines if line[head.index("rate")]]
    for line, row in zip(trained, rows.itertuples(), strict=True):
        end = row.learning_rate_end
        end = f", {end}" if isinstance(end, str) else ""
        assert line[head.index("rate")] == f"{row.learning_rate:g}{end}"
        last = ", last" if row.last_epoch > row.seeds / 2 else ""
        assert line[head.index("epoch")] == f"{row.best_epoch:.0f}{last}"


def test_times_have_columns_where_they_were_taken(results):
    assert "lookup" in cells(tables.sweep_tables(results, "every-method"))[0]
    assert "lookup" not in cells(tables.sweep_tables(results, "ml-1m"))[0]


def test_numbers_in_a_sweep_page_are_those_of_the_file(results):
    head, *lines = cells(tables.sweep_tables(results, "ml-1m"))
    assert head[:4] == ["ratio", "method", "bytes", "whole model"]
    assert head[4:7] == ["ndcg (95 %)", "loss, % (95 %)", "p"]
    expected = ["16×", "qr", "59,136", "1,022,696 (1.87×)"]
    expected += ["0.3813 (0.3747 to 0.3881)", "+3.9 (+3.1 to +4.8)", "0.0027"]
    assert expected in [[cell.replace("\u00a0", " ") for cell in line[:7]] for line in lines]
    assert "16× (21×)" in {line[0] for line in lines if line[1] == "low-rank"}


def test_whole_models_shrink_less_than_their_tables(results):
    head, *lines = cells(tables.whole_models(results))
    assert len(lines) == 6
    trials = pd.read_csv(RESULTS / "ml-1m" / "trials.csv")
    full, own = (
        trials[trials["method"] == method]["total_nbytes"][trials["ratio"].fillna(16) == 16].iloc[0]
        for method in ("full", "memcom")
    )
    line = next(dict(zip(head, each, strict=True)) for each in lines if each[0] == "ml-1m")
    assert line["whole model"] == f"{full:,}"
    assert line["with the table at 16×"] == f"{own:,} ({full / own:.2f}×)"
    assert 1.8 < full / own < 2


def test_references_stand_beside_the_full_table_of_each_data_set(results):
    head, *lines = cells(tables.references(results))
    found = [dict(zip(head, line, strict=True)) for line in lines]
    models = [line["model"] for line in found if line["data"] == "ml-1m"]
    assert set(models) >= {tables.REFERENCES[name] for name in ("full", "int8", "int4", "ease")}
    rows = pd.read_csv(RESULTS / "references" / "summary.csv").set_index(["data", "method"])
    ease = next(line for line in found if (line["data"], line["model"]) == ("ml-1m", "EASE"))
    assert ease["bytes"] == f"{4 * 3706**2:,}"
    value = float(ease["nDCG@10 (95 %)"].split("\u00a0")[0])
    assert value == pytest.approx(rows.loc[("ml-1m", "ease"), "ndcg"], abs=1e-4)
    assert value == pytest.approx(0.431, abs=5e-4)  # with l2 = 1000
    assert rows.loc[("ml-1m", "ease"), "l2"] == 1000
    assert rows.loc[("ml-1m", "itemknn"), "ndcg"] == pytest.approx(0.367, abs=5e-4)
    assert rows.loc[("ml-1m", "int4"), "compression_ratio"] == pytest.approx(7.11, abs=0.01)


def test_a_trial_that_sweeps_share_counts_once(results):
    trials = results.trials
    unique = trials["key"].nunique()
    assert unique < len(trials)
    assert tables.made(trials).startswith(f"{unique:,} trials, 0 failed, seeds 0, 1, 2;")


@pytest.mark.parametrize(("count", "end"), [(3, "commit c0 and c1 and c2."), (4, "4 commits.")])
def test_few_versions_are_named_and_many_are_counted(results, count, end):
    trials = results.trials.drop_duplicates("key")
    commits = [f"c{place % count}" for place in range(len(trials))]
    assert tables.made(trials.assign(commit=commits)).endswith(end)


def test_a_specification_is_split_into_words_and_content(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("# A title\n# of two lines.\n#   memcom sweep mine.toml\n# Notes.\nseeds = 3\n")
    assert read_spec(path) == (
        "mine", "A title of two lines.", "memcom sweep mine.toml", "Notes.", "seeds = 3",
    )  # fmt: skip


def test_numbers_in_sentences(results):
    numbers = Numbers(results)
    rows = pd.read_csv(RESULTS / "ml-1m" / "summary.csv").set_index(["method", "ratio"])
    assert numbers.loss("ml-1m", "qr", 16) == 100 * rows.loc[("qr", 16), "loss"]
    assert numbers.each("ml-1m gowalla", "qr", 16) == "3.9 and 8.9"
    assert numbers.least("ml-1m", 16) == "qr"
    assert numbers.versus("ml-1m", "qr", "hash", 4, 16) == "yes"
    with pytest.raises(LookupError, match="no qr at 40"):
        numbers.loss("ml-1m", "qr", 40)
    assert [two_digits(each) for each in (11.44, 9.96, 3.91, 0.382)] == ["11", "10", "3.9", "0.4"]
    assert words(["a", "b", "c"]) == "a, b and c"


def test_numbers_over_several_sweeps(results):
    """Rank correlation and counts of pairs, straight from the files."""
    from scipy import stats

    numbers = Numbers(results)
    losses = [
        pd.read_csv(RESULTS / sweep / "summary.csv").set_index(["ratio", "method"])["loss"].xs(at)
        for sweep, at in (("every-method", 8), ("every-method-lastfm", 16))
    ]
    both = pd.concat(losses, axis=1).dropna().to_numpy()
    expected = stats.spearmanr(both[:, 0], both[:, 1]).statistic
    assert numbers.agreement(8) == (pytest.approx(expected), len(both))
    pairs = pd.read_csv(RESULTS / "every-method-lastfm" / "pairs.csv")
    better = ((pairs["method"] == "memcom") & (pairs["loss_high"] < 0)).sum()
    assert numbers.standing("every-method-lastfm", "memcom")["better"] == better
    trials = pd.read_csv(RESULTS / "gowalla" / "trials.csv")
    at_rate = trials[(trials["method"] == "full") & (trials["learning_rate"] == 0.01)]
    assert numbers.at_rate("gowalla", "full", 0.01) == pytest.approx(at_rate["ndcg"].mean())


def test_numbers_that_notebook_08_quotes(results):
    path = FAMILY.parents[1] / "notebooks" / "08_sweep.ipynb"
    cells = [cell for cell in json.loads(path.read_text("utf-8"))["cells"]]
    text = " ".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    text, n = " ".join(text.split()), Numbers(results)

    def loss(data, method):
        return n.pct(data, method, 16)

    books = [n.loss("amazon-book-part", m, 16) for m in ("truncate", "hash", "memcom")]
    gained = n.at_rate("gowalla", "full", 0.003) / n.at_rate("gowalla", "full", 0.01) - 1
    at_one_rate = 1 - n.at_rate("gowalla", "memcom", 0.01, 16) / n.at_rate("gowalla", "full", 0.01)
    for sentence in (
        f"the head has {n.head('lastfm-2k')} of all plays",
        f"{loss('lastfm-2k', 'truncate')} % at 16×, where hashing loses {loss('lastfm-2k', 'hash')}"
        f" % and MEmCom {loss('lastfm-2k', 'memcom')} %",
        f"the head has {n.head('google-local')} and half of the places have 17 visits",
        f"loses {loss('google-local', 'truncate')} %; MEmCom loses {loss('google-local', 'memcom')}"
        " %, and quotient–remainder, the least "
        f"of those tried, {loss('google-local', 'qr')} %",
        f"lose {min(books):.0f} to {max(books):.0f} %, it loses {loss('amazon-book-part', 'qr')} %",
        f"it loses {n.loss('lastfm-2k', 'qr', 16):.0f} %.",
        f"MEmCom at 16× loses {100 * at_one_rate:.0f} %. At 0.003 the full table is better by "
        f"{100 * gained:.0f} %",
        f"each at its own rate it loses {loss('gowalla', 'memcom')} %",
    ):
        assert sentence in text


def test_a_sentence_that_no_longer_holds_stops_the_page():
    assert check(True) == ""
    with pytest.raises(ValueError, match="no longer agrees"):
        check(False)


def test_what_was_tuned_has_columns(tmp_path):
    rows = pd.read_csv(RESULTS / "gowalla" / "summary.csv")
    place = rows.columns.get_loc("best_epoch")
    rows.insert(place, "std", np.where(rows["learning_rate"].isna(), np.nan, 0.05))
    rows.insert(place + 1, "std_end", np.where(rows["method"] == "qr", "lowest", None))
    (tmp_path / "gowalla").mkdir()
    rows.to_csv(tmp_path / "gowalla" / "summary.csv", index=False)
    for name in ("pairs.csv", "trials.csv"):
        shutil.copy(RESULTS / "gowalla" / name, tmp_path / "gowalla" / name)
    for path in RESULTS.glob("*.csv"):
        shutil.copy(path, tmp_path / path.name)
    head, *lines = cells(tables.sweep_tables(Results(tmp_path), "gowalla"))
    found = {line[head.index("method")]: line[head.index("std")] for line in lines}
    assert (found["popular"], found["full"], found["qr"]) == ("", "0.05", "0.05, lowest")
