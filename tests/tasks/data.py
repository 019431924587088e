"""A small set of interactions with planted taste: users of a group like the items of a group."""

from __future__ import annotations

import numpy as np

from memcom.data import Interactions


def planted(
    num_users: int = 200, num_items: int = 60, groups: int = 4, per_user: int = 12
) -> Interactions:
    rng = np.random.default_rng(0)
    rows = []
    for user in range(num_users):
        own = np.flatnonzero(np.arange(num_items) % groups == user % groups)
        items = rng.choice(own, size=per_user, replace=False)
        split = np.repeat([0, 1, 2], [per_user - 4, 2, 2])
        rows += [(user, item, part) for item, part in zip(items, split, strict=True)]
    user, item, split = np.array(rows).T
    counts = np.bincount(item[split == 0], minlength=num_items)
    order = np.argsort(-counts, kind="stable")
    rank = np.empty(num_items, dtype=np.int64)
    rank[order] = np.arange(num_items)
    return Interactions(
        name="planted",
        num_users=num_users,
        num_items=num_items,
        user=user.astype(np.int64),
        item=rank[item],
        time=None,
        rating=None,
        split=split.astype(np.int8),
        item_names=order.astype(str),
        user_names=np.arange(num_users).astype(str),
        item_counts=counts[order],
    )
