"""What rounding does to ids that only a number of their own tells apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from memcom.collisions import birthday_pairs
from memcom.plots.theme import INK, method_style, new_figure, plain_axis, short_number, themed


def equal_after_rounding(values: np.ndarray, bucket: np.ndarray, bits: int) -> int:
    """Count the pairs of one bucket whose numbers round to the same level.

    Args:
        values: ``(n,)`` one number per id.
        bucket: ``(n,)`` int64, the bucket of each id.
        bits: ``2**bits`` levels, evenly spaced from the smallest to the largest value.

    Returns:
        Unordered pairs.
    """
    values = np.asarray(values, dtype=np.float64)
    reach = float(np.ptp(values)) or 1.0
    level = np.round((values - values.min()) / reach * (2**bits - 1)).astype(np.int64)
    sizes = np.unique(np.asarray(bucket) * 2**bits + level, return_counts=True)[1]
    return int((sizes * (sizes - 1) // 2).sum())


def rounding_collisions(
    values: np.ndarray, bucket: np.ndarray, bits: Sequence[int] = tuple(range(2, 25))
) -> Figure:
    """Pairs of a bucket that rounding makes equal, against the number of bits.

    Args:
        values: ``(n,)`` one number per id, such as MEmCom's multipliers.
        bucket: ``(n,)`` int64, the bucket of each id.
        bits: Numbers of bits, ascending.

    Returns:
        The figure: counted pairs, and the birthday count if all levels were equally likely. No
        pairs stand at the foot of the logarithmic axis, which is labelled 0 there.
    """
    floor, style = 0.3, method_style("memcom")
    counted = np.array([equal_after_rounding(values, bucket, b) for b in bits], dtype=float)
    sizes = np.unique(bucket, return_counts=True)[1]
    expected = np.array([birthday_pairs(sizes, 2.0**b) for b in bits])
    with themed():
        figure, (ax,) = new_figure(7.4, 4.2)
        ax.plot(bits, np.maximum(counted, floor), label="counted", **style.line())
        shown = expected >= floor
        ax.plot(
            np.array(bits)[shown], expected[shown], color=INK, ls="--", lw=1.3,
            label="if all levels were equally likely",
        )  # fmt: skip
        for b, name in ((8, "int8"), (16, "16 bits")):
            ax.axvline(b, color=INK, lw=0.8, ls=":")
            ax.annotate(
                name, (b, 1), xycoords=("data", "axes fraction"), xytext=(4, -12),
                textcoords="offset points",
            )  # fmt: skip
        ax.set(yscale="log", xlabel="bits of the number", ylabel="pairs of ids that are equal")
        ax.set_ylim(bottom=floor * 0.8)
        plain_axis(ax.yaxis, lambda y, _: "0" if y <= floor else short_number(y))
        ax.set_yticks([floor, *(t for t in ax.get_yticks() if 1 <= t <= 4 * counted.max())])
        ax.set_xticks([b for b in bits if b % 4 == 0])
        ax.set_title("Every bit less doubles the pairs that are one again")
        ax.legend(loc="upper right", bbox_to_anchor=(1, 0.9))
    return figure
