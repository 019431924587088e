"""Small data sets with planted structure, one for each task."""

from __future__ import annotations

import numpy as np

from memcom.data import Interactions, LabelledBags, LabelledRows, load


def planted(
    num_users: int = 200, num_items: int = 60, groups: int = 4, per_user: int = 12
) -> Interactions:
    """Users of a group like the items of a group."""
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


def events(num_users: int = 120, per_user: int = 20, groups: int = 4) -> Interactions:
    """Users of a group like the items of a group; a third of the items comes in the second half."""
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(num_users), per_user)
    time = rng.permutation(len(user)).astype(np.int64)
    item = np.empty(len(user), dtype=np.int64)
    for each in range(num_users):
        mine = np.flatnonzero(user == each)
        mine = mine[np.argsort(time[mine])]
        old = rng.permutation(30)[: per_user // 2] * groups + each % groups
        new = rng.permutation(np.arange(20, 45))[: per_user // 2] * groups + each % groups
        new = np.where(np.isin(new, old), (new + 100) % 180, new)
        item[mine] = np.concatenate([old, new])
    num_items = 180
    return Interactions(
        name="events",
        num_users=num_users,
        num_items=num_items,
        user=user.astype(np.int64),
        item=item,
        time=time,
        rating=None,
        split=np.zeros(len(user), dtype=np.int8),
        item_names=np.arange(num_items).astype(str),
        user_names=np.arange(num_users).astype(str),
        item_counts=np.bincount(item, minlength=num_items),
    )


def texts(num_texts: int = 400, num_tokens: int = 120, classes: int = 4) -> LabelledBags:
    """Half of a text's tokens are of its class (token mod classes), the others are anything."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, classes, num_texts)
    lengths = rng.integers(4, 12, num_texts)
    owner = np.repeat(label, lengths)
    tokens = rng.integers(0, num_tokens // classes, len(owner)) * classes + owner
    noise = rng.random(len(owner)) < 0.5
    tokens[noise] = rng.integers(0, num_tokens, noise.sum())
    return LabelledBags(
        name="planted",
        tokens=tokens.astype(np.int64),
        offsets=np.r_[0, np.cumsum(lengths)],
        num_tokens=num_tokens,
        label=label.astype(np.int64),
        num_classes=classes,
        label_names=tuple("abcd"),
        token_names=np.arange(num_tokens).astype(str),
        split=np.repeat([0, 1, 2], [num_texts - 200, 100, 100]).astype(np.int8),
        token_counts=np.zeros(num_tokens, dtype=np.int64),
    )


def clicks() -> LabelledRows:
    """Clicks that depend on crosses of two fields."""
    return load(
        "synthetic-clicks",
        num_rows=12_000,
        cardinalities=(4, 30, 60),
        num_crosses=2,
        strength=2.0,
        num_dense=2,
    )
