"""Values that each notebook of the course must record, beyond running to its end.

One function for each notebook, named as its file is, without the number: it gets the recorded
values and the result rows of a run in the fast profile. Exact things (bytes, rows, collisions,
equality with the library) are asserted with ``==``; learned things as orderings, since their
decimals differ from machine to machine.
"""

from __future__ import annotations

from itertools import pairwise

from experiments.claims import Results


def start_here(recorded, results):
    assert recorded["doctor"] is True
    assert recorded["num_names"] == 97_310
    assert recorded["births"] == 348_120_517
    table = 4 * 20_000 * 64
    copies = {"sgd": 2 * table, "momentum": 3 * table, "adagrad": 3 * table + 4}
    assert recorded["training_bytes"] == {**copies, "adam": 4 * table + 4}
    assert recorded["measured_bytes"] == recorded["training_bytes"]
    rows = (1_500_000 - 4 * 97_310) // (4 * 64)  # one number per name, the rest in rows
    assert recorded["planned"] == {"num_buckets": rows}
    assert recorded["nbytes"] == 4 * (97_310 + 64 * rows)
    losses = recorded["losses"]
    assert losses["nn.Embedding"] < losses["memcom, 1.5 MB"] < losses["hash, 1.5 MB"] < 0.69
    assert results == []


def hashing_trick(recorded, results):
    assert recorded["full_nbytes"] == 4 * 9_066 * 64
    assert recorded["rows_used"] == {"number mod 500": 50, "murmur3(number) mod 500": 500}
    assert recorded["equal_to_library"] is True
    assert recorded["num_buckets"] == (9_066 * 64 * 4 // 16 - 8) // (64 * 4) == 566
    # Collisions of a fixed hash are exact.
    assert recorded["pairs_hash"] == 72_518
    assert recorded["pairs"] == {
        "hash": 72_518,
        "double-hash, sum": 287,
        "double-hash, concat": 28,
    }
    hidden = dict(recorded["hidden"])
    least = hidden.pop("remainder, films sorted by popularity")
    assert len(hidden) == 7
    assert all(share > least + 0.05 for share in hidden.values())

    ndcg = {row["method"]: row["ndcg_at_10"] for row in results}
    assert ndcg["full"] > ndcg["hash(seed=None)"] > ndcg["hash"] > recorded["popular"]
    assert ndcg["full"] == max(ndcg.values())
    assert min(ndcg.values()) > recorded["popular"]
    assert all(row["nbytes"] <= 9_066 * 64 * 4 / 16 for row in results if row["method"] != "full")


def quotient_remainder(recorded, results):
    assert recorded["equal_to_library"] is True
    # 9,066 films on 566 rows: 10 rows of 17 and 556 of 16.
    assert recorded["pairs_hash"] == 10 * 17 * 16 // 2 + 556 * 16 * 15 // 2
    assert recorded["rows_sqrt"] == 95 + 96
    assert recorded["bytes_16_collisions"] == 4 * 64 * (16 + 567)
    for operation in ("mult", "add", "concat"):
        assert recorded[f"equal_pairs_{operation}"] == 0
        assert recorded[f"equal_pairs_trained_{operation}"] == 0
        assert recorded[f"pooling_first_{operation}"] is (operation != "mult")
    assert recorded["laws_kept"] == {  # of sums, of logarithms
        "add": [True, False],
        "concat": [True, True],
        "mult": [False, True],
        "full table": [False, False],
    }
    assert recorded["first_wrong_id"] == 16_777_219
    assert recorded["distinct_pairs"] == [2004, 4000]
    # (E x)^2 / E x^2 of products and of sums of two uniform numbers in [0, 1].
    for operation, limit in (("mult", 9 / 16), ("add", 6 / 7)):
        around_zero, positive = recorded[f"cosine_{operation}"]
        assert abs(around_zero) < 0.1
        assert abs(positive - limit) < 0.1
    assert (recorded["top_rows_many"], recorded["top_rows_16"]) == (100, 7)
    assert (recorded["pairs_mixed"], recorded["pairs_chinese"]) == (0, 0)
    score = {result["method"]: result["ndcg_at_10"] for result in results}
    assert min(*score.values(), recorded["all_positive"]) > recorded["popular"]
    assert max(score, key=lambda name: score[name]) == "full"
    assert score["qr(operation=mult)"] > score["qr(operation=add)"]
    assert score["qr(operation=mult)"] > score["qr(num_collisions=16)"]


def memcom(recorded, results):
    assert recorded["equal_to_library"] is True
    # 16x of 9,066 vectors of width 64, less one multiplier per film.
    assert recorded["num_buckets"] == (9066 * 64 // 16 - 9066) // 64
    assert recorded["nbytes"] == 4 * (recorded["num_buckets"] * 64 + 9066)
    # 9,066 films on 566 rows: 10 rows of 17 and 556 of 16.
    assert recorded["equal_pairs_hash"] == 10 * 17 * 16 // 2 + 556 * 16 * 15 // 2
    equal = recorded["equal_pairs"]
    assert equal["none"] <= equal["fp16"] <= equal["int8"] < recorded["equal_pairs_hash"]
    score = {result["method"]: result["ndcg_at_10"] for result in results}
    assert score.keys() == {"full", "hash(seed=None)", "low-rank", "memcom", "memcom-bias"}
    assert min(score.values()) > recorded["popular"]
    assert score["memcom"] > score["low-rank"]


def binary_codes(recorded, results):
    assert recorded["equal_to_library"] is True
    assert recorded["succession_is_mixed_radix"] is True
    assert recorded["pairs_sharing_all"] == 0
    # The last block of 4,999,999 holds its bits from 12, 22 and 20 on.
    assert recorded["rows_5m"] == [
        4096 + (4_999_999 >> 12) + 1,
        2 * 2048 + (4_999_999 >> 22) + 1,
        2 * 1024 + (4_999_999 >> 20) + 1,
    ]
    assert recorded["distinct_shared_small"] == 20
    assert recorded["distinct_repaired"] == [64, 64]
    assert recorded["distinct_shared_24_bits"] == 2_829_056
    # Bits 0, 3, ..., 21 weighed by their place in the code; then twice and four times that.
    assert recorded["rows_asked"] == [2_396_745, 4_793_490, 9_586_980]
    assert recorded["out_of_range"] == 10_000 - 256  # ids of eight bits stay inside
    long_ids, dense_ids = recorded["shared_hashes"]
    assert dense_ids == 0
    assert 70 < long_ids < 165  # 116 expected, give or take 11
    assert recorded["top_rows"]["succession"] == [100, 1]
    assert recorded["top_rows"]["skip"] == [16, 8]
    assert all(rows < 100 for rows in recorded["top_rows"]["hash"])
    score = {(result["method"], result["ratio_asked"]): result["ndcg_at_10"] for result in results}
    assert len(score) == len(results) == 8
    assert min(score.values()) > recorded["popular"]
    assert max(score, key=lambda key: score[key]) == ("full", None)
    assert score["bch", 16] > score["bch", 100]
    # What the prose says of the committed sweep of words, in percent.
    words = Results()
    for method, said in {"bch": (2, 22, 61), "hash": (2, 18, 55)}.items():
        losses = [words.loss("binary-code", method, ratio) for ratio in (10, 100, 1000)]
        assert tuple(round(100 * loss.value) for loss in losses) == said
    assert score["bch(block_bits=7)", None] > score["bch(strategy=skip,block_bits=7)", None]


def the_family(recorded, results):
    assert recorded["equal_to_library"] is True
    # fmt: off
    assert set(recorded["checked"]) >= {
        "hash", "double-hash", "bloom", "memcom", "scalar-qr", "hash-embedding", "path",
        "low-rank", "mixed-dim", "tt", "dhe", "robe", "dpq", "int8",
    }
    # fmt: on
    assert recorded["methods"] >= 28
    assert recorded["exported"] == recorded["methods"]
    assert recorded["too_small"] == ["full", "int8", "int4"]
    equal = recorded["equal_pairs"]
    assert equal["truncate"] == 8501 * 8500 // 2  # 565 rows kept, one for the other 8,501
    assert equal["hash"] > 100 * equal["double-hash"] > 0
    assert {equal[name] for name in ("full", "low-rank", "qr", "crt", "bch", "memcom", "tt")} == {0}
    score = {result["method"]: result["ndcg_at_10"] for result in results}
    assert score.keys() >= {"full", "bloom", "hash-embedding", "memcom", "low-rank", "tt"}
    assert min(score.values()) > recorded["popular"]
    assert score["hash-embedding"] > score["bloom"] - 0.03
    for result in results:
        if result["method"] != "full":
            assert result["nbytes"] <= 9066 * 64 * 4 / 16


def sizes_and_pruning(recorded, results):
    assert recorded["equal_to_library"] is True
    # The slope of a sigmoid at -150 is exactly 0 in 32 bits, at -15 it is e^-15.
    assert recorded["slope_at_minus_150"] == 0
    assert recorded["slope_at_minus_15"] > 3e-7
    control = recorded["cut_afterwards"]
    assert control["popular"] < control["cut"] < control["full"]
    for result in results:
        assert result["ratio"] >= 8
        assert result["ndcg_at_10"] > control["popular"]
    # A column takes 6 of the 38 bits of a kept number, and the row offsets a little more.
    assert 6 / 38 < recorded["index_share"] < 0.25


def collision_microscope(recorded, results):
    assert recorded["equal_to_library"] is True
    pairs = recorded["colliding_pairs"]
    assert pairs["truncate"] == 8501 * 8500 // 2
    assert {pairs[name] for name in ("full", "qr", "crt", "bch", "scalar-qr")} == {0}
    # 9,066 films in 566 rows by remainder: 10 rows of 17 and 556 of 16; none with room for all.
    assert recorded["remainder_pairs"][1] == 10 * 17 * 16 // 2 + 556 * 16 * 15 // 2
    assert recorded["remainder_pairs"][-2:] == [0, 0]
    for codes, found in zip((200, 566, 2_000, 8_000), recorded["hash_pairs"], strict=False):
        assert abs(found * codes / (9066 * 9065 / 2) - 1) < 0.05
    assert recorded["fullest"] == {"hash": 29, "remainder": 17}
    hidden = recorded["hidden_ratings"]
    best = hidden["remainder, ids by popularity"]
    assert best == hidden["truncate: the rest shares one row"]
    assert best < min(hidden["hash"], hidden["remainder, ids shuffled"])
    equal = recorded["equal_by_bits"]
    assert equal["4"] > equal["8"] > equal["12"] >= equal["16"] >= equal["24"]


def sweep(recorded, results):
    assert recorded["equal_to_library"] is True
    assert recorded["different_winners"] >= 1
    assert recorded["largest_swing"] > 0.01  # a seed alone moves a score by more than a percent
    assert recorded["width_paired"] < recorded["width_alone"]
    assert sum(recorded["verdicts"].values()) >= 30
    assert recorded["tables_drawn"] >= 10
    assert recorded["distinct_memcom"] == 1.0
    assert recorded["distinct_hash"] < 0.1
    assert recorded["abundance_memcom"] > 3 * recorded["abundance_low_rank"]
    truncated = recorded["truncate_by_head_share"]
    assert len(truncated) >= 5
    assert truncated[0] == max(truncated) > 10 * truncated[-1] == 10 * min(truncated)
    assert recorded["full_by_way"][2] > 1.03 * max(recorded["full_by_way"][:2])
    assert recorded["qr_by_way"][1] < 0.7 * min(recorded["qr_by_way"][::2])


def rank_classify_click(recorded, results):
    assert recorded["equal_to_library"] is True
    assert recorded["naive_is_infinite"] is True
    assert recorded["plans_equal"][0] == 18
    # A field of three ids at 8x leaves less than one row, for any method.
    assert {("hash", "C1"), ("qr", "C1"), ("memcom", "C1")} <= {
        tuple(pair) for pair in recorded["refused"]
    }
    for task, full in (("rank", 4 * 64 * 9_066), ("classify", 4 * 64 * recorded["num_tokens"])):
        stored = recorded["nbytes"][task]
        assert stored["full"] == full
        assert all(stored[name] <= full / 16 for name in ("hash(seed=None)", "qr", "memcom"))
    stored = recorded["nbytes"]["click"]
    assert all(stored[m] <= stored["full"] / 8 for m in ("hash(seed=None)", "qr", "memcom"))
    rank, texts, clicks = (recorded["scores"][task] for task in ("rank", "classify", "click"))
    assert all(rank[name] > rank["popular"] for name in rank if name != "popular")
    assert all(texts[name] > texts["prior"] + 0.05 for name in texts if name != "prior")
    assert texts["full"] > texts["hash(seed=None)"] + 0.03
    assert texts["qr"] > texts["hash(seed=None)"]
    # Log loss: lower is better.
    assert all(clicks["full"] < clicks[name] for name in clicks if name != "full")
    assert all(clicks[name] < clicks["prior"] for name in clicks if name != "prior")
    assert recorded["click_auc"]["full"] > recorded["click_auc"]["hash(seed=None)"]
    assert recorded["click_auc"]["prior"] == 0.5
    # Being twice as sure leaves the order of the rows, and so AUC, as it was.
    scaled = recorded["scaled"]
    assert len({area for area, _ in scaled.values()}) == 1
    assert len({loss for _, loss in scaled.values()}) == 4
    assert 1 <= recorded["pooled"]["classify"] < recorded["pooled"]["rank"]
    # Half of the past films, and 64 shared ids, are kept in reserve.
    assert all(0 < share < 0.5 for share in recorded["new_share"])
    assert {result["method"] for result in results} == {"full", "hash(seed=None)", "qr", "memcom"}


def memory_and_speed(recorded, results):
    assert recorded["equal_to_library"] is True
    assert recorded["tracemalloc_share"] < 0.01
    table, batch = 200_000 * 64 * 4, 4096
    counted = recorded["counted"]
    tables = {"SGD": 2, "momentum": 3, "Adagrad": 3, "Adam(fused=True)": 4, "Adam": 4}
    for name, copies in tables.items():
        counter = 4 if name.startswith("Ada") else 0  # of the steps
        assert counted[name]["kept"] == counted[name]["formula"] == copies * table + counter
    assert round(counted["Adam"]["peak in tables"], 2) == 6  # two more while it steps
    assert round(counted["Adam(fused=True)"]["peak in tables"], 1) == 4
    for name, copies in (("sparse, SGD", 1), ("sparse, SparseAdam", 3)):
        assert counted[name]["kept"] == copies * table + batch * 64 * 4
        assert counted[name]["difference"] == 8 * batch
    full, fused, sparse, lazy = recorded["meters"]
    for meters in (full, fused, sparse, lazy):
        assert meters["formula"] <= meters["torch's allocator"] < 1.1 * meters["formula"] + 6e6
        # Pages are counted whole, and code is loaded on the way.
        assert abs(meters["resident"] - meters["torch's allocator"]) < 40e6
    changed, distinct = recorded["changed"]
    assert changed == distinct
    assert recorded["huge"][:2] == [10**8 * 64 * 4, 4 * 10**8 * 64 * 4 + 4]
    assert 0.99 * 10**8 * 16 < recorded["huge"][2] <= 10**8 * 16
    # Per id: the id, a row (two with QR and BCH, and MEmCom's own number), and the vector.
    rows = {"full": 256, "memcom": 260, "qr": 512, "bch": 512, "hash": 256}
    assert recorded["asked"] == {name: 65_536 * (8 + r + 256) for name, r in rows.items()}
    moved = recorded["moved"]
    assert max(moved[name] for name in rows if name != "full") < 0.6 * moved["full"]
    # The rows, the product, and a number for each: what is written by hand.
    assert recorded["allocated_for_output"]["by_hand"] == 2 + 1 / 64
    if recorded["compiled"]:
        assert recorded["allocated_for_output"]["one_sweep"] == 1
    # Times are of a machine that may be busy: that they are there has to do.
    assert all(ratio > 0 for ratio in recorded["ratios"].values())
    assert min(recorded["limits"].values()) > 0


def the_model_decides(recorded, results):
    assert recorded["equal_to_library"] is True
    assert results == []
    # Committed sweeps: the loss of each model is made of the two scores beside it.
    for loss, full, ours in zip(
        recorded["losses"]["memcom"], recorded["full"], recorded["memcom"], strict=True
    ):
        assert abs(loss - (1 - ours / full)) < 1e-9
    for by_full, by_ours in recorded["parts"].values():
        assert abs(by_full) < 1
        assert abs(by_ours) < 1
    assert len(recorded["parts"]) == 4
    # What the prose says of them.
    assert recorded["memcom"][0] == max(recorded["memcom"])
    assert recorded["full"][3] == min(recorded["full"])
    assert recorded["losses"]["memcom"][3] == min(recorded["losses"]["memcom"])
    assert all(by_full > 0 for by_full, _ in recorded["parts"].values())
    assert all(by_ours < 0 for _, by_ours in recorded["parts"].values())
    assert recorded["best_epoch_1m"]["full"][3] < 0.5 * recorded["best_epoch_1m"]["memcom"][3]
    # Trained here: without dropout the tail is at its best early, and dropout takes that away.
    best = recorded["best_epoch"]
    assert best["dense, batch norm, full"] < best["dense, batch norm, dropout, full"]
    assert best["dense, batch norm, memcom"] < best["dense, batch norm, dropout, memcom"]
    assert all(after < before for before, after in recorded["directions"].values())
    table = recorded["table_abundance"]
    assert all(ours > 0.8 * full for ours, full in zip(table["memcom"], table["full"], strict=True))
    assert set(recorded["directions"]) == set(best)
    assert all(1 <= each <= 64 for pair in recorded["directions"].values() for each in pair)
    # Four times as wide at four times the ratio: the same bytes.
    assert recorded["bytes_4_and_16"] == [580_008, 580_008]
    assert min(recorded["value_4_and_16"]) > 0
    assert recorded["tuned_full"][1] < recorded["tuned_full"][0]
    assert all(abs(recorded["by_tuning"][name][1]) < 0.05 for name in ("hash", "qr", "memcom"))
    assert set(recorded["by_tuning"]) == {"hash", "qr", "memcom", "truncate"}
    # Tuned to the end, the full table gains; hashing, truncating and MEmCom gain more, qr less.
    before, after = recorded["halved_full"]
    assert after > 1.02 * before
    losses = recorded["by_halving"]
    assert all(losses[name][1] < losses[name][0] for name in ("hash", "truncate", "memcom"))
    assert losses["qr"][1] > losses["qr"][0]
    gained = {m: (1 - new) * after / ((1 - old) * before) for m, (old, new) in losses.items()}
    assert 0.995 < min(gained.values()) < 1.01  # qr: next to nothing, and none is worse
    order = sorted(losses, key=lambda name: losses[name][1])
    assert order == ["qr", "memcom", "truncate", "hash"]


def compress_a_trained_model(recorded, results):
    assert recorded["equal_to_library"] is True
    assert results == []
    whole, table = recorded["whole"]
    assert table == 4 * 30_522 * 384
    assert 0 < whole - 4 * 22_564_992 < 20_000  # the file's list of tensors
    assert recorded["titles"] == [383, 3_373]
    # The eigenvalues promise the error; rank 47 is the most that an eighth of the bytes holds.
    rank, ours, promised, by_library = recorded["rank_8"]
    assert rank == 30_522 * 384 // 8 // (30_522 + 384)
    assert max(ours, promised, by_library) - min(ours, promised, by_library) < 1e-5
    ours, by_library = recorded["rounded"]
    assert ours < by_library < 1.01 * ours  # the ends of the library's grid have 16 bits
    accuracy, interval, chance = recorded["full_accuracy"]
    assert accuracy - interval > 4 * chance
    row = {(r["label"], round(r["ratio"])): r for r in recorded["rows"]}
    int8, int4, two, codes, hashed = (
        row[key]
        for key in (
            *(("int8", 4), ("int4", 8), ("2 bits", 15), ("product codes", 25)),
            ("hashing trick", 16),
        )
    )
    low_rank = [row["low rank", ratio] for ratio in (8, 16, 25)]
    assert len(row) == 8
    assert int8["ratio"] == 4 * 384 / (384 + 4)
    # What the prose says: kept follows the error, whatever the method.
    by_error = sorted(row.values(), key=lambda r: r["error"])
    assert int8["kept"] > 0.98 > int4["kept"] > 0.93
    assert all(a["kept"] > b["kept"] - 0.04 for a, b in pairwise(by_error))
    alike = (two, codes, low_rank[0])
    assert all(0.2 < r["error"] < 0.28 and 0.7 < r["kept"] < 0.82 for r in alike)
    assert low_rank[2]["error"] > 2 * codes["error"]
    assert [r["kept"] for r in low_rank] == sorted((r["kept"] for r in low_rank), reverse=True)
    lowest = accuracy - interval
    assert all(r["accuracy"] > lowest - 0.01 for r in (int8, int4, *alike, low_rank[1]))
    assert 4 * chance < hashed["accuracy"] < lowest
    assert min(row.values(), key=lambda r: r["accuracy"]) is hashed
    # Frequencies: worse over all rows, better over those that are asked for.
    plain, weighted = recorded["by_frequency"].values()
    assert weighted["error"] > plain["error"]
    assert weighted["kept"] > plain["kept"] + 0.03
    assert 0.08 < recorded["seen"] < 0.09
    assert recorded["rounding_ignores_frequencies"] is True
    predicted, measured, limit = recorded["file_ratios"]
    assert all(abs(a - b) < 1e-3 for a, b in zip(predicted, measured, strict=True))
    assert max(measured) < limit < 2.1
