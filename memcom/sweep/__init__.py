"""Experiments: compressors compared at equal bytes, with controls, seeds and intervals."""

from __future__ import annotations

from memcom.sweep.command import spec_of as spec_of
from memcom.sweep.command import sweep_command as sweep_command
from memcom.sweep.planning import Table as Table
from memcom.sweep.planning import tables as tables
from memcom.sweep.report import Report as Report
from memcom.sweep.report import write_report as write_report
from memcom.sweep.results import read_pairs as read_pairs
from memcom.sweep.results import read_rows as read_rows
from memcom.sweep.results import read_trials as read_trials
from memcom.sweep.running import sweep as sweep
from memcom.sweep.spec import Source as Source
from memcom.sweep.spec import Spec as Spec
from memcom.sweep.statistics import Interval as Interval
from memcom.sweep.statistics import mean_interval as mean_interval
from memcom.sweep.store import Store as Store
from memcom.sweep.summary import Summary as Summary
from memcom.sweep.summary import summarise as summarise
