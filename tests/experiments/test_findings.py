"""The statements: answered from tables made up so that the answers are known."""

from __future__ import annotations

from pathlib import Path

import pytest

pd = pytest.importorskip("pandas")
pytest.importorskip("scipy.stats")

from experiments.claims import Results, findings

COMMITTED = Path(__file__).resolve().parents[2] / "experiments" / "results"


def write(folder, sweep, rows, pairs=(), **table):
    """A sweep's files, from (method, ratio, loss) with intervals of one percent to each side."""
    path = folder / sweep
    path.mkdir()
    common = {"data": sweep, "task": "ranking"} | table
    pd.DataFrame(
        [
            common
            | {
                "method": method, "ratio": ratio, "status": "finished", "nbytes": 100,
                "compression_ratio": ratio, "ndcg": 0.1 * (1 - loss), "ndcg_low": 0.09,
                "ndcg_high": 0.11, "loss": loss, "loss_low": loss - 0.01, "loss_high": loss + 0.01,
                "abundance": 10 - 10 * loss, "num_distinct": 1000,
            }
            for method, ratio, loss in rows
        ]
    ).to_csv(path / "summary.csv", index=False)  # fmt: skip
    pd.DataFrame(
        [
            common
            | {
                "method": one, "other": other, "ratio": ratio, "loss": loss,
                "loss_low": loss - 0.01, "loss_high": loss + 0.01,
            }
            for one, other, ratio, loss in pairs
        ],
        columns=["data", "method", "other", "ratio", "loss", "loss_low", "loss_high"],
    ).to_csv(path / "pairs.csv", index=False)  # fmt: skip
    pd.DataFrame([common | {"seed": 0}]).to_csv(path / "trials.csv", index=False)


def answers(folder):
    return {found.statement: found for found in findings(Results(folder))}


def test_what_was_not_measured_is_said_to_be(tmp_path):
    write(tmp_path, "nothing", [("full", None, 0.0)])
    assert {found.answer for found in answers(tmp_path).values()} == {"not measured"}


def test_the_abstract_falls_with_one_data_set(tmp_path):
    write(tmp_path, "movielens", [("memcom", 16, 0.02), ("memcom", 4, 0.02)])
    write(tmp_path, "ml-1m", [("memcom", 16, 0.09)])
    found = answers(tmp_path)
    assert found["MEmCom loses at most 4 % of nDCG at 4×"].answer == "yes"
    at_16 = found["MEmCom loses at most 4 % of nDCG at 16×"]
    assert at_16.answer == "no"
    assert at_16.evidence == "movielens +2.0 % (+1.0 to +3.0); ml-1m +9.0 % (+8.0 to +10.0)"


def test_rivals_are_compared_in_pairs(tmp_path):
    write(tmp_path, "movielens", [("memcom", 16, 0.0)], [("memcom", "hash", 16, -0.05)])
    write(tmp_path, "ml-1m", [("memcom", 16, 0.0)], [("memcom", "hash", 16, -0.02)])
    found = answers(tmp_path)["MEmCom ranks better than hash at equal bytes"]
    assert found.answer == "yes"
    assert found.evidence.startswith("better in 2 of 2 tables, worse in 0")


def write_several(folder, sweep, tables):
    """A sweep of several data sets: rows as `write` takes them, by data set."""
    for number, (data, rows) in enumerate(tables.items()):
        part = folder / f"part-{number}"
        part.mkdir()
        write(part, sweep, rows, data=data)
    (folder / sweep).mkdir()
    for name in ("summary.csv", "pairs.csv", "trials.csv"):
        parts = [pd.read_csv(path) for path in sorted(folder.glob(f"part-*/{sweep}/{name}"))]
        pd.concat(parts).to_csv(folder / sweep / name, index=False)


def test_order_of_ids_is_a_difference_of_two_tables_of_one_data_set(tmp_path):
    losses = {"movielens": 0.02, "movielens shuffled": 0.12, "ml-1m": 0.05, "ml-1m shuffled": 0.06}
    tables = {data: [("memcom", 16, loss)] for data, loss in losses.items()}
    write_several(tmp_path, "order-of-ids", tables | {"lastfm-2k": [("memcom", 16, 0.5)]})
    (found,) = (f for s, f in answers(tmp_path).items() if s.startswith("Sorted ids are better"))
    assert found.answer == "open"
    assert found.evidence == (
        "movielens memcom 16× -10.0 % (-11.4 to -8.6); ml-1m memcom 16× -1.0 % (-2.4 to +0.4)"
    )


@pytest.mark.parametrize(("others", "answer"), [(995, "yes"), (1010, "no")])
def test_vectors_lost_to_8_bits_are_counted_and_one_table_refutes(tmp_path, others, answer):
    names = [f"memcom(bits=16, weight_bits={bits})" for bits in (16, 8)]
    rows = [(name, ratio, 0.0) for ratio in (16, 40) for name in names]
    write(tmp_path, "weight-bits", rows, data="ml-1m")
    path = tmp_path / "weight-bits" / "summary.csv"
    table = pd.read_csv(path)
    table.loc[[1, 3], "num_distinct"] = [990, others]
    table.to_csv(path, index=False)
    (found,) = (f for s, f in answers(tmp_path).items() if "fewer different vectors" in s)
    assert found.answer == answer
    assert found.evidence == (
        "ml-1m 16× 990 different vectors instead of 1,000; "
        f"ml-1m 40× {others:,} different vectors instead of 1,000"
    )


def test_abundance_that_falls_with_the_loss(tmp_path):
    write(tmp_path, "movielens", [("memcom", r, 0.01 * r) for r in (2, 4, 8, 16, 32)])
    (found,) = (f for s, f in answers(tmp_path).items() if s.startswith("Information abundance"))
    assert found.answer == "yes"
    assert "-1.00 with the loss" in found.evidence


def test_every_statement_is_put_to_the_committed_sweeps():
    found = findings(Results(COMMITTED))
    assert len({each.statement for each in found}) == len(found) >= 30
    assert all(each.evidence or each.answer == "not measured" for each in found)
