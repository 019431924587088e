"""Experiments: compressors compared at equal bytes, with controls, seeds and intervals."""

from __future__ import annotations

from memcom.experiments.command import spec_of as spec_of
from memcom.experiments.command import sweep_command as sweep_command
from memcom.experiments.costs import Costs as Costs
from memcom.experiments.costs import measure as measure
from memcom.experiments.planning import Table as Table
from memcom.experiments.planning import tables as tables
from memcom.experiments.report import Report as Report
from memcom.experiments.report import write_report as write_report
from memcom.experiments.spec import Source as Source
from memcom.experiments.spec import Spec as Spec
from memcom.experiments.statistics import Interval as Interval
from memcom.experiments.statistics import mean_interval as mean_interval
from memcom.experiments.store import Store as Store
from memcom.experiments.summary import Summary as Summary
from memcom.experiments.summary import summarise as summarise
from memcom.experiments.sweep import sweep as sweep
from memcom.experiments.tasks import Outcome as Outcome
from memcom.experiments.tasks import Setting as Setting
from memcom.experiments.tasks import Size as Size
from memcom.experiments.tasks import Task as Task
from memcom.experiments.tasks import get_task as get_task
from memcom.experiments.tasks import task_names as task_names
from memcom.experiments.trials import CONTROLS as CONTROLS
from memcom.experiments.trials import ModelOptions as ModelOptions
from memcom.experiments.trials import Result as Result
from memcom.experiments.trials import Trial as Trial
from memcom.experiments.trials import build_ranker as build_ranker
from memcom.experiments.trials import train_trial as train_trial
