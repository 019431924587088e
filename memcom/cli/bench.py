"""``memcom bench``: time the layers, measure their memory, compare with the targets."""

from __future__ import annotations

from pathlib import Path

import click

from memcom.cli._group import main


@main.command()
@click.argument("out", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--full",
    is_flag=True,
    help="Every size, in a quarter of an hour; else the targets', in minutes.",
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
def bench(out: Path | None, full: bool, threads: tuple[int, ...], only: tuple[str, ...]) -> None:
    """Measure speed and memory against nn.Embedding, in this run on this machine.

    OUT is a CSV file for all that was measured. The exit code is 1 if a target is missed.
    """
    import benchmarks

    raise SystemExit(benchmarks.command(out, full=full, threads=threads, only=only, log=click.echo))
