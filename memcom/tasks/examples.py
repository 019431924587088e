"""Labelled rows of one split, as a model takes them: texts and clicks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from memcom.data import LabelledBags, LabelledRows
from memcom.data.containers import TRAIN, split_code
from memcom.embeddings import Occurrences
from memcom.tasks.histories import Histories


class Examples(Protocol):
    """Labelled rows of one split."""

    @property
    def label(self) -> Tensor:
        """``(n,)`` int64."""

    def take(self, rows: Tensor) -> tuple[Tensor, ...]:
        """The model's inputs for ``rows (m,)``."""


@dataclass(frozen=True)
class TextExamples:
    """Texts of one split.

    Attributes:
        texts: Their tokens.
        label: ``(n,)`` int64.
    """

    texts: Histories
    label: Tensor

    @classmethod
    def of(cls, data: LabelledBags, split: str, *, max_tokens: int | None = None) -> TextExamples:
        """The texts of a split.

        Args:
            data: All texts.
            split: ``"train"``, ``"valid"`` or ``"test"``.
            max_tokens: Only the first so many tokens of a text; None takes all.

        Returns:
            The texts, in the order of the data.

        Raises:
            ValueError: There are none, or ``max_tokens`` is below 1.
        """
        if max_tokens is not None and max_tokens < 1:
            raise ValueError(f"max_tokens must be at least 1 or None, got {max_tokens}")
        rows = torch.from_numpy((data.split == split_code(split)).nonzero()[0])
        if not len(rows):
            raise ValueError(f"{data.name}: the {split} split is empty")
        every = Histories(torch.from_numpy(data.offsets), torch.from_numpy(data.tokens))
        texts = every.take(rows)
        if max_tokens is not None:
            place = torch.arange(len(texts.items)) - texts.offsets[texts.rows]
            texts = Histories.from_lengths(
                texts.lengths.clamp(max=max_tokens), texts.items[place < max_tokens]
            )
        return cls(texts, torch.from_numpy(data.label)[rows])

    def take(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Tokens ``(total,)`` and offsets ``(m + 1,)``."""
        texts = self.texts.take(rows)
        return texts.items, texts.offsets


@dataclass(frozen=True)
class ClickExamples:
    """Rows of categorical fields of one split.

    Attributes:
        ids: ``(n, fields)`` int64, in the order of the data's fields.
        dense: ``(n, d)`` float32, with mean 0 and variance 1 on the training rows; d may be 0.
        label: ``(n,)`` int64, 0 or 1.
    """

    ids: Tensor
    dense: Tensor
    label: Tensor

    @classmethod
    def of(cls, data: LabelledRows, split: str) -> ClickExamples:
        """The rows of a split.

        Args:
            data: All rows.
            split: ``"train"``, ``"valid"`` or ``"test"``.

        Returns:
            The rows, in the order of the data.

        Raises:
            ValueError: There are none, there are not two classes, or the rows are weighted.
        """
        if data.num_classes != 2 or data.weight is not None:
            weighted = "weighted" if data.weight is not None else "unweighted"
            raise ValueError(
                f"clicks are unweighted rows of 2 classes; {data.name} has {data.num_classes} "
                f"classes and {weighted} rows"
            )
        rows = torch.from_numpy((data.split == split_code(split)).nonzero()[0])
        if not len(rows):
            raise ValueError(f"{data.name}: the {split} split is empty")
        dense = torch.zeros(len(data), 0)
        if data.dense is not None:
            dense = torch.from_numpy(data.dense)
            trained = dense[torch.from_numpy(data.split == TRAIN)].double()
            scale = trained.std(0, correction=0)
            scale[scale == 0] = 1
            dense = ((dense - trained.mean(0)) / scale).float()
        ids = torch.stack([torch.from_numpy(column)[rows] for column in data.fields.values()], 1)
        return cls(ids, dense[rows], torch.from_numpy(data.label)[rows])

    def occurrences(self, column: int, num_embeddings: int) -> Occurrences:
        """Which ids of a field occur in which rows; no two ids of a field share one."""
        ids = self.ids[:, column]
        return Occurrences(ids, torch.arange(len(ids)), num_embeddings)

    def take(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Ids ``(m, fields)`` and dense columns ``(m, d)``."""
        return self.ids[rows], self.dense[rows]
