"""``memcom plan``, ``memcom doctor``: what a layer would take, and whether all is installed."""

from __future__ import annotations

from typing import Any

import click

from memcom.cli._group import main


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


@main.command()
def doctor() -> None:
    """Check this installation and say how to mend what is wrong."""
    from memcom import doctor

    raise SystemExit(doctor.main())
