"""The group that holds all commands, and how it shows a user's errors."""

from __future__ import annotations

import os
from typing import Any

import click

from memcom import __version__
from memcom._extras import MissingExtra, extra_of


class _Group(click.Group):
    """A group whose commands show a user's errors as one line instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (ValueError, OSError, MissingExtra) as error:  # BudgetError is a ValueError, ...
            if isinstance(error, BrokenPipeError) or os.environ.get("MEMCOM_TRACEBACK"):
                raise
            raise click.UsageError(" ".join(str(error).split())) from error
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] == "memcom":
                raise
            extra = extra_of(error.name)
            remedy = f"pip install 'memcom-kit[{extra}]'" if extra else "see `memcom doctor`"
            raise click.UsageError(f"{error.name} is not installed: {remedy}") from error


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="memcom")
def main() -> None:
    """Learn, build and measure compressed embedding tables."""
