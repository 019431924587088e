"""Data sets that are plain (user, item) pairs: Gowalla, Google Local, Last.fm, part of Amazon-book.

Most are kept as adjacency lists, one line a user, ``user item item ...``: the layout of the NGCF
and LightGCN code (X. He et al., SIGIR 2020).
"""

from __future__ import annotations

import io
import re

import numpy as np

from memcom.data.assemble import interactions
from memcom.data.containers import TEST, TRAIN, VALID, Interactions
from memcom.data.obtain import Obtained, obtain, read_members


def parse_lists(text: bytes, source: str = "text") -> tuple[np.ndarray, np.ndarray]:
    """Read adjacency lists: users and items, int64 (pairs,) each, in the order of the text.

    A line of a user alone has no pairs. Anything but digits, spaces and line ends is a ValueError
    that names `source` and the line.
    """
    strange = re.search(rb"[^0-9 \r\n]", text)
    if strange:
        line = text.count(b"\n", 0, strange.start()) + 1
        raise ValueError(
            f"{source}, line {line}: expected integers, got {strange[0].decode('latin-1')!r}"
        )
    lines = [line.split() for line in text.splitlines()]
    words = [word for line in lines for word in line]
    longest = max(map(len, words), default=0)
    if longest > 18:
        raise ValueError(f"{source}: a number of {longest} digits is too large for an id")
    numbers = np.array(words, dtype="S18").astype(np.int64)
    sizes = np.array([len(line) for line in lines if line], dtype=np.int64)
    heads = np.cumsum(sizes) - sizes
    return np.repeat(numbers[heads], sizes - 1), np.delete(numbers, heads)


def read_lists(
    obtained: Obtained, parts: dict[str, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read adjacency files, each one part of a published split: users, items, int8 split."""
    pairs = [parse_lists(obtained.read(name), str(obtained.paths[name])) for name in parts]
    split = np.repeat(np.array(list(parts.values()), dtype=np.int8), [len(u) for u, _ in pairs])
    return np.concatenate([u for u, _ in pairs]), np.concatenate([i for _, i in pairs]), split


def load_gowalla(*, split: str | None = None, seed: int = 0) -> Interactions:
    """Load Gowalla: 1,027,370 check-ins of 29,858 users at 40,981 places, no times, no ratings.

    The published split: `test` is the standard LightGCN test set, `train` and `valid` together
    its training set (a tenth was split off by the LightGCN++ authors).

    Args:
        split: "published" (default) or "random".
        seed: Seed of the random split.

    Returns:
        The interactions; `item_keys` are the benchmark's item numbers.
    """
    user, item, part = read_lists(
        obtain("gowalla"), {"train.txt": TRAIN, "valid.txt": VALID, "test.txt": TEST}
    )
    return interactions("gowalla", user, item, published=part, split=split, seed=seed)


def load_amazon_book_part(*, seed: int = 0) -> Interactions:
    """Load a random 28 % of Amazon-book: 841,906 pairs, 52,643 users, 89,578 books.

    The benchmark's large training file is not part of it, so results do not compare with
    published Amazon-book figures. The pairs of both files are pooled and split at random within
    each user (70 / 10 / 20 per cent, fixed seed).

    Args:
        seed: Seed of the random split.

    Returns:
        The interactions; `item_names` are ASINs, `item_keys` the benchmark's item numbers.
    """
    obtained = obtain("amazon-book-part")
    user, item, _ = read_lists(obtained, {"test.txt": TRAIN, "valid.txt": TRAIN})
    lines = obtained.read("item_list.txt").decode().splitlines()[1:]
    asin = {int(key): name for name, key in (line.split() for line in lines)}
    return interactions("amazon-book-part", user, item, item_name=asin, seed=seed)


def load_google_local(*, split: str | None = None, seed: int = 0) -> Interactions:
    """Load Google Local: 411,840 (user, place) pairs, 22,582 users, 16,557 places, no times.

    The published 80 / 10 / 10 split of XRec (Q. Ma et al., EMNLP 2024 findings).

    Args:
        split: "published" (default) or "random".
        seed: Seed of the random split.

    Returns:
        The interactions; `item_keys` are the source's place numbers.
    """
    import pandas as pd

    obtained = obtain("google-local")
    files = {"total_trn.csv": TRAIN, "total_val.csv": VALID, "total_tst.csv": TEST}
    frames = [
        pd.read_csv(io.BytesIO(obtained.read(file))).assign(part=part)
        for file, part in files.items()
    ]
    pairs = pd.concat(frames)
    return interactions(
        "google-local",
        pairs["user"].to_numpy(),
        pairs["item"].to_numpy(),
        published=pairs["part"].to_numpy(np.int8),
        split=split,
        seed=seed,
    )


def load_lastfm_2k(
    *, min_rating: float | None = None, seed: int = 0, form: str | None = None
) -> Interactions:
    """Load Last.fm (HetRec 2011): 92,834 listening counts, 1,892 users, 17,632 artists.

    At most 50 artists a user, no times. Split at random within each user (70 / 10 / 20 per
    cent, fixed seed). `rating` is the number of plays (1 to 352,698).

    Args:
        min_rating: Keep only pairs with at least this many plays.
        seed: Seed of the random split.
        form: "archive" (with artist names) or "unpacked" (without); None takes what is here.

    Returns:
        The interactions; `item_keys` are artist ids.
    """
    import pandas as pd

    texts = read_members(obtain("lastfm-2k", form=form), "user_artists.dat", "artists.dat?")
    frame = pd.read_csv(io.BytesIO(texts["user_artists.dat"]), sep="\t")
    artist = {}
    if "artists.dat" in texts:
        named = pd.read_csv(io.BytesIO(texts["artists.dat"]), sep="\t", quoting=3, dtype=str)
        artist = dict(zip(named["id"].astype(int).tolist(), named["name"].tolist(), strict=True))
    return interactions(
        "lastfm-2k",
        frame["userID"].to_numpy(),
        frame["artistID"].to_numpy(),
        rating=frame["weight"].to_numpy(),
        item_name=artist,
        min_rating=min_rating,
        seed=seed,
    )
