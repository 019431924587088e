"""Histories as compressed rows, and batches of them without a Python loop over users."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from memcom.data import Interactions


@dataclass(frozen=True)
class Histories:
    """Items of every user, one user after another.

    Attributes:
        offsets: ``(num_users + 1,)`` int64.
        items: ``(n,)`` int64; user u had ``items[offsets[u]:offsets[u + 1]]``.
    """

    offsets: Tensor
    items: Tensor

    @classmethod
    def of(cls, data: Interactions, *splits: str) -> Histories:
        """Return the items of one split, or of several joined, oldest split first."""
        parts = [data.history(split) for split in splits]
        users = np.concatenate([np.repeat(np.arange(len(o) - 1), np.diff(o)) for o, _ in parts])
        items = np.concatenate([part for _, part in parts])
        order = np.argsort(users, kind="stable")
        counts = np.bincount(users, minlength=data.num_users)
        return cls.from_lengths(torch.from_numpy(counts), torch.from_numpy(items[order]))

    @classmethod
    def from_lengths(cls, lengths: Tensor, items: Tensor) -> Histories:
        """Return histories from the number of items of each user."""
        return cls(torch.cat([lengths.new_zeros(1), torch.cumsum(lengths, 0)]), items)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Tensor:
        """Number of items of each user, ``(num_users,)``."""
        return self.offsets.diff()

    @property
    def rows(self) -> Tensor:
        """User of each item, ``(n,)``."""
        users = torch.arange(len(self), device=self.items.device)
        return torch.repeat_interleave(users, self.lengths)

    def to(self, device: torch.device | str) -> Histories:
        """Copy to a device."""
        return Histories(self.offsets.to(device), self.items.to(device))

    def take(self, users: Tensor) -> Histories:
        """Return the histories of ``users (m,)``, in that order, numbered from 0."""
        lengths = self.lengths[users]
        starts = self.offsets[users] - torch.cumsum(lengths, 0) + lengths
        shift = torch.repeat_interleave(starts, lengths)
        places = torch.arange(len(shift), device=self.items.device) + shift
        return Histories.from_lengths(lengths, self.items[places])

    def divide(self, chosen: Tensor) -> tuple[Histories, Histories]:
        """Return the chosen items (``chosen`` is a boolean per item) and the others, per user."""
        parts = []
        for mask in (chosen, ~chosen):
            lengths = torch.bincount(self.rows[mask], minlength=len(self))
            parts.append(Histories.from_lengths(lengths, self.items[mask]))
        return parts[0], parts[1]
