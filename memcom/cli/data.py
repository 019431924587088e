"""``memcom data``: list, describe and fetch data sets."""

from __future__ import annotations

import click

from memcom.cli._group import main


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
