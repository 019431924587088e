"""Figures in a notebook, with a description."""

from __future__ import annotations

import base64
import re

import pytest

pytest.importorskip("matplotlib")

from memcom import plots

FIGURE = plots.bytes_by_method({"full": 4000, "memcom": {"table": 200, "m": 50}})


def test_show_emits_a_described_self_contained_image(monkeypatch):
    display = pytest.importorskip("IPython.display")
    shown = []
    monkeypatch.setattr(display, "display", lambda bundle, raw: shown.append((bundle, raw)))
    plots.show(FIGURE, alt='MEmCom stores "250 B" & no more')
    ((bundle, raw),) = shown
    assert raw
    assert set(bundle) == {"text/html", "text/plain"}
    assert 'alt="MEmCom stores &quot;250 B&quot; &amp; no more"' in bundle["text/html"]
    data = re.search(r"data:image/png;base64,([^\"]+)", bundle["text/html"])[1]
    assert base64.b64decode(data).startswith(b"\x89PNG")
    assert "250 B" in bundle["text/plain"]


@pytest.mark.parametrize("alt", ["", "  \n"])
def test_show_refuses_an_undescribed_picture(alt):
    with pytest.raises(ValueError, match="alt must say"):
        plots.show(FIGURE, alt=alt)
    with pytest.raises(TypeError):
        plots.show(FIGURE)
