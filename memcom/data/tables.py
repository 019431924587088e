"""Labelled tables inside Python packages: given names and flights."""

from __future__ import annotations

import io

import numpy as np

from memcom.data.assemble import labelled_rows
from memcom.data.containers import LabelledRows
from memcom.data.obtain import obtain
from memcom.data.ordering import split_rows


def load_babynames(*, label: str = "sex", split: str | None = None, seed: int = 0) -> LabelledRows:
    """Load births in the USA by name, sex and year, 1880-2017: 97,310 names, 1,924,665 rows.

    A row stands for `weight` births (348,120,517 in all); the names are ordered by training
    births. A large vocabulary with a long tail that works offline.

    Predicting the sex is split by time at whole years (train 1880-1999, validation 2000-2005,
    test 2006-2017), so names that came up later never occur in training. For the decade the
    rows are split at random.

    Args:
        label: "sex" (2 classes, field: name) or "decade" (14 classes, fields: name, sex).
        split: "time" or "random"; None takes the default named above.
        seed: Seed of the random split.

    Returns:
        The rows, in the order of the source: by year, sex, then births.

    Raises:
        ValueError: If the label or the split is unknown or impossible.
    """
    import pandas as pd

    if label not in ("sex", "decade"):
        raise ValueError(f"label is {label!r}; it must be 'sex' or 'decade'")
    possible = ("time", "random") if label == "sex" else ("random",)
    mode = split or possible[0]
    if mode not in possible:
        allowed = ", ".join(possible)
        raise ValueError(f"babynames with label {label!r} is split by {allowed}, not {mode!r}")
    content = io.BytesIO(obtain("babynames").read())
    frame = pd.read_parquet(content, columns=["year", "sex", "name", "n"])
    year = frame["year"].to_numpy().astype(np.int64)
    sex = frame["sex"].to_numpy().astype(str)
    columns = {"name": frame["name"].to_numpy().astype(object)}
    names: tuple[str, ...]
    if label == "sex":
        classes, names = (sex == "M").astype(np.int64), ("F", "M")
    else:
        columns["sex"] = sex
        first, last = year.min() // 10, year.max() // 10
        classes = year // 10 - first
        names = tuple(f"{decade}0s" for decade in range(first, last + 1))
    parts = split_rows(year if mode == "time" else None, len(year), seed)
    return labelled_rows(
        "babynames",
        columns,
        classes,
        names,
        parts,
        weight=frame["n"].to_numpy().astype(np.int64),
        notes=f"Split: {mode}" + (f", seed {seed}." if mode == "random" else "."),
    )


def load_nycflights(
    *, late_minutes: float = 15, split: str | None = None, seed: int = 0
) -> LabelledRows:
    """Load flights out of New York City in 2013: late or not, from facts known before departure.

    Nine fields: carrier, flight (number), tailnum, origin, dest, day (of the month), weekday,
    hour and minute (planned). The month is left out: under a split by time the test's months
    never occur in training. One dense column: log(1 + miles). Of 336,776 flights 9,430 have no
    arrival delay (cancelled, diverted) and are dropped; 327,346 rows stay.

    Args:
        late_minutes: Largest arrival delay, in minutes, that does not count as late.
        split: "time" (default: last 20 % of the year test, 10 % before it validation) or
            "random".
        seed: Seed of the random split.

    Returns:
        The rows in the order of the source, by day.

    Raises:
        ValueError: If the split is unknown.
    """
    import pandas as pd

    if split not in (None, "time", "random"):
        raise ValueError(f"nycflights is split by time or random, not {split!r}")
    content = io.BytesIO(obtain("nycflights").read())
    calendar = ["year", "month", "day", "hour", "minute"]
    direct = ["carrier", "flight", "tailnum", "origin", "dest", "day"]
    needed = [*calendar, *direct[:-1], "arr_delay", "distance"]
    everything = pd.read_csv(content, usecols=needed, compression="zip")
    frame = everything[everything["arr_delay"].notna()]
    when = pd.to_datetime(frame[calendar])
    columns = {column: frame[column].to_numpy() for column in direct}
    columns["weekday"] = when.dt.day_name().to_numpy()
    columns |= {"hour": frame["hour"].to_numpy(), "minute": frame["minute"].to_numpy()}
    parts = split_rows(None if split == "random" else when.to_numpy(), len(frame), seed)
    dropped = len(everything) - len(frame)
    return labelled_rows(
        "nycflights",
        columns,
        (frame["arr_delay"].to_numpy() > late_minutes).astype(np.int64),
        ("on time", "late"),
        parts,
        dense=np.log1p(frame[["distance"]].to_numpy(dtype=np.float64)),
        dense_names=("log_miles",),
        notes=f"{dropped:,} flights without an arrival delay dropped. Split: {split or 'time'}.",
    )
