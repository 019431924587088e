"""``python -m memcom.benchmark [out.csv] [--full]``: time everything, compare with the targets."""

from __future__ import annotations

import sys

from memcom.benchmark.runner import run
from memcom.benchmark.targets import check


def main(arguments: list[str]) -> int:
    """Run and print the table of targets.

    Args:
        arguments: A CSV file to write, and ``--full`` for every size rather than the targets'.

    Returns:
        The exit code: 1 if a target is missed.
    """
    files = [a for a in arguments if not a.startswith("--")]
    rows = run(files[0] if files else None, quick="--full" not in arguments)
    load = rows[0]["load"]
    print(f"load {load}: {'ratios may be off' if load > 1 else 'the machine is quiet'}")
    missed = 0
    for target, measured in check(rows):
        if measured is None:
            continue  # memory, in a quick run
        mark = "ok    " if measured <= target.limit else "MISSED"
        missed += measured > target.limit
        what = f"{target.phase}, {target.method} / {target.baseline}, batch {target.batch}"
        print(f"{mark} {measured:6.3f} (<= {target.limit:5.3f})  {what}")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
