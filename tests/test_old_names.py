"""Old module names warn and lead to the modules that took over."""

from __future__ import annotations

import importlib
import sys

import pytest

from memcom._old_names import MOVED


@pytest.mark.parametrize("old", sorted(MOVED))
def test_an_old_name_warns_and_gives_the_new_module(
    old: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, old, raising=False)
    with pytest.warns(DeprecationWarning, match=MOVED[old]):
        module = importlib.import_module(old)
    assert module is sys.modules[MOVED[old]]
    assert module.__spec__ is not None
    assert module.__spec__.name == MOVED[old]
