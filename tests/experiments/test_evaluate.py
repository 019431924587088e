"""Claims, evaluated on tables made up so that the verdicts are known."""

from __future__ import annotations

import numpy as np
import pytest

pd = pytest.importorskip("pandas")
pytest.importorskip("scipy.stats")

import memcom
from experiments.claims import Results, findings
from experiments.claims.evaluate import Claim, cases_of, read_claims


def write(folder, sweep, rows, pairs=(), **table):
    """A sweep's files, from (method, ratio, loss) with intervals of one percent to each side."""
    path = folder / sweep
    path.mkdir(parents=True, exist_ok=True)
    common = {"data": sweep, "task": "ranking"} | table
    control = ("popular", None, 0.5)
    summary = [
        common
        | {
            "method": method, "ratio": ratio, "status": "finished",
            "nbytes": 0 if method == "popular" else 100, "compression_ratio": ratio,
            "ndcg": 0.1 * (1 - loss), "ndcg_low": 0.09, "ndcg_high": 0.11,
            "loss": loss, "loss_low": loss - 0.01, "loss_high": loss + 0.01,
            "abundance": 10 - 10 * loss, "num_distinct": 1000, "best_epoch": 5,
        }
        for method, ratio, loss in (control, *rows)
    ]  # fmt: skip
    against = [
        common | {"method": one, "other": other, "ratio": ratio, "loss": loss}
        | {"loss_low": loss - 0.01, "loss_high": loss + 0.01}
        for one, other, ratio, loss in pairs
    ]  # fmt: skip
    names = ["data", "method", "other", "ratio", "loss", "loss_low", "loss_high"]
    for name, lines, columns in (
        ("summary", summary, None),
        ("pairs", against, None if against else names),
        ("trials", [common | {"seed": 0}], None),
    ):
        file = path / f"{name}.csv"
        frame = pd.DataFrame(lines, columns=columns)
        if file.exists():  # one more table of the same sweep
            frame = pd.concat([pd.read_csv(file), frame])
        frame.to_csv(file, index=False)


def found(folder):
    return {each.statement: each for each in findings(Results(folder))}


def one(folder, start):
    (finding,) = (f for statement, f in found(folder).items() if statement.startswith(start))
    return finding


def test_claims_are_whole_and_different():
    claims = read_claims()
    assert len({claim.statement for claim in claims}) == len(claims) >= 30
    assert all(claim.topic and claim.source and claim.sweeps for claim in claims)
    assert {claim.kind for claim in claims} == {"abstract", "kit's reading", "hypothesis"}
    assert {c.kind for c in claims if c.source == "this kit"} == {"hypothesis"}
    assert all(c.equal_bytes for c in claims if "equal bytes" in c.statement)
    assert not [claim.statement for claim in claims if "{" in claim.statement]
    methods = {m.partition("(")[0] for c in claims for m in (*c.methods, c.other or "full")}
    assert methods <= set(memcom.available())


def test_every_claim_is_put_to_the_committed_sweeps():
    for finding in findings(Results()):
        assert finding.verdict in ("yes", "no", "open", "not judged")
        assert finding.evidence


def test_a_claim_without_its_sweep_is_not_measured(tmp_path):
    write(tmp_path, "nothing", [("full", None, 0.0)])
    assert {finding.verdict for finding in found(tmp_path).values()} == {"not measured"}


def test_the_abstract_needs_one_data_set_at_each_ratio(tmp_path):
    write(tmp_path, "movielens", [("memcom", 16, 0.02), ("memcom", 4, 0.02)])
    write(tmp_path, "ml-1m", [("memcom", 16, 0.09)])
    claims = found(tmp_path)
    assert claims["On some data set MEmCom loses at most 4 % of nDCG at 4×"].verdict == "yes"
    at_16 = claims["On some data set MEmCom loses at most 4 % of nDCG at 16×"]
    assert at_16.verdict == "yes"
    assert at_16.evidence == "movielens +2.0 % (+1.0 to +3.0); ml-1m +9.0 % (+8.0 to +10.0)"


def test_rivals_are_compared_in_pairs(tmp_path):
    for data, loss in (("movielens", -0.05), ("ml-1m", -0.02)):
        rows = [("memcom", 16, 0.0), ("hash", 16, -loss)]
        write(tmp_path, data, rows, [("memcom", "hash", 16, loss)])
    finding = found(tmp_path)["MEmCom ranks better than hash at equal bytes"]
    assert finding.verdict == "yes"
    assert finding.evidence.startswith("better in 2 of 2 tables, worse in 0")


def test_a_table_without_signal_is_left_out(tmp_path):
    write(tmp_path, "movielens", [("memcom", 4, 0.02)])
    write(tmp_path, "ml-1m", [("memcom", 4, 0.09), ("bias-only", None, 0.0)])
    path = tmp_path / "ml-1m" / "summary.csv"
    table = pd.read_csv(path)
    table.loc[table["method"] == "bias-only", "nbytes"] = 0
    table.to_csv(path, index=False)
    finding = found(tmp_path)["On some data set MEmCom loses at most 4 % of nDCG at 4×"]
    assert (finding.verdict, finding.evidence) == ("yes", "movielens +2.0 % (+1.0 to +3.0)")


def test_a_contrast_is_the_difference_of_two_tables(tmp_path):
    losses = {"movielens": 0.02, "movielens shuffled": 0.12, "ml-1m": 0.05, "ml-1m shuffled": 0.06}
    for data, loss in (losses | {"lastfm-2k": 0.5}).items():
        write(tmp_path, "order-of-ids", [("memcom", 16, loss)], data=data)
    finding = one(tmp_path, "Sorted ids are better")
    assert finding.verdict == "open"
    assert finding.evidence == (
        "movielens -10.0 % (-11.4 to -8.6); ml-1m -1.0 % (-2.4 to +0.4)"  # hypot(1, 1) is 1.4
    )


def test_labels_tell_what_differs_and_coarse_sizes(tmp_path):
    for width in (64, 128):
        rows = [("memcom", 4, 0.01), ("memcom", 16, 0.02)]
        write(tmp_path, "movielens-widths", rows, embedding_dim=width)
    evidence = one(tmp_path, "At widths").evidence
    assert evidence.startswith("64 wide 4× +1.0 % (+0.0 to +2.0); 64 wide 16× +2.0 %")
    path = tmp_path / "movielens-widths" / "summary.csv"
    table = pd.read_csv(path)
    table.loc[table["ratio"] == 16, "compression_ratio"] = 20
    table.to_csv(path, index=False)
    assert "64 wide 16× (20× stored) +2.0 %" in one(tmp_path, "At widths").evidence


@pytest.mark.parametrize(("others", "expected"), [(995, "yes"), (1010, "no")])
def test_vectors_lost_to_8_bits_are_counted(tmp_path, others, expected):
    names = [f"memcom(bits=16, weight_bits={bits})" for bits in (16, 8)]
    rows = [(name, ratio, 0.0) for ratio in (16, 40) for name in names]
    write(tmp_path, "weight-bits", rows, data="ml-1m")
    path = tmp_path / "weight-bits" / "summary.csv"
    table = pd.read_csv(path)
    table.loc[table["method"] == names[1], "num_distinct"] = [990, others]
    table.to_csv(path, index=False)
    finding = one(tmp_path, "Multipliers of 8 bits leave fewer")
    assert finding.verdict == expected
    assert finding.evidence == (
        "ml-1m 16× 990 different vectors instead of 1,000; "
        f"ml-1m 40× {others:,} different vectors instead of 1,000"
    )


def test_abundance_that_falls_with_the_loss(tmp_path):
    write(tmp_path, "movielens", [("memcom", r, 0.01 * r) for r in (2, 4, 8, 16, 32)])
    finding = one(tmp_path, "Information abundance")
    assert finding.verdict == "not judged"
    assert "-1.00 with the loss" in finding.evidence


@pytest.mark.parametrize(("score", "expected"), [(0.2, "yes"), (0.1, "no")])
def test_the_full_table_is_held_against_a_published_score(tmp_path, score, expected):
    write(tmp_path, "gowalla-reference", [("full", None, 0.0)])
    path = tmp_path / "gowalla-reference" / "summary.csv"
    table = pd.read_csv(path)
    full = table["method"] == "full"
    table.loc[full, ["ndcg", "ndcg_low", "ndcg_high"]] = [score, score - 0.01, score + 0.01]
    table.to_csv(path, index=False)
    finding = one(tmp_path, "Our full table")
    assert finding.verdict == expected
    assert f"{100 * score / 0.1547:.0f} % of it" in finding.evidence


def test_a_claim_about_one_sweep_names_ratios_only(tmp_path):
    write(tmp_path, "toy", [("qr", 4, 0.01), ("qr", 16, 0.03)])
    claim = Claim("topic", "it loses little", "test", "hypothesis", ("toy",), ("qr",), at_most=0.02)
    cases, left_out = cases_of(claim, Results(tmp_path))
    assert [label for label, _ in cases] == ["4×", "16×"]
    assert not left_out


def sized(folder, sweep, nbytes):
    """Change the bytes of rows, by method and ratio."""
    path = folder / sweep / "summary.csv"
    table = pd.read_csv(path)
    for (method, ratio), size in nbytes.items():
        table.loc[(table["method"] == method) & (table["ratio"] == ratio), "nbytes"] = size
    table.to_csv(path, index=False)


def test_equal_bytes_are_those_stored(tmp_path):
    """The other's curve is straight in logarithms between its sizes, as NumPy interpolates."""
    rows = [("full", None, 0.0), ("memcom", 4, 0.1), ("memcom", 16, 0.2)]
    rows += [("low-rank", 4, 0.2), ("low-rank", 16, 0.5)]
    pairs = [("memcom", "low-rank", ratio, -0.3) for ratio in (4, 16)]
    write(tmp_path, "movielens", rows, pairs)
    sizes = {
        ("memcom", 4): 4000,
        ("memcom", 16): 1000,
        ("low-rank", 4): 3500,
        ("low-rank", 16): 700,
    }
    sized(tmp_path, "movielens", sizes)
    results = Results(tmp_path)
    loss = results.loss_at_equal_bytes("movielens", "memcom", 16, "low-rank")
    there = np.interp(np.log(1000), np.log([700, 3500]), np.log([0.5, 0.8]))
    assert loss.value == pytest.approx(1 - 0.8 / np.exp(there))
    share = np.log(1000 / 700) / np.log(5)
    error = np.linalg.norm([0.01 / 0.8, (1 - share) * 0.01 / 0.5, share * 0.01 / 0.8])
    assert np.log((1 - loss.low) / (1 - loss.high)) == pytest.approx(2 * error)
    # More bytes than the largest of the other's, and none to interpolate to.
    assert results.loss_at_equal_bytes("movielens", "memcom", 4, "low-rank") is None
    finding = found(tmp_path)["MEmCom ranks better than low-rank at equal bytes"]
    assert finding.evidence.startswith("better in 1 of 1 tables")
    assert finding.evidence.endswith("left out, not between two sizes of low-rank: movielens 4×")
    # Within two percent the rows are taken as they are, with their paired interval.
    sized(tmp_path, "movielens", {("low-rank", 4): 3930})
    paired = Results(tmp_path).loss_at_equal_bytes("movielens", "memcom", 4, "low-rank")
    assert paired == pytest.approx((-0.3, -0.31, -0.29))


def test_at_equal_bytes_lower_can_be_better(tmp_path):
    rows = [("full", None, 0.0), ("memcom", 4, 0.1), ("qr", 2, 0.02), ("qr", 8, 0.3)]
    write(tmp_path, "clicks-criteo", rows, [("memcom", "qr", 4, 0.0)])
    sized(tmp_path, "clicks-criteo", {("memcom", 4): 400, ("qr", 2): 800, ("qr", 8): 200})
    path = tmp_path / "clicks-criteo" / "summary.csv"
    table = pd.read_csv(path)
    table["ndcg"] = 0.1 * (1 + table["loss"])  # as a log loss
    table.to_csv(path, index=False)
    loss = Results(tmp_path).loss_at_equal_bytes("clicks-criteo", "memcom", 4, "qr")
    assert loss.value == pytest.approx(1.1 / np.sqrt(1.02 * 1.3) - 1)
    assert loss.low < loss.value < loss.high
