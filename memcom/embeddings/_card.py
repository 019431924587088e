"""The card of a method: facts for tables, figures, benchmarks and documentation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

DISTINCT = {
    "always": "different stored rows always give different vectors",
    "generic": "no two ids read the same rows; two vectors are equal only if numbers coincide",
    "if weights differ": "ids that read the same rows differ exactly when their own weights do",
    "by chance": "hashes decide; two ids may read the same rows, with a known probability",
    "learned": "training decides; it may give two ids the same code",
    "lossy": "every id has its own numbers until rounding or pruning makes two rows equal",
    "never": "there are fewer codes than ids, so some ids are copies of others",
}
"""The words for distinctness, from the strongest down, and what each promises."""


class Paper(NamedTuple):
    """A publication.

    Attributes:
        authors: First author and "et al.", or two names.
        year: Year of publication.
        link: Its address.
    """

    authors: str
    year: int
    link: str

    def __str__(self) -> str:
        return f"{self.authors} {self.year}"


class Statement(NamedTuple):
    """Distinctness of a layer: can two ids have the same vector?

    Attributes:
        distinct: A word of `DISTINCT`, or "unknown".
        because: The theorem, the condition or the counter-example, as a clause.
    """

    distinct: str
    because: str

    def __str__(self) -> str:
        return f"{self.distinct}: {self.because}"


UNKNOWN = Statement("unknown", "nothing is stated of this class; memcom.audit counts")
"""The statement of a class without a card."""


@dataclass(frozen=True)
class Card:
    """Facts of one method, with the options that `memcom.plan` gives it by default.

    In formulas n ids have width e and tables have m rows; upper case letters are stored, and
    ``[a, b]`` is side by side.

    Attributes:
        label: Name in figures and headings.
        formula: The vector of id i in one line.
        distinct: A word of `DISTINCT`.
        because: Reason or condition, as a clause.
        use_when: When to take the method, one sentence.
        look: Family (see `memcom.plots.theme.FAMILIES`) and place in it, from 0 to 3.
        paper: The publication; None for folklore.
        slow: Reason why its lookup takes longer than three `torch.nn.Embedding` ones; else empty.
        learns: What it learns from data before training, as a noun phrase; else empty.
        note: What stands beside every table of results with the method: above all what differs
            from the paper. Short sentences that name the method; else empty.

    Raises:
        ValueError: ``distinct`` is no word of `DISTINCT`.
    """

    label: str
    formula: str
    distinct: str
    because: str
    use_when: str
    look: tuple[str, int]
    paper: Paper | None = None
    slow: str = ""
    learns: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        if self.distinct not in DISTINCT:
            words = ", ".join(map(repr, DISTINCT))
            raise ValueError(f"distinct must be one of {words}, got {self.distinct!r}")

    @property
    def statement(self) -> Statement:
        """The distinctness of the method with its default options."""
        return Statement(self.distinct, self.because)


def fewer_codes(num_codes: int, num_embeddings: int, codes: str, otherwise: Statement) -> Statement:
    """The pigeonhole principle: "never" for fewer codes than ids, else ``otherwise``."""
    if num_codes >= num_embeddings:
        return otherwise
    return Statement("never", f"{num_embeddings:,} ids share {num_codes:,} {codes}")
