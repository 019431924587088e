"""Explorers: turn a control, see the trade-off.

An :func:`explorer` is a thin face over a pure function that draws a figure for given parameters;
:func:`tour` moves its controls everywhere a reader could. Needs ipywidgets and matplotlib, loaded
when the first explorer is made.
"""

from __future__ import annotations

from memcom.widgets.controls import Choice as Choice
from memcom.widgets.controls import Control as Control
from memcom.widgets.controls import Slider as Slider
from memcom.widgets.controls import Toggle as Toggle
from memcom.widgets.explorer import Explorer as Explorer
from memcom.widgets.explorer import explorer as explorer
from memcom.widgets.explorer import tour as tour
from memcom.widgets.explorer import tour_all as tour_all
