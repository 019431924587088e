"""``python -m memcom`` is the command ``memcom``."""

from memcom.cli import main

main()
