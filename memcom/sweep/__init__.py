"""Sweeps: compressors compared within equal budgets, with controls, seeds and intervals.

A `Spec` says what to compare. `run` trains its trials, one file each, and resumes where it was;
`write_report` turns what is there into tables; `read_rows` reads them back as a pandas frame.
"""

from __future__ import annotations

from memcom.sweep.estimate import dry_run as dry_run
from memcom.sweep.estimate import outline as outline
from memcom.sweep.plan import Table as Table
from memcom.sweep.plan import tables as tables
from memcom.sweep.provenance import parallel_trials as parallel_trials
from memcom.sweep.read_results import read_pairs as read_pairs
from memcom.sweep.read_results import read_rows as read_rows
from memcom.sweep.read_results import read_trials as read_trials
from memcom.sweep.report import Report as Report
from memcom.sweep.report import write_report as write_report
from memcom.sweep.rows import Row as Row
from memcom.sweep.rows import summarise as summarise
from memcom.sweep.scheduler import run as run
from memcom.sweep.source import Source as Source
from memcom.sweep.spec import Spec as Spec
from memcom.sweep.spec import spec_of as spec_of
from memcom.sweep.statistics import Interval as Interval
from memcom.sweep.statistics import bootstrap as bootstrap
from memcom.sweep.statistics import holm as holm
from memcom.sweep.statistics import mean_interval as mean_interval
from memcom.sweep.statistics import p_value as p_value
from memcom.sweep.store import DamagedRecordError as DamagedRecordError
from memcom.sweep.store import Store as Store
from memcom.sweep.table_text import terminal_section as terminal_section
from memcom.sweep.trial import Record as Record
from memcom.sweep.trial import Trial as Trial
from memcom.sweep.tune import Range as Range
from memcom.sweep.tune import Tune as Tune

sweep = run
"""Former name of `run`, for one release."""
Summary = Row
"""Former name of `Row`, for one release."""
