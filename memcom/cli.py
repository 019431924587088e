"""The command ``memcom``.

Each command imports what it needs when it runs, so that ``memcom --help`` is quick, and only turns
words into arguments: the work is done by the rooms below. A new command is one more decorated
function. Errors that a user can mend (a bad value, a missing file, a budget that cannot be met)
are shown as one line with exit code 2 (set MEMCOM_TRACEBACK=1 to see more); anything else is a
fault of ours and keeps its traceback.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click


class _Group(click.Group):
    """A group whose commands show a user's errors as one line instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (ValueError, OSError) as error:  # ours derive from these: BudgetError, ...
            if isinstance(error, BrokenPipeError) or os.environ.get("MEMCOM_TRACEBACK"):
                raise
            raise click.UsageError(" ".join(str(error).split())) from error
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] == "memcom":
                raise
            raise click.UsageError(
                f"{error.name} is not installed; `python -m memcom.doctor` says how to mend that"
            ) from error


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="memcom-kit")
def main() -> None:
    """Learn, build and measure compressed embedding tables."""


@main.group()
def data() -> None:
    """Data sets: which there are, what they hold, and getting them."""


@data.command("list")
def list_() -> None:
    """List the names of the data sets."""
    from memcom import data

    for name in data.names():
        click.echo(name)


@data.command()
@click.argument("name")
def info(name: str) -> None:
    """Show source, licence, size and citation of data set NAME."""
    from memcom import data

    click.echo(data.describe(name))


@data.command()
@click.argument("name")
def fetch(name: str) -> None:
    """Make sure data set NAME is on this machine and undamaged; print where."""
    from memcom import data

    click.echo(data.fetch(name))


@main.command()
@click.argument("name")
@click.argument("num_embeddings", type=click.IntRange(min=1))
@click.argument("embedding_dim", type=click.IntRange(min=1))
@click.option("--ratio", type=float, help="At least this many times smaller than the full table.")
@click.option("--nbytes", metavar="SIZE", help='At most this many bytes, such as "1.5 MB".')
def plan(
    name: str, num_embeddings: int, embedding_dim: int, ratio: float | None, nbytes: str | None
) -> None:
    """Size compressor NAME for a ratio or a byte budget.

    NAME is a name of `memcom.available()`, with options where it has some:
    "qr(operation='concat')".
    """
    import memcom

    if (ratio is None) == (nbytes is None) and name != "full":
        raise click.UsageError("give one of --ratio and --nbytes")
    budget: dict[str, Any] = {"ratio": ratio, "nbytes": nbytes}
    try:
        method, options = memcom.parse_spec(name)
        found = memcom.plan(method, num_embeddings, embedding_dim, **budget, **options)
    except TypeError as error:  # no such option of the method
        raise click.UsageError(f"{name}: {error}") from error
    arguments = ", ".join(f"{key}={value!r}" for key, value in found.arguments.items())
    click.echo(f"method     {found.name}")
    click.echo(f"arguments  {arguments or 'none'}")
    click.echo(f"stored     {found.nbytes:,} bytes of {found.full_nbytes:,}")
    click.echo(f"ratio      {found.compression_ratio:.2f}")
    if found.note:
        click.echo(f"note       {found.note}")


def _methods(ctx: click.Context, parameter: click.Parameter, value: str | None) -> Any:
    """Split "a,b(c=1,d=2)" at the commas outside parentheses."""
    if value is None:
        return None
    parts, depth = [""], 0
    for letter in value:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    if depth or not all(part.strip() for part in parts):
        raise click.BadParameter(f"expected names separated by commas, got {value!r}")
    return [part.strip() for part in parts]


@main.command()
@click.option(
    "--data", default="movielens", show_default=True, help="A data set's name, or your own file."
)
@click.option("--user-col", help="Column of the user in your own file.")
@click.option("--item-col", help="Column of the item.")
@click.option("--time-col", help="Column of the time; without it the split is by hash.")
@click.option(
    "--split",
    type=click.Choice(["time", "random"]),
    help="How each user's items are held out.  [default: the data set's own]",
)
@click.option(
    "--ratio",
    "ratios",
    type=click.FloatRange(min=1),
    multiple=True,
    help="Compression ratio; may be given several times.  [default: 16]",
)
@click.option("--methods", callback=_methods, help="Names separated by commas.")
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--profile", type=click.Choice(["fast", "full"]), default="fast", show_default=True)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("results/compare"),
    show_default=True,
    help="Folder for the table as CSV and JSON.",
)
def compare(ratios: tuple[float, ...], **options: Any) -> None:
    """Train compressors at equal bytes on real data and print a table."""
    from memcom import experiments

    experiments.compare_command(ratios=list(ratios) or [16.0], **options)


@main.command()
@click.argument("names", nargs=-1)
@click.option("--profile", type=click.Choice(["fast", "full"]), default="fast", show_default=True)
@click.option("--site", default="site", show_default=True, help="Folder for the pages.")
@click.option("--folder", default="notebooks", show_default=True, help="Folder of the notebooks.")
def run(names: tuple[str, ...], profile: str, site: str, folder: str) -> None:
    """Run the notebooks whose names begin with NAMES (default: all) and write their pages."""
    from memcom import notebook

    try:
        notebook.run_all(names or None, profile=profile, site=site, folder=folder)
    except notebook.CourseError as error:
        click.echo(notebook.report(site))
        raise click.ClickException(str(error)) from error
    click.echo(notebook.report(site))
    click.echo(f"\n{Path(site) / 'index.html'}")


@main.command()
@click.option("--site", default="site", show_default=True, help="Folder of the pages.")
def site(site: str) -> None:
    """Write the pages of the last run again, without running anything."""
    from memcom import notebook

    try:
        click.echo(notebook.rebuild(site))
    except notebook.CourseError as error:
        raise click.ClickException(str(error)) from error


@main.command()
def doctor() -> None:
    """Check this installation and say how to mend what is wrong."""
    from memcom import doctor

    raise SystemExit(doctor.main())
