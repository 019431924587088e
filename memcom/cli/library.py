"""``memcom plan``, ``methods``, ``recommend``, ``data``, ``bench``, ``warm-up``, ``doctor``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from memcom.cli._group import Commands, as_json, known_method, main, separated, separated_as, show


@main.command("plan")
@click.argument("name", callback=known_method)
@click.argument("num_embeddings", type=click.IntRange(min=1))
@click.argument("embedding_dim", type=click.IntRange(min=1))
@click.option("--ratio", type=float, help="At least this many times smaller than the full table.")
@click.option("--nbytes", metavar="SIZE", help='At most this many bytes, such as "1.5 MB".')
@as_json
def plan_layer(
    name: str,
    num_embeddings: int,
    embedding_dim: int,
    ratio: float | None,
    nbytes: str | None,
    as_json: bool,
) -> None:
    """Size compressor NAME for a ratio or a byte budget.

    NAME is one of those that `memcom methods` lists, with options where it has some:
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
    if as_json:
        names = "nbytes full_nbytes compression_ratio note".split()
        sizes = {name: getattr(found, name) for name in names}
        show({"method": found.name, "arguments": found.arguments, **sizes})
        return
    arguments = ", ".join(f"{key}={value!r}" for key, value in found.arguments.items())
    click.echo(f"method     {found.name}")
    click.echo(f"arguments  {arguments or 'none'}")
    click.echo(f"stored     {found.nbytes:,} bytes of {found.full_nbytes:,}")
    click.echo(f"ratio      {found.compression_ratio:.2f}")
    if found.note:
        click.echo(f"note       {found.note}")


@main.command("methods")
@as_json
def list_methods(as_json: bool) -> None:
    """List the compressors, one a line, each with the case for it."""
    import memcom

    cards = {name: memcom.get(name).card for name in memcom.available()}
    if as_json:
        show([{"method": name, **asdict(card)} for name, card in cards.items()])
        return
    width = max(map(len, cards))
    for name, card in cards.items():
        click.echo(f"{name:<{width}}  {card.use_when}")


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


@main.group(cls=Commands)
def data() -> None:
    """List, describe and fetch data sets."""


@data.command("list")
@as_json
def list_data(as_json: bool) -> None:
    """List the data sets: what each holds, how many rows, and if it is on this machine."""
    from memcom.data.obtain import is_here
    from memcom.data.registry import data_sets

    sets = data_sets().values()
    if as_json:
        show([{**asdict(each), "here": is_here(each.name)} for each in sets])
        return
    for each in sets:
        rows = "" if each.rows is None else f"{each.rows:,}"
        absent = "by hand" if each.obtained == "own file" else "to fetch"
        where = "here" if is_here(each.name) else absent
        click.echo(f"{each.name:<16}  {each.kind:<12}  {rows:>10}  {where:<8}  {each.title}")


@data.command("info")
@click.argument("name")
@as_json
def describe_data(name: str, as_json: bool) -> None:
    """Show source, licence, size and citation of data set NAME."""
    from memcom import data
    from memcom.data.registry import find_set

    if as_json:
        show(asdict(find_set(name)))
    else:
        click.echo(data.describe(name))


@data.command("fetch")
@click.argument("name")
def fetch_data(name: str) -> None:
    """Make sure data set NAME is on this machine and undamaged; print where."""
    from memcom import data

    click.echo(data.fetch(name))


def _threads(text: str) -> int:
    if (threads := int(text)) < 1:
        raise ValueError(text)
    return threads


@main.command("bench")
@click.argument("out", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--full",
    is_flag=True,
    help="Every size, in half an hour; else the targets', in minutes.",
)
@click.option(
    "--threads",
    callback=separated_as(_threads, "numbers of threads"),
    help="Numbers of threads, as in 1,2.  [default: 2, with --full 1 and 2]",
)
@click.option("--only", callback=separated, help="Just these parts, as in forward,step,memory.")
def run_benchmarks(
    out: Path | None, full: bool, threads: list[int] | None, only: list[str] | None
) -> None:
    """Measure speed and memory against nn.Embedding, in this run on this machine.

    OUT is a CSV file for all that was measured. The exit code is 1 if a target is missed.
    """
    from memcom._files import import_shipped

    benchmarks = import_shipped("benchmarks")
    options = {"full": full, "threads": threads or (), "only": only or ()}
    raise SystemExit(benchmarks.command(out, **options, log=click.echo))


@main.command("warm-up")
def compile_kernels() -> None:
    """Compile the lookups for this machine, as in the image of a container; print where.

    Without this the first large lookup has that done in the background.
    """
    from memcom import kernels
    from memcom.kernels import loading

    if not kernels.warm_up():
        raise click.ClickException(f"{loading.NO_NUMBA}: lookups are those of plain PyTorch")
    cache = loading.find_cache()
    if cache is None or not cache.holds(loading.MODULES[-1]):
        raise click.ClickException("the kernels cannot be kept; set NUMBA_CACHE_DIR to a folder")
    click.echo(cache.folder)


@main.command("doctor")
@as_json
def check_installation(as_json: bool) -> None:
    """Check this installation and print a remedy for each failure."""
    from memcom import doctor

    raise SystemExit(doctor.run_doctor(as_json))
