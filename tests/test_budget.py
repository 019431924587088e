from __future__ import annotations

import pytest

import memcom
from memcom.budget import plan_tables


def test_a_plan_takes_the_largest_size_that_fits():
    # MEmCom: 4 (m e + n) bytes within 4 n e / 16.
    n, e = 9066, 64
    plan = memcom.plan("memcom", n, e, ratio=16)
    m = (n * e // 16 - n) // e
    assert plan.arguments == {"num_buckets": m}
    assert plan.nbytes == 4 * (m * e + n)
    assert plan.full_nbytes == 4 * n * e
    assert plan.compression_ratio == plan.full_nbytes / plan.nbytes
    assert str(plan).startswith(f"memcom(9066, 64, num_buckets={m}): {plan.nbytes:,} bytes")


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("hash", lambda m: (m["num_buckets"],)),
        ("qr", lambda m: (m["num_remainders"], -(-5000 // m["num_remainders"]))),
        ("mixed-radix", lambda m: m["radices"]),
        ("crt", lambda m: m["moduli"]),
        ("truncate", lambda m: (m["num_kept"] + 1,)),
    ],
)
def test_bytes_by_hand_and_one_more_row_would_not_fit(name, rows):
    budget = 5000 * 32 * 4 / 10
    plan = memcom.plan(name, 5000, 32, ratio=10)
    seeds = 8 if name == "hash" else 0
    assert plan.nbytes == 4 * 32 * sum(rows(plan.arguments)) + seeds
    assert budget - 4 * 32 * 4 < plan.nbytes <= budget


@pytest.mark.parametrize(
    ("name", "ceiling"), [("memcom", "ratio < 64"), ("memcom-bias", "ratio < 32")]
)
def test_the_ceiling_of_memcom_is_explained(name, ceiling):
    with pytest.raises(memcom.BudgetError, match=f"every id stores its own .*{ceiling}") as caught:
        memcom.plan(name, 10_000, 64, ratio=64)
    assert caught.value.reason.startswith("every id stores its own")


def test_a_budget_in_bytes_and_as_text():
    plan = memcom.plan("hash", 10_000, 64, nbytes="64 KiB")
    assert plan.arguments == {"num_buckets": (65536 - 8) // 256}
    assert memcom.plan("hash", 10_000, 64, nbytes=65536) == plan
    assert memcom.build("hash", 10_000, 64, nbytes="64 KiB").nbytes == plan.nbytes


def test_contradictory_and_senseless_budgets_are_refused():
    with pytest.raises(ValueError, match="not both"):
        memcom.plan("hash", 100, 8, ratio=2, nbytes=3)
    with pytest.raises(ValueError, match=r"ratio must be .*got -1"):
        memcom.plan("hash", 100, 8, ratio=-1)
    with pytest.raises(ValueError, match=r"no compressor is called 'hsh'; there are full"):
        memcom.plan("hsh", 100, 8, ratio=2)


def test_options_and_given_sizes_pass_through():
    layer = memcom.build("qr", 100, 8, num_collisions=10, operation="add", padding_idx=0)
    assert (layer.num_remainders, layer.operation, layer.padding_idx) == (10, "add", 0)
    assert memcom.plan("qr", 100, 8, num_collisions=10).nbytes == 4 * 8 * (10 + 10)


def test_half_precision_doubles_the_rows():
    import torch

    single = memcom.plan("hash", 10_000, 64, ratio=16)
    half = memcom.plan("hash", 10_000, 64, ratio=16, dtype=torch.bfloat16)
    assert half.arguments["num_buckets"] >= 2 * single.arguments["num_buckets"]


def test_planning_a_hundred_million_ids_takes_no_memory():
    plan = memcom.plan("memcom", 10**8, 64, ratio=16)
    assert plan.nbytes <= 4 * 10**8 * 64 / 16
    assert memcom.plan("bch", 10**8, 64, ratio=1000).compression_ratio >= 1000


def test_small_tables_stay_full_and_all_together_meet_the_ratio():
    fields = {"weekday": 7, "origin": 105, "tail": 4043, "user": 50_000}
    plans = plan_tables("qr", fields, 16, ratio=10, threshold=200)
    assert [plans[f].name for f in fields] == ["full", "full", "qr", "qr"]
    full = 4 * 16 * sum(fields.values())
    assert full / 12 < sum(p.nbytes for p in plans.values()) <= full / 10
    with pytest.raises(memcom.BudgetError, match="lower the threshold"):
        plan_tables("qr", fields, 16, ratio=10, threshold=100_000)


def test_the_smallest_binary_code_is_found():
    # 9,066 ids have 14 bits: 7 blocks of two bits take 27 rows, 14 of one bit take 28.
    plan = memcom.plan("bch", 9066, 64, nbytes=27 * 64 * 4)
    assert plan.arguments == {"block_bits": 2}
    assert plan.nbytes == 27 * 64 * 4
