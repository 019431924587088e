"""``memcom plan``, ``recommend``, ``data``, ``bench``, ``warm-up``, ``doctor``: one room each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from memcom.cli._group import main


@main.command("plan")
@click.argument("name")
@click.argument("num_embeddings", type=click.IntRange(min=1))
@click.argument("embedding_dim", type=click.IntRange(min=1))
@click.option("--ratio", type=float, help="At least this many times smaller than the full table.")
@click.option("--nbytes", metavar="SIZE", help='At most this many bytes, such as "1.5 MB".')
def plan_layer(
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


@main.command()
@click.argument("num_embeddings", type=click.IntRange(min=1))
@click.argument("embedding_dim", type=click.IntRange(min=1))
@click.option("--ratio", type=float, help="At least this many times smaller than the full table.")
@click.option("--nbytes", metavar="SIZE", help='At most this many bytes, such as "1.5 MB".')
@click.option("--top", type=click.IntRange(min=1), default=5, show_default=True, help="How many.")
def recommend(num_embeddings: int, embedding_dim: int, **options: Any) -> None:
    """Rank the methods that fit a budget by what they lost on other data.

    `memcom advise` tries them on your own.
    """
    from memcom import advice

    if (options["ratio"] is None) == (options["nbytes"] is None):
        raise click.UsageError("give one of --ratio and --nbytes")
    click.echo(advice.recommend(num_embeddings, embedding_dim, **options))


@main.group()
def data() -> None:
    """List, describe and fetch data sets."""


@data.command("list")
def list_data() -> None:
    """List the names of the data sets."""
    from memcom import data

    for name in data.names():
        click.echo(name)


@data.command("info")
@click.argument("name")
def describe_data(name: str) -> None:
    """Show source, licence, size and citation of data set NAME."""
    from memcom import data

    click.echo(data.describe(name))


@data.command("fetch")
@click.argument("name")
def fetch_data(name: str) -> None:
    """Make sure data set NAME is on this machine and undamaged; print where."""
    from memcom import data

    click.echo(data.fetch(name))


@main.command("bench")
@click.argument("out", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--full",
    is_flag=True,
    help="Every size, in half an hour; else the targets', in minutes.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    multiple=True,
    help="Threads; may be given several times.  [default: 2, with --full 1 and 2]",
)
@click.option(
    "--only",
    metavar="PART",
    multiple=True,
    help="Just this part, such as forward, step or memory; may be given several times.",
)
def run_benchmarks(
    out: Path | None, full: bool, threads: tuple[int, ...], only: tuple[str, ...]
) -> None:
    """Measure speed and memory against nn.Embedding, in this run on this machine.

    OUT is a CSV file for all that was measured. The exit code is 1 if a target is missed.
    """
    from memcom._files import import_shipped

    benchmarks = import_shipped("benchmarks")
    raise SystemExit(benchmarks.command(out, full=full, threads=threads, only=only, log=click.echo))


@main.command("warm-up")
def compile_kernels() -> None:
    """Compile the lookups for this machine, as in the image of a container; print where.

    Without this the first large lookup has that done in the background.
    """
    from memcom import kernels
    from memcom.kernels import loading

    if not kernels.warm_up():
        raise click.UsageError(f"{loading.NO_NUMBA}: lookups are those of plain PyTorch")
    cache = loading.find_cache()
    if cache is None or not cache.holds(loading.MODULES[-1]):
        raise click.UsageError("the kernels cannot be kept; set NUMBA_CACHE_DIR to a folder")
    click.echo(cache.folder)


@main.command("doctor")
def check_installation() -> None:
    """Check this installation and print a remedy for each failure."""
    from memcom import doctor

    raise SystemExit(doctor.run_doctor())
