"""``memcom sweep``, ``compare`` and ``advise``: train within equal budgets, and report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from memcom.cli._group import main

if TYPE_CHECKING:
    from memcom.sweep import Spec


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


def _numbers(ctx: click.Context, parameter: click.Parameter, value: str | None) -> Any:
    """Split "4,8,16" into numbers."""
    if value is None:
        return None
    try:
        return [float(part) for part in value.split(",")]
    except ValueError as error:
        raise click.BadParameter(f"expected numbers separated by commas, got {value!r}") from error


def _names(ctx: click.Context, parameter: click.Parameter, value: str | None) -> Any:
    """Split "page,shop" into names; "none" is an empty list."""
    if value is None:
        return None
    return [name.strip() for name in value.split(",") if value != "none"]


def _separator(ctx: click.Context, parameter: click.Parameter, value: str | None) -> Any:
    """Read a tab that a shell hands over as a backslash and a t."""
    return "\t" if value in ("\\t", "tab") else value


_COLUMNS = (
    *("user_col", "item_col", "time_col", "split", "rating_col", "label_col"),
    *("field_cols", "dense_cols", "min_rating", "separator", "encoding"),
)
_SHARED = (
    click.option("--data", help="A data set's name, or a CSV, TSV or Parquet file."),
    click.option("--user-col", help="Column of the user in the file."),
    click.option("--item-col", help="Column of the item."),
    click.option("--time-col", help="Column of the time; without it the split is by hash."),
    click.option(
        "--split",
        type=click.Choice(["time", "random"]),
        help="How each user's items are held out.  [default: the data set's own]",
    ),
    click.option("--rating-col", help="Column of the rating."),
    click.option("--min-rating", type=float, help="Leave out rows that are rated lower."),
    click.option("--label-col", help="Column of the label, for tasks that classify."),
    click.option("--field-cols", callback=_names, help="Further columns of ids, as in page,shop."),
    click.option("--dense-cols", callback=_names, help="Columns of numbers, as in price,age."),
    click.option(
        "--separator",
        callback=_separator,
        help='Character between fields, as in ";" or "\\t".  [default: that of the ending]',
    ),
    click.option("--encoding", help='Encoding of the file, as in "latin-1".  [default: utf-8]'),
)


def _data_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that name the data and its columns."""
    for option in reversed(_SHARED):
        command = option(command)
    return command


def _out_option(default: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(
        "--out",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path(default),
        show_default=True,
        help="Folder of the trials and the report; an interrupted run resumes there.",
    )


@main.command()
@_data_options
@click.option(
    "--ratio",
    "ratios",
    type=click.FloatRange(min=1),
    multiple=True,
    default=[16.0],
    show_default=True,
    help="Compression ratio; may be given several times.",
)
@click.option(
    "--methods",
    callback=_methods,
    default="every",
    show_default=True,
    help='Names separated by commas; "every" for the registry.',
)
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--profile", type=click.Choice(["fast", "full"]), default="full", show_default=True)
@_out_option("results/compare")
def compare(data: str | None, out: Path, **options: Any) -> None:
    """Rank with every compressor within one budget of bytes, time them, and print a table.

    A sweep of the whole registry with --times, of movielens if no data is named. Exits with 1 if a
    trial failed.
    """
    spec = _spec(None, data=data or "movielens", **options)
    _run_and_report(spec, out, {"engine": "processes", "times": True})


@main.command()
@click.argument("spec", required=False, type=click.Path(exists=True, dir_okay=False))
@_data_options
@click.option("--task", help="Name of the task.  [default: ranking]")
@click.option(
    "--methods", callback=_methods, help='Names separated by commas; "every" for the registry.'
)
@click.option("--ratios", callback=_numbers, help="Compression ratios, as in 4,8,16.")
@click.option("--nbytes", multiple=True, help='Byte budget, as in "1.5 MB"; several times.')
@click.option("--seeds", type=click.IntRange(min=1), help="Number of seeds.  [default: 3]")
@click.option("--learning-rates", callback=_numbers, help="Grid for all methods, as in 3e-3,1e-2.")
@click.option("--profile", type=click.Choice(["fast", "full"]), help="Effort.  [default: full]")
@click.option(
    "--references",
    callback=_names,
    help="Models of another kind to compare with, as in ease,ials, or none.  [default: all of "
    "the task in the full profile]",
)
@click.option(
    "--set",
    "set_options",
    metavar="NAME=VALUE",
    multiple=True,
    help="Option of the task; a list such as embedding_dim=[64,128] tries all of it.",
)
@_out_option("results/sweep")
@click.option(
    "--engine",
    type=click.Choice(["local", "processes", "ray"]),
    default="processes",
    show_default=True,
    help="Where trials run: this process, processes of this machine, a Ray cluster.",
)
@click.option("--jobs", type=click.IntRange(min=1), help="Trials at a time.  [default: all cores]")
@click.option("--retry-failed", is_flag=True, help="Run failed and damaged trials again.")
@click.option("--times", is_flag=True, help="Time lookups and training steps, too.")
@click.option("--dry-run", is_flag=True, help="Print bytes, trials and time; run nothing.")
@click.option("--report-only", is_flag=True, help="Write the report of what is there; run nothing.")
def sweep(
    spec: str | None,
    out: Path,
    engine: str,
    jobs: int | None,
    retry_failed: bool,
    times: bool,
    dry_run: bool,
    report_only: bool,
    **options: Any,
) -> None:
    """Train compressors over ratios and seeds, each tuned alike; resume; report.

    SPEC is a TOML file; options replace what it says. Without one the options say everything.
    Exits with 1 if a trial failed, with 2 if a value makes no sense or a file cannot be used.
    """
    from memcom import sweep

    options["nbytes"] = options["nbytes"] or None
    wanted = _spec(spec, **options)
    if dry_run:
        at_a_time = jobs or (1 if engine == "local" else sweep.parallel_trials())
        click.echo(sweep.dry_run(sweep.tables(wanted), out, jobs=at_a_time))
        return
    running = {"engine": engine, "jobs": jobs, "retry_failed": retry_failed, "times": times}
    _run_and_report(wanted, out, None if report_only else running)


@main.command()
@_data_options
@click.option("--nbytes", metavar="SIZE", help='At most this many bytes, such as "2 MB".')
@click.option("--ratio", type=click.FloatRange(min=1), help="Or: this many times fewer bytes.")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    help="Time for all trainings together.",
)
@click.option(
    "--embedding-dim", type=click.IntRange(min=1), default=64, show_default=True, help="Width."
)
@_out_option("results/advise")
@click.option("--jobs", type=click.IntRange(min=1), help="Trials at a time.  [default: all cores]")
def advise(data: str | None, nbytes: str | None, ratio: float | None, **options: Any) -> None:
    """Find the best method for your own users and items within a budget, in some minutes.

    Trains the methods that other data recommends, drops the worse half twice, and trains the rest
    to the end. Prints which one to take and the line that builds it. An interrupted run resumes.
    """
    from memcom import advice

    if data is None or (nbytes is None) == (ratio is None):
        raise click.UsageError("give --data, and one of --nbytes and --ratio")
    columns = {name: options.pop(name) for name in _COLUMNS}
    options |= {name: column for name, column in columns.items() if column is not None}
    found = advice.advise(
        data, nbytes=nbytes, ratio=ratio, draw=_drawing("quality_against_bytes"), **options
    )
    click.echo(f"{found}\n")
    for kind, path in found.files.items():
        click.echo(f"{kind}: {path}")


def _spec(path: str | None, **options: Any) -> Spec:
    from memcom import sweep

    columns = {name: options.pop(name) for name in _COLUMNS}
    return sweep.spec_of(path, columns=columns, **options)


def _run_and_report(spec: Spec, out: Path, running: dict[str, Any] | None) -> None:
    """Run the spec, unless `running` is None; write the report and print its tables."""
    from memcom import sweep

    tables = list(sweep.tables(spec)) if running is None else sweep.run(spec, out, **running)
    report = sweep.write_report(tables, out, draw=_drawing("quality_against_ratio"))
    for table, rows, notes in zip(tables, report.rows, report.notes, strict=True):
        click.echo(f"{sweep.terminal_section(table, rows, notes)}\n")
    for kind, path in report.files.items():
        click.echo(f"{kind}: {path}")
    ran = [record for rows in report.rows for row in rows for record in row.records]
    if failed := sum(record.outcome is None for record in ran):
        count = "every trial" if failed == len(ran) else f"{failed} of {len(ran)} trials"
        click.echo(f"{count} failed; the report says why, --retry-failed runs them again", err=True)
        click.get_current_context().exit(1)


def _drawing(name: str) -> Any:
    """A function of `memcom.plots`, or None where there is no Matplotlib."""
    try:
        from memcom import plots
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "memcom":
            raise
        click.echo(f"no pictures: {error.name} is not installed", err=True)
        return None
    return getattr(plots, name)
