"""Training procedures: tables that become small, or change their form, while a model trains.

    emb = memcom.build("pep", n, e, ratio=16)
    schedule = memcom.procedures.schedule_for(emb, num_steps=2000, model=model, optimizer=opt)
    for batch in batches:
        loss(model, batch).backward()
        opt.step()
        opt.zero_grad()
        schedule.step(batch.ids)
    small = schedule.export()  # an ordinary layer, ``small.nbytes`` is what is stored

`follow` does the same for all layers of a model at once, and sees by itself which ids they are
called with.

- pep.py: thresholds rise, a mask freezes, the weights left start again
- amtl.py: twin networks choose widths from frequency, a price meets the budget
- fiited.py: chunks lose and get slots by utility
- scall.py: widths follow the counts of a stream within a hard budget
- cce.py: rows are clustered and hashed anew
- following.py: which layer needs which, and all of a model together
- preparing.py: what methods learn from data before they are trained
"""

from __future__ import annotations

from memcom.procedures._schedule import Schedule as Schedule
from memcom.procedures.amtl import AMTLSchedule as AMTLSchedule
from memcom.procedures.cce import CCESchedule as CCESchedule
from memcom.procedures.fiited import FIITEDSchedule as FIITEDSchedule
from memcom.procedures.following import Procedures as Procedures
from memcom.procedures.following import follow as follow
from memcom.procedures.following import schedule_for as schedule_for
from memcom.procedures.pep import PEPSchedule as PEPSchedule
from memcom.procedures.preparing import Occurrences as Occurrences
from memcom.procedures.preparing import learned_options as learned_options
from memcom.procedures.preparing import prepare as prepare
from memcom.procedures.scall import SCALLSchedule as SCALLSchedule
