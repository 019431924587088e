"""``memcom run``, ``memcom site``: run the notebooks, write their pages."""

from __future__ import annotations

from pathlib import Path

import click

from memcom.cli._group import main


@main.command()
@click.argument("names", nargs=-1)
@click.option("--profile", type=click.Choice(["fast", "full"]), default="fast", show_default=True)
@click.option("--site", default="site", show_default=True, help="Folder for the pages.")
@click.option("--folder", default="notebooks", show_default=True, help="Folder of the notebooks.")
@click.option("--docs", default="docs", show_default=True, help="Sources of the documentation.")
def run(names: tuple[str, ...], profile: str, site: str, folder: str, docs: str) -> None:
    """Run the notebooks whose names begin with NAMES (default: all) and build the pages."""
    from memcom import course

    try:
        course.run_all(names or None, profile=profile, site=site, folder=folder, docs=docs)
    except course.CourseError as error:
        click.echo(course.report(site))
        raise click.ClickException(str(error)) from error
    click.echo(course.report(site))
    built = (Path(docs) / "conf.py").exists()
    click.echo(f"\n{Path(site) / ('index.html' if built else 'executed')}")


@main.command()
@click.option("--site", default="site", show_default=True, help="Folder of the pages.")
@click.option("--folder", default="notebooks", show_default=True, help="Folder of the notebooks.")
@click.option("--docs", default="docs", show_default=True, help="Sources of the documentation.")
def site(site: str, folder: str, docs: str) -> None:
    """Build the pages with the outputs of the last run, without running anything."""
    from memcom import course

    try:
        click.echo(course.rebuild(site, folder=folder, docs=docs))
    except course.CourseError as error:
        raise click.ClickException(str(error)) from error
