from __future__ import annotations

import pytest

from memcom._extras import MissingExtra


@pytest.mark.parametrize("instead", ["", "use the engine 'local'"])
def test_the_message_names_package_and_extra(instead: str) -> None:
    error = MissingExtra("the engine 'ray'", "ray", "cluster", instead)
    assert error.name == "ray"
    assert "ray: pip install 'memcom-kit[cluster]'" in str(error)
    assert str(error).endswith(instead)
