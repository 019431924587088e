"""Sets kept as adjacency lists, one line a user: ``user item item ...``, and the plain pair sets.

The layout is that of the NGCF and LightGCN code (X. He et al., SIGIR 2020).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from memcom.data.assemble import interactions
from memcom.data.containers import TEST, TRAIN, VALID, Interactions
from memcom.data.obtain import obtain

_SPACE, _LINE, _ZERO = 32, 10, 48


def parse_lists(text: bytes, source: str = "text") -> tuple[np.ndarray, np.ndarray]:
    """Read adjacency lists.

    Args:
        text: lines of ``user item item ...``, integers parted by spaces. A line of a user alone
            has no pairs.
        source: what to call the text in an error.

    Returns:
        user: (pairs,) int64.
        item: (pairs,) int64, in the order of the text.

    Raises:
        ValueError: if there is anything but digits, spaces and line ends; names the line.
    """
    data = np.frombuffer(text.replace(b"\r\n", b"\n"), dtype=np.uint8)
    digit = (data >= _ZERO) & (data < _ZERO + 10)
    strange = ~digit & (data != _SPACE) & (data != _LINE)
    if strange.any():
        at = int(np.argmax(strange))
        line = int(np.count_nonzero(data[:at] == _LINE)) + 1
        raise ValueError(f"{source}, line {line}: expected integers, got {chr(data[at])!r}")
    starts = np.flatnonzero(digit & ~np.r_[False, digit[:-1]])
    ends = np.flatnonzero(digit & ~np.r_[digit[1:], False]) + 1
    lengths = ends - starts
    if len(lengths) and lengths.max() > 18:
        raise ValueError(f"{source}: a number of {lengths.max()} digits is too large for an id")
    numbers = np.zeros(len(starts), dtype=np.int64)
    for place in range(int(lengths.max(initial=0))):
        inside = np.flatnonzero(place < lengths)
        numbers[inside] = numbers[inside] * 10 + data[starts[inside] + place] - _ZERO
    line_of = np.cumsum(data == _LINE)[starts] if len(starts) else starts
    heads = np.r_[True, line_of[1:] != line_of[:-1]][: len(starts)]
    sizes = np.diff(np.r_[np.flatnonzero(heads), len(numbers)]) - 1
    return np.repeat(numbers[heads], sizes), numbers[~heads]


def read_lists(paths: dict[Path, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read several adjacency files, each one part of a published split.

    Args:
        paths: path -> TRAIN, VALID or TEST.

    Returns:
        user, item: (pairs,) int64.
        split: (pairs,) int8.
    """
    pairs = [parse_lists(path.read_bytes(), str(path)) for path in paths]
    parts = np.repeat(np.array(list(paths.values()), dtype=np.int8), [len(u) for u, _ in pairs])
    return np.concatenate([u for u, _ in pairs]), np.concatenate([i for _, i in pairs]), parts


def load_gowalla(*, split: str | None = None, seed: int = 0) -> Interactions:
    """Gowalla: 1,027,370 check-ins of 29,858 users at 40,981 places, no times, no ratings.

    The published split: `test` is the standard LightGCN test set, `train` and `valid` together
    its training set (a tenth was split off by the LightGCN++ authors).

    Args:
        split: "published" (default) or "random".
        seed: of the random split.

    Returns:
        The interactions; `item_keys` are the benchmark's item numbers.
    """
    paths = obtain("gowalla").paths
    user, item, part = read_lists(
        {paths["train.txt"]: TRAIN, paths["valid.txt"]: VALID, paths["test.txt"]: TEST}
    )
    return interactions("gowalla", user, item, published=part, split=split, seed=seed)


def load_amazon_book_part(*, seed: int = 0) -> Interactions:
    """A random 28 % of the Amazon-book benchmark: 841,906 pairs, 52,643 users, 89,578 books.

    The benchmark's large training file is not part of it, so results do not compare with
    published Amazon-book figures. The pairs of both files are pooled and split at random within
    each user (70 / 10 / 20 per cent, fixed seed).

    Args:
        seed: of the random split.

    Returns:
        The interactions; `item_names` are ASINs, `item_keys` the benchmark's item numbers.
    """
    paths = obtain("amazon-book-part").paths
    user, item, _ = read_lists({paths["test.txt"]: TRAIN, paths["valid.txt"]: TRAIN})
    lines = paths["item_list.txt"].read_text(encoding="utf-8").splitlines()[1:]
    asin = {int(key): name for name, key in (line.split() for line in lines)}
    return interactions("amazon-book-part", user, item, item_name=asin, seed=seed)


def load_google_local(*, split: str | None = None, seed: int = 0) -> Interactions:
    """Google Local: 411,840 (user, place) pairs, 22,582 users, 16,557 places, no times.

    The published 80 / 10 / 10 split of XRec (Q. Ma et al., EMNLP 2024 findings).

    Args:
        split: "published" (default) or "random".
        seed: of the random split.

    Returns:
        The interactions; `item_keys` are the source's place numbers.
    """
    import pandas as pd

    paths = obtain("google-local").paths
    files = {"total_trn.csv": TRAIN, "total_val.csv": VALID, "total_tst.csv": TEST}
    frames = [pd.read_csv(paths[file]) for file in files]
    part = np.repeat(np.array(list(files.values()), np.int8), [len(frame) for frame in frames])
    pairs = pd.concat(frames)
    return interactions(
        "google-local",
        pairs["user"].to_numpy(),
        pairs["item"].to_numpy(),
        published=part,
        split=split,
        seed=seed,
    )


def load_lastfm_2k(
    *, min_rating: float | None = None, seed: int = 0, form: str | None = None
) -> Interactions:
    """Last.fm (HetRec 2011): 92,834 listening counts, 1,892 users, 17,632 artists.

    At most 50 artists a user, no times. Split at random within each user (70 / 10 / 20 per
    cent, fixed seed). `rating` is the number of plays (1 to 352,698).

    Args:
        min_rating: keep only pairs with at least this many plays.
        seed: of the random split.
        form: "archive" (with artist names) or "unpacked" (without); None takes what is here.

    Returns:
        The interactions; `item_keys` are artist ids.
    """
    import io

    import pandas as pd

    from memcom.data.archives import read_members

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
