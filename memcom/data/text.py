"""Texts as bags of words: 20 Newsgroups (K. Lang, ICML 1995; "bydate"), and titles of courses."""

from __future__ import annotations

import io
import re
from pathlib import PurePosixPath

import numpy as np

from memcom.data.containers import TEST, TRAIN, VALID, LabelledBags
from memcom.data.obtain import Obtained, obtain, tar_files, unpack
from memcom.data.ordering import by_frequency, encode, mix64, split_by_hash

_WORD = re.compile(r"\w+")


def load_20newsgroups(
    *, unit: str = "word", headers: bool = True, seed: int = 0, form: str | None = None
) -> LabelledBags:
    """Load 18,846 messages in 20 groups: 11,314 to train on (a tenth is validation), 7,532 to test.

    Messages are read as latin-1, lower-cased and cut into runs of letters, digits and "_" (173,807
    distinct). The test part is the published one (later messages). Mail headers nearly name the
    group; leave them out with ``headers=False``.

    Args:
        unit: "word", or "pair" for every two neighbouring words (1,505,545 distinct), which
            makes a table of over a million rows.
        headers: Whether to keep the mail headers.
        seed: Seed that picks the validation tenth.
        form: "archive" (the official tar.gz) or "repacked" (tar.xz); None takes what is here.

    Returns:
        The bags, sorted by group and message number, training messages first.

    Raises:
        ValueError: If the unit is unknown.
    """
    if unit not in ("word", "pair"):
        raise ValueError(f"unit is {unit!r}; it must be 'word' or 'pair'")
    messages = sorted(_messages(obtain("20newsgroups", form=form)), key=lambda message: message[:3])
    texts = (text if headers else text.partition("\n\n")[2] for *_, text in messages)
    bags = [_WORD.findall(text.lower()) for text in texts]
    is_test = np.array([message[0] for message in messages])
    split = split_by_hash(mix64(np.arange(len(messages)), seed), valid=10, test=0)
    split = np.where(is_test, TEST, split).astype(np.int8)
    notes = (
        f"Unit: {unit}. Split: published test, {np.sum(split == VALID):,} of the training "
        f"messages are validation, seed {seed}."
    )
    return _labelled("20newsgroups", bags, [message[1] for message in messages], split, notes, unit)


def load_ucla_courses(*, seed: int = 0) -> LabelledBags:
    """Load the titles of 3,756 courses in 173 subjects: UCLA, fall of 2018. It works offline.

    Titles are cut into words as those of `load_20newsgroups` are (2,510 distinct). A title that a
    subject has several times counts once; two subjects may have the same title.

    Args:
        seed: Seed of the split at random, 70/10/20.

    Returns:
        The bags, in the order of the source: by subject, then by number of the course.
    """
    import pandas as pd

    obtained = obtain("ucla-courses")
    (path,) = obtained.paths.values()
    frame = pd.read_pickle(io.BytesIO(unpack(path, obtained.read())))  # their checksum matched
    frame = frame.drop_duplicates(["subject", "course"])
    bags = [_WORD.findall(title.lower()) for title in frame["course"]]
    split = split_by_hash(mix64(np.arange(len(bags)), seed))
    notes = f"Unit: word. Split: at random, seed {seed}."
    return _labelled("ucla-courses", bags, frame["subject"].tolist(), split, notes)


def _labelled(
    name: str,
    bags: list[list[str]],
    labels: list[str],
    split: np.ndarray,
    notes: str,
    unit: str = "word",
) -> LabelledBags:
    lengths = np.array([len(bag) for bag in bags], dtype=np.int64)
    codes, words = encode(np.array([word for bag in bags for word in bag], dtype=object))
    if unit == "pair":
        codes, words, lengths = _pairs(codes, words, lengths)
    classes = tuple(sorted(set(labels)))
    number = {label: index for index, label in enumerate(classes)}
    vocabulary = by_frequency(codes, len(words), np.repeat(split, lengths) == TRAIN)
    return LabelledBags(
        name=name,
        tokens=vocabulary.ids,
        offsets=np.r_[0, np.cumsum(lengths)],
        num_tokens=len(words),
        label=np.array([number[label] for label in labels], dtype=np.int64),
        num_classes=len(classes),
        label_names=classes,
        token_names=words[vocabulary.order],
        split=split,
        token_counts=vocabulary.counts,
        notes=notes,
    )


def _messages(obtained: Obtained) -> list[tuple[bool, str, int, str]]:
    """(in the test part, group, message number, text) of every message in a checked archive."""
    (path,) = obtained.paths.values()
    found = []
    for name, content in tar_files(path, obtained.read()):
        parts = PurePosixPath(name).parts[-3:]
        if len(parts) != 3 or not parts[2].isdecimal():
            raise ValueError(f"{path}: expected files called part/group/number, got {name!r}")
        part, group, number = parts
        found.append(("test" in part, group, int(number), content.decode("latin-1")))
    return found


def _pairs(
    codes: np.ndarray, words: np.ndarray, lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Neighbouring words within a message as one token, called "left right"."""
    owner = np.repeat(np.arange(len(lengths)), lengths)
    inside = owner[1:] == owner[:-1]
    both = codes[:-1][inside] * len(words) + codes[1:][inside]
    tokens, pairs = encode(both)
    names = words[pairs // len(words)] + " " + words[pairs % len(words)]
    return tokens, names, np.maximum(lengths - 1, 0)
