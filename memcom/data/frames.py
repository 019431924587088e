"""Tables in memory: of pandas, Polars, Arrow and their kin; arrays and pairs of user and item.

Whatever speaks the PyCapsule interface of Arrow (``__arrow_c_stream__``), the older interchange of
data frames (``__dataframe__``) or has a method ``to_pandas`` is read; none of these libraries is
imported for it but pandas and pyarrow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from memcom._check import shown

if TYPE_CHECKING:
    import pandas as pd

USER, ITEM = "user", "item"
"""Columns of arrays and pairs, which have no names."""
KINDS = (
    "a path, a table of pandas, Polars or Arrow, an array (rows, 2), a pair of arrays (users, "
    "items), or pairs (user, item)"
)


def is_table(value: Any) -> bool:
    """Return True for a table with named columns."""
    names = ("__arrow_c_stream__", "__dataframe__", "to_pandas")
    return not isinstance(value, type) and any(hasattr(value, name) for name in names)


def read_table(table: Any) -> pd.DataFrame:
    """Return a table with named columns as a data frame of pandas; a named index is a column.

    Args:
        table: As `is_table` says.

    Returns:
        The rows.

    Raises:
        ValueError: The table has no such form; the message has the reason.
    """
    import pandas as pd
    import pyarrow as pa
    from pyarrow.interchange import from_dataframe

    if isinstance(table, pd.DataFrame):
        named = [name for name in table.index.names if name is not None]
        return table.reset_index() if named else table
    try:
        if hasattr(table, "__arrow_c_stream__"):
            return pa.table(table).to_pandas(ignore_metadata=True)
        if hasattr(table, "__dataframe__"):
            return from_dataframe(table).to_pandas()
        frame = table.to_pandas()
    except (pa.ArrowException, TypeError, RuntimeError, ValueError) as error:
        raise ValueError(f"{type(table).__name__} cannot be read as a table: {error}") from error
    if not isinstance(frame, pd.DataFrame):
        raise ValueError(f"{type(table).__name__} is no table, but gives a {type(frame).__name__}")
    return frame


def read_pairs(pairs: Any) -> pd.DataFrame:
    """Return pairs of a user and an item as a data frame with the columns `USER` and `ITEM`.

    Args:
        pairs: An array or tensor ``(rows, 2)``, two arrays of one length, or an iterable of pairs.

    Returns:
        The rows.

    Raises:
        TypeError: It is nothing of the kind.
        ValueError: Shapes or lengths do not fit; an entry that is no pair is named.
    """
    import pandas as pd

    if hasattr(pairs, "detach"):
        pairs = pairs.detach().cpu().numpy()
    if isinstance(pairs, np.ndarray):
        if pairs.ndim != 2 or pairs.shape[1] != 2:
            raise ValueError(f"an array of pairs must be (rows, 2), got shape {pairs.shape}")
        users, items = pairs.T
    elif isinstance(pairs, tuple) and len(pairs) == 2 and all(hasattr(a, "shape") for a in pairs):
        users, items = (np.asarray(a.detach().cpu() if hasattr(a, "detach") else a) for a in pairs)
        if users.ndim != 1 or users.shape != items.shape:
            raise ValueError(
                f"users and items must be arrays of one length, got shapes {users.shape} and "
                f"{items.shape}"
            )
    else:
        if not isinstance(pairs, Iterable) or isinstance(pairs, str | bytes | Mapping | type):
            raise TypeError(f"data must be {KINDS}, got {shown(pairs)}")
        listed = list(pairs)
        for at, pair in enumerate(listed):
            if not isinstance(pair, tuple | list | np.ndarray) or len(pair) != 2:
                raise ValueError(f"entry {at} is no pair (user, item): {shown(pair)}")
        users, items = ([pair[side] for pair in listed] for side in (0, 1))
    return pd.DataFrame({USER: users, ITEM: items})
