"""``memcom run``, ``site``, ``lint``, ``clean``, ``course``: the notebooks from a terminal."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import click

from memcom.cli._group import as_json, main, note, show, wants_progress

_files = click.argument(
    "paths", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False)
)
_site = click.option("--site", default="site", show_default=True, help="Folder of the pages.")
_folder = click.option(
    "--folder",
    help="Folder of the notebooks.  [default: notebooks, or those that memcom brings]",
)
_docs = click.option(
    "--docs", default="docs", show_default=True, help="Sources of the documentation."
)


@main.command("run")
@click.argument("targets", nargs=-1, metavar="[NAMES... | NOTEBOOKS...]")
@click.option("-p", "--parameter", nargs=2, multiple=True, metavar="NAME VALUE")
@click.option("--profile", type=click.Choice(["fast", "full"]), help="Effort.  [default: fast]")
@click.option("--solutions", is_flag=True, help="Run a notebook's solutions; NAMES always do.")
@click.option("--tour", is_flag=True, help="Move every control of every widget.")
@click.option("--timeout", default=600.0, show_default=True, help="Seconds for one cell.")
@as_json
@_site
@_folder
@_docs
def run_notebooks(
    targets: tuple[str, ...],
    parameter: tuple[tuple[str, str], ...],
    profile: str | None,
    solutions: bool,
    tour: bool,
    timeout: float,
    as_json: bool,
    site: str,
    folder: str | None,
    docs: str,
) -> None:
    """Run the course, or one notebook.

    With NAMES, run the notebooks of the course whose names begin so (default: all), solutions
    included, and build the pages. With NOTEBOOKS, files that end in .ipynb, run them and print what
    they recorded; no file is written.
    """
    from memcom._extras import require

    needed = "IPython ipykernel matplotlib nbclient nbformat papermill".split()
    require("memcom run", *needed, extra="notebooks")
    from memcom import course

    parameters = {name: _literal(value) for name, value in parameter}
    files = [target for target in targets if target.endswith(".ipynb")]
    if files and len(files) < len(targets):
        raise click.UsageError("give names of the course or notebook files, not both")
    how: dict[str, Any] = {"timeout": timeout, "tour": tour}
    if files and profile is not None:
        parameters["PROFILE"] = profile
    try:
        runs = [course.run_notebook(f, parameters, solutions=solutions, **how) for f in files]
        if files:
            show([_as_mapping(run) for run in runs]) if as_json else list(map(_print_run, runs))
            return
        how |= {"profile": profile or "fast", "parameters": parameters}
        how |= {"site": site, "folder": _notebooks(folder), "docs": docs}
        runs = course.run_course(targets or None, **how, progress=wants_progress())
        if as_json:
            show([_as_mapping(run) for run in runs])
            return
        built = (Path(docs) / "conf.py").exists()
        click.echo(course.summarise_runs(runs))
        click.echo(f"\n{Path(site) / ('index.html' if built else 'executed')}")
    except course.CourseError as error:
        if as_json:
            show([_as_mapping(run) for run in error.runs])
        else:
            click.echo(course.summarise_runs(error.runs))
        raise click.ClickException(str(error)) from error
    except course.NotebookError as error:
        raise click.ClickException(str(error)) from error
    except TypeError as error:  # a parameter of the wrong type
        raise click.UsageError(str(error)) from error


def _as_mapping(result: Any) -> dict[str, Any]:
    """A run without the notebook itself."""
    names = "name status seconds peak_rss_bytes recorded results checks error".split()
    return {name: getattr(result, name) for name in names}


def _print_run(result: Any) -> None:
    for name, value in result.recorded.items():
        click.echo(f"{name} = {json.dumps(value)}")
    for row in result.results:
        click.echo(f"result {json.dumps(row)}")
    for name, status in result.checks.items():
        click.echo(f"exercise {name}: {status}")
    click.echo(f"{result.seconds:.1f} s, peak {result.memory}")


def _notebooks(folder: str | None) -> Path:
    """Return the folder asked for, the one in the current directory, or the one in the wheel."""
    from memcom._files import shipped

    if folder is not None or Path("notebooks").is_dir():
        return Path(folder or "notebooks")
    note(
        "no folder notebooks here: taking those that memcom brings (memcom course DIR copies them)"
    )
    return shipped("notebooks")


def _literal(text: str) -> Any:
    """Read a parameter: a Python literal, or else the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


@main.command("site")
@_site
@_folder
@_docs
def build_site(site: str, folder: str | None, docs: str) -> None:
    """Build the pages with the outputs of the last run, without running anything."""
    from memcom import course

    try:
        click.echo(course.rebuild(site, folder=folder, docs=docs))
    except course.CourseError as error:
        raise click.ClickException(str(error)) from error


@main.command("lint")
@_files
def lint_files(paths: tuple[str, ...]) -> None:
    """Check notebook files against the rules of the course; exit code 1 if one is broken."""
    from memcom import course

    faults = [f"{path}: {fault}" for path in paths for fault in course.lint(path)]
    for fault in faults:
        click.echo(fault)
    raise SystemExit(1 if faults else 0)


@main.command("clean")
@_files
def clean_files(paths: tuple[str, ...]) -> None:
    """Remove outputs, counts and widget state from notebook files."""
    from memcom import course

    for path in paths:
        if course.clean(path):
            click.echo(f"cleaned {path}")


@main.command("course")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def copy_course(folder: Path) -> None:
    """Copy the notebooks of the course into FOLDER; a file that differs is never overwritten."""
    from memcom import course
    from memcom._extras import absent

    for path in course.copy_notebooks(folder):
        click.echo(path)
    note(f"open them with: jupyter lab {folder}")
    if absent(["jupyterlab"]):
        note("which needs: pip install 'memcom-kit[notebooks]'")
