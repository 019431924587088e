"""What each notebook of the course must record, beyond running to its end.

One function for each notebook: it gets the recorded values and the result rows of a run in the
fast profile. Exact things (bytes, rows, collisions, equality with the library) are asserted with
``==``; learned things as orderings, since their decimals differ from machine to machine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Expectation = Callable[[dict[str, Any], list[dict[str, Any]]], None]

EXPECTATIONS: dict[str, Expectation] = {}


def expect(name: str) -> Callable[[Expectation], Expectation]:
    """Register what a notebook must record; `name` is its file's, without ``.ipynb``."""

    def register(function: Expectation) -> Expectation:
        assert name not in EXPECTATIONS, f"{name} has its expectations already"
        EXPECTATIONS[name] = function
        return function

    return register


@expect("03_memcom")
def memcom(recorded: dict[str, Any], results: list[dict[str, Any]]) -> None:
    assert recorded["equal_to_library"] is True
    # 16x of 9,066 vectors of width 64, less one multiplier per film.
    assert recorded["num_buckets"] == (9066 * 64 // 16 - 9066) // 64
    assert recorded["nbytes"] == 4 * (recorded["num_buckets"] * 64 + 9066)
    # 9,066 films on 566 rows: 10 rows of 17 and 556 of 16.
    assert recorded["equal_pairs_hash"] == 10 * 17 * 16 // 2 + 556 * 16 * 15 // 2
    equal = recorded["equal_pairs"]
    assert equal["none"] <= equal["fp16"] <= equal["int8"] < recorded["equal_pairs_hash"]
    score = {result["method"]: result["ndcg_at_10"] for result in results}
    assert score.keys() == {"full", "hash", "low-rank", "memcom", "memcom-bias"}
    assert min(score.values()) > recorded["popular"]
    assert score["memcom"] > score["low-rank"]
