"""Classifiers around compressed tables: what they share, the text classifier, and the prior.

The text classifier is the model of the MEmCom paper with another end: look up, average over the
text, a small dense tail, a score per class.

    tokens  [3 1 7 | 4 | 9 9 2]  ->  rows composed  ->  one mean per text  ->  (n, classes)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from memcom.embeddings import CompressedEmbedding, EmbeddingBag


class Classifier(nn.Module):
    """A model from a batch of rows to logits, whose tables are known.

    ``model(*inputs)`` gives ``(n, classes)`` logits, or ``(n,)`` log odds of class 1.
    """

    def tables(self) -> Iterator[tuple[nn.Module, str, CompressedEmbedding]]:
        """The compressed tables: the module that holds each, the name there, and the table."""
        for holder in list(self.modules()):
            if not isinstance(holder, CompressedEmbedding):
                for name, child in list(holder.named_children()):
                    if isinstance(child, CompressedEmbedding):
                        yield holder, name, child

    def freeze_tables(self) -> None:
        """Replace every table by what is stored and shipped; see `CompressedEmbedding.freeze`."""
        for holder, name, table in self.tables():
            holder._modules[name] = table.freeze()

    @property
    def input_nbytes(self) -> int:
        """Stored bytes of the tables, buffers included."""
        return sum(table.nbytes for *_, table in self.tables())

    @property
    def output_nbytes(self) -> int:
        """Stored bytes of everything else."""
        every = sum(t.numel() * t.element_size() for t in self.state_dict().values())
        return every - self.input_nbytes


class TextClassifier(Classifier):
    """Mean-pooled token vectors, dense tail, a score per class.

    Rows are composed first, then pooled; an empty text gets the mean vector 0.

    Args:
        embedding: Table of the tokens.
        num_classes: Number of classes, at least 2.
        hidden: Widths of the tail's ReLU layers; none is a linear model.
        dropout: Probability of dropping an entry of the pooled vector and of each hidden layer.

    Raises:
        ValueError: A size is out of its range.
    """

    def __init__(
        self,
        embedding: CompressedEmbedding,
        num_classes: int,
        *,
        hidden: Sequence[int] = (),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"num_classes must be at least 2, got {num_classes}")
        self.bag = EmbeddingBag(embedding, "mean", include_last_offset=True)
        self.tail = dense_layers(embedding.embedding_dim, (*hidden, num_classes), dropout)

    def forward(self, tokens: Tensor, offsets: Tensor) -> Tensor:
        """Logits of texts.

        Args:
            tokens: int64 ``(total,)``, the texts one after another.
            offsets: int64 ``(n + 1,)``; text r is ``tokens[offsets[r]:offsets[r + 1]]``.

        Returns:
            ``(n, num_classes)`` logits.
        """
        return self.tail(self.bag(tokens, offsets))


class Prior(Classifier):
    """Control: every row gets the logarithm of the classes' training frequencies.

    Args:
        label: int64 ``(n,)`` training labels.
        num_classes: Number of classes.
        binary: Give ``(n,)`` log odds of class 1 instead of ``(n, num_classes)``.

    Raises:
        ValueError: There is no label, or binary with other than two classes.
    """

    def __init__(self, label: Tensor, num_classes: int, *, binary: bool = False) -> None:
        super().__init__()
        if not len(label) or (binary and num_classes != 2):
            raise ValueError(
                f"a prior needs labels, and two classes if binary; got {len(label)} labels and "
                f"{num_classes} classes"
            )
        counts = torch.bincount(label, minlength=num_classes).double() + 0.5
        logits = torch.log(counts / counts.sum()).float()
        logits = logits[1] - logits[0] if binary else logits
        self.logits = nn.Parameter(logits, requires_grad=False)

    def forward(self, rows: Tensor, other: Tensor) -> Tensor:
        """The same for every row; the number of rows is that of a classifier's own inputs.

        Args:
            rows: ``(n, fields)`` ids for a binary prior, tokens otherwise.
            other: Dense columns for a binary prior, ``(n + 1,)`` offsets otherwise.

        Returns:
            ``(n,)`` or ``(n, num_classes)`` logits.
        """
        rows_in_batch = len(rows) if self.logits.ndim == 0 else len(other) - 1
        return self.logits.expand(rows_in_batch, *self.logits.shape)


def dense_layers(width: int, widths: Sequence[int], dropout: float = 0.0) -> nn.Sequential:
    """Linear layers with ReLU between them, none after the last.

    Args:
        width: Width of the input.
        widths: Width of the output of each layer.
        dropout: Probability of dropping an entry of the input of each layer.

    Returns:
        The layers, initialised as torch does.

    Raises:
        ValueError: ``dropout`` is not in [0, 1).
    """
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1), got {dropout}")
    layers: list[nn.Module] = []
    for out in widths:
        layers += [nn.ReLU()] if layers else []
        layers += [nn.Dropout(dropout)] if dropout else []
        layers.append(nn.Linear(width, out))
        width = out
    return nn.Sequential(*layers)
