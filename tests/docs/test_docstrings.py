"""Examples in docstrings print what they say, and what people call has one."""

from __future__ import annotations

import doctest
import importlib
import inspect

import pytest

CALLED = [
    "memcom.budget.build",
    "memcom.budget.plan",
    "memcom.compression.compress.compress",
    "memcom.compression.replace.replace",
    "memcom.embeddings.memcom.MEmComEmbedding",
    "memcom.collisions.audit.audit",
    "memcom.advice.recommend.recommend",
]


@pytest.mark.parametrize("path", CALLED)
def test_examples_print_what_they_say(path):
    module, _, name = path.rpartition(".")
    thing = inspect.unwrap(getattr(importlib.import_module(module), name))
    examples = doctest.DocTestFinder(recurse=False).find(thing, name, globs={})
    assert sum(len(each.examples) for each in examples) >= 2
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    told: list[str] = []
    for each in examples:
        runner.run(each, out=told.append)
    assert not runner.failures, "".join(told)


def test_help_of_build_says_all_that_it_takes():
    import memcom

    text = inspect.getdoc(memcom.build) or ""
    for option in ("head", "bits", "weight_bits", "clip", "rounding", "sparse", "device", "dtype"):
        assert f"``{option}" in text, option
    for name in inspect.signature(memcom.build).parameters:
        assert f"\n    {name}: " in text or f"\n    **{name}: " in text, name
