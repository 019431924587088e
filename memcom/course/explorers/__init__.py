"""Explorers: turn a control, see the trade-off.

An :func:`explorer` is a thin face over a pure function that draws a figure for given parameters;
:func:`tour` moves its controls everywhere a reader could. Needs ipywidgets and matplotlib, loaded
when the first explorer is made.
"""

from __future__ import annotations

from memcom.course.explorers.controls import Choice as Choice
from memcom.course.explorers.controls import Control as Control
from memcom.course.explorers.controls import Slider as Slider
from memcom.course.explorers.controls import Toggle as Toggle
from memcom.course.explorers.explorer import Explorer as Explorer
from memcom.course.explorers.explorer import explorer as explorer
from memcom.course.explorers.explorer import tour as tour
from memcom.course.explorers.explorer import tour_all as tour_all
