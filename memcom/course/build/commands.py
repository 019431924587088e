"""The notebooks from a terminal: ``python -m memcom.course run|site|lint|clean``."""

from __future__ import annotations

import ast
import json
from typing import Any

import click

from memcom import course


@click.group(help="Run, check and publish the notebooks of the course.")
def main() -> None:
    """Collect the commands."""


@main.command()
@click.argument("path", type=click.Path(exists=True, dir_okay=False))
@click.option("-p", "--parameter", nargs=2, multiple=True, metavar="NAME VALUE")
@click.option("--solutions", is_flag=True, help="Run the exercises' solutions, too.")
@click.option("--tour", is_flag=True, help="Move every control of every widget.")
@click.option("--timeout", default=600.0, show_default=True, help="Seconds for one cell.")
def run(
    path: str,
    parameter: tuple[tuple[str, str], ...],
    solutions: bool,
    tour: bool,
    timeout: float,
) -> None:
    """Run one notebook and print what it recorded; the file is not changed."""
    parameters = {name: _literal(value) for name, value in parameter}
    try:
        result = course.run(path, parameters, timeout=timeout, solutions=solutions, tour=tour)
    except (course.NotebookError, ValueError, TypeError) as error:
        raise click.ClickException(str(error)) from error
    for name, value in result.recorded.items():
        click.echo(f"{name} = {json.dumps(value)}")
    for row in result.results:
        click.echo(f"result {json.dumps(row)}")
    for name, status in result.checks.items():
        click.echo(f"exercise {name}: {status}")
    click.echo(f"{result.seconds:.1f} s, peak {result.peak_rss_bytes / 2**20:,.0f} MiB")


@main.command()
@click.argument("names", nargs=-1)
@click.option("--profile", default="fast", show_default=True, help='"fast" or "full".')
@click.option("--site", default="site", show_default=True, help="Folder for the pages.")
@click.option("--folder", default="notebooks", show_default=True, help="Folder of the notebooks.")
@click.option("--docs", default="docs", show_default=True, help="Sources of the documentation.")
def site(names: tuple[str, ...], profile: str, site: str, folder: str, docs: str) -> None:
    """Run the notebooks (all, or those whose names begin with NAMES) and write their pages."""
    try:
        course.run_all(names or None, profile=profile, site=site, folder=folder, docs=docs)
    except course.CourseError as error:
        click.echo(course.report(site))
        raise click.ClickException(str(error)) from error
    except (FileNotFoundError, FileExistsError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(course.report(site))
    click.echo(f"\n{site}/index.html")


@main.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False))
def lint(paths: tuple[str, ...]) -> None:
    """Say what is wrong with notebook files."""
    faults = [f"{path}: {fault}" for path in paths for fault in course.lint(path)]
    for fault in faults:
        click.echo(fault)
    raise SystemExit(1 if faults else 0)


@main.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False))
def clean(paths: tuple[str, ...]) -> None:
    """Remove outputs, counts and widget state from notebook files."""
    for path in paths:
        if course.clean(path):
            click.echo(f"cleaned {path}")


def _literal(text: str) -> Any:
    """Read a parameter: a Python literal, or else the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


if __name__ == "__main__":
    main(prog_name="python -m memcom.course")
