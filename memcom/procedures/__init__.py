"""Training procedures: tables that become small while a model trains.

    emb = memcom.build("pep", n, e, ratio=16)
    schedule = memcom.procedures.schedule_for(emb, num_steps=2000, model=model, optimizer=opt)
    for batch in batches:
        loss(model, batch).backward()
        opt.step()
        opt.zero_grad()
        schedule.step(batch.ids)
    small = schedule.export()  # an ordinary layer, ``small.nbytes`` is what is stored

- pep.py: thresholds rise, a mask freezes, the weights left start again
- amtl.py: twin networks choose widths from frequency, a price meets the budget
- fiited.py: chunks lose and get slots by utility
- scall.py: widths follow the counts of a stream within a hard budget
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from memcom.embeddings import AMTLEmbedding, FIITEDEmbedding, PEPEmbedding, SCALLEmbedding
from memcom.procedures._schedule import Schedule as Schedule
from memcom.procedures.amtl import AMTLSchedule as AMTLSchedule
from memcom.procedures.fiited import FIITEDSchedule as FIITEDSchedule
from memcom.procedures.pep import PEPSchedule as PEPSchedule
from memcom.procedures.scall import SCALLSchedule as SCALLSchedule


def schedule_for(
    emb: nn.Module,
    num_steps: int,
    *,
    model: nn.Module | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    reward: Callable[[], float] | None = None,
) -> Schedule[Any] | None:
    """The procedure that a layer needs, with its defaults for a training of known length.

    PEP searches for a third of the steps and retrains for the rest; AMTL and FIITED come down to
    their budgets in the first half; SCALL cuts the training into five segments.

    Args:
        emb: Any layer.
        num_steps: Optimizer steps of the whole training.
        model: Rewound with the layer by PEP.
        optimizer: Forgets its moments of what starts anew.
        reward: Validation quality, for SCALL.

    Returns:
        The schedule; None for a layer that trains by itself.
    """
    every = max(1, min(50, num_steps // 50))
    if isinstance(emb, PEPEmbedding):
        steps = max(1, num_steps // 3)
        return PEPSchedule(emb, prune_steps=steps, every=every, model=model, optimizer=optimizer)
    half = max(1, num_steps // 2)
    if isinstance(emb, AMTLEmbedding):
        return AMTLSchedule(emb, prune_steps=half, every=every)
    if isinstance(emb, FIITEDEmbedding):
        return FIITEDSchedule(emb, prune_steps=half, every=every, optimizer=optimizer)
    if isinstance(emb, SCALLEmbedding):
        return SCALLSchedule(emb, reward=reward, every=max(4, num_steps // 5))
    return None
