"""``memcom sweep`` and ``advise``: train within equal budgets, and report."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from memcom.cli._group import as_json, main, note, separated, separated_as, show, wants_progress

if TYPE_CHECKING:
    from memcom.sweep import Report, Source, Spec, Table


_numbers = separated_as(float, "numbers")


def _sizes(ctx: click.Context, option: click.Parameter, value: str | None) -> Any:
    """Split "64kB,1.5MB"; a comma between thousands would be read as one between sizes."""
    if value is not None and re.fullmatch(r"\d{1,3}(,\d{3})+", value):
        raise click.BadParameter(f"commas separate sizes; write {value.replace(',', '')}")
    return separated(ctx, option, value)


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
    click.option(
        "--field-cols", callback=separated, help="Further columns of ids, as in page,shop."
    ),
    click.option("--dense-cols", callback=separated, help="Columns of numbers, as in price,age."),
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
@click.argument("spec", required=False, type=click.Path(exists=True, dir_okay=False))
@_data_options
@click.option("--task", help="Name of the task.  [default: ranking]")
@click.option(
    "--methods",
    callback=separated,
    help="Names of `memcom methods`, with options or without, as in qr,memcom(bits=8), or every.  "
    "[default: hash,qr,memcom]",
)
@click.option(
    "--ratios", callback=_numbers, help="Compression ratios.  [default: 4,8,16, if no --nbytes]"
)
@click.option("--nbytes", callback=_sizes, help="Byte budgets, as in 64kB,1.5MB.")
@click.option("--seeds", type=click.IntRange(min=1), help="Number of seeds.  [default: 3]")
@click.option("--learning-rates", callback=_numbers, help="Grid for all methods, as in 3e-3,1e-2.")
@click.option("--profile", type=click.Choice(["fast", "full"]), help="Effort.  [default: full]")
@click.option(
    "--references",
    callback=separated,
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
@as_json
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
    as_json: bool,
    **options: Any,
) -> None:
    """Train compressors over ratios and seeds, each tuned alike; resume; report.

    SPEC is a TOML file; options replace what it says. Without one --data and other options say
    everything:

    \b
        memcom sweep --data pairs.csv --user-col user --item-col item --methods hash,qr

    Lists are separated by commas. Exits with 1 if a trial failed, with 2 if a value makes no sense
    or a file cannot be used.
    """  # noqa: D301
    if spec is None and options["data"] is None:
        raise click.UsageError("give a SPEC, or --data with a data set's name or a file")
    from memcom import sweep

    wanted = _spec(spec, **options)
    if dry_run:
        _require_packages(wanted.data, "local")
        if as_json:
            show([_planned(table) for table in sweep.tables(wanted)])
            return
        at_a_time = jobs or (1 if engine == "local" else sweep.parallel_trials())
        click.echo(sweep.dry_run(sweep.tables(wanted), out, jobs=at_a_time))
        return
    running = {"engine": engine, "jobs": jobs, "retry_failed": retry_failed, "times": times}
    try:
        _run_and_report(wanted, out, None if report_only else running, as_json)
    except sweep.DamagedRecordError as error:
        raise click.ClickException(str(error)) from error


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
    from memcom import advice, sweep

    if data is None or (nbytes is None) == (ratio is None):
        raise click.UsageError("give --data, and one of --nbytes and --ratio")
    columns = {name: options.pop(name) for name in _COLUMNS}
    given = {name: column for name, column in columns.items() if column is not None}
    _require_packages([sweep.Source(data, given)], "processes")
    options |= given
    found = advice.advise(
        data,
        nbytes=nbytes,
        ratio=ratio,
        draw=_drawing("quality_against_bytes"),
        progress=wants_progress(),
        **options,
    )
    click.echo(f"{found}\n")
    for kind, path in found.files.items():
        click.echo(f"{kind}: {path}")


def _require_packages(sources: Iterable[Source], engine: str) -> None:
    """Name every package that is missing before any work, but after mistakes in files.

    Pictures can be done without: Matplotlib alone is missed in a note.
    """
    from memcom._extras import MissingExtra, absent, require
    from memcom.data.files import is_file_name
    from memcom.data.registry import data_sets

    files = [source for source in sources if is_file_name(source.name)]
    known = [data_sets()[source.name] for source in sources if source.name in data_sets()]
    carriers = [form.package for each in known for form in each.forms[:1] if form.package]
    engines = {"processes": ["joblib"], "ray": ["ray"]}.get(engine, [])
    wanted = ["pandas", *carriers, *engines]
    wanted += ["pyarrow"] * bool(files) + ["pooch"] * any(each.forms for each in known)
    if absent(wanted):
        for source in files:
            with contextlib.suppress(MissingExtra):
                source.load()
        require("this command", *dict.fromkeys([*wanted, "matplotlib"]))
    elif absent(["matplotlib"]):
        note("no pictures without matplotlib: pip install 'memcom-kit[sweep]'")


def _spec(path: str | None, **options: Any) -> Spec:
    from memcom import sweep

    columns = {name: options.pop(name) for name in _COLUMNS}
    return sweep.spec_of(path, columns=columns, **options)


@main.command(
    "compare",
    hidden=True,
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)
def name_its_successor() -> None:
    """Say what this command has become."""
    raise click.UsageError("this is `memcom sweep --data ... --methods every --times` now")


def _planned(table: Table) -> dict[str, Any]:
    """The rows of a table before it is run, without an estimate of the time."""
    rows = []
    for cell in table.cells:
        asked = {
            "method": cell.first.method,
            "ratio": cell.first.ratio,
            "budget": cell.first.nbytes,
        }
        nbytes = None if cell.size is None else cell.size.nbytes
        rows.append({**asked, "nbytes": nbytes, "trials": cell.num_trials, "why_not": cell.why_not})
    return {"data": table.source.name, "task": table.task.name, **table.varied, "rows": rows}


def _run_and_report(spec: Spec, out: Path, running: dict[str, Any] | None, as_json: bool) -> None:
    """Run the spec, unless `running` is None; write the report and print its tables."""
    from memcom import sweep

    _require_packages(spec.data, "local" if running is None else running["engine"])
    if running is None:
        tables = list(sweep.tables(spec))
    else:
        note(sweep.outline(spec, out))
        tables = sweep.run(spec, out, **running, progress=wants_progress())
    report = sweep.write_report(tables, out, draw=_drawing("quality_against_ratio"))
    if as_json:
        show({"files": report.files, "tables": _results(tables, report)})
    else:
        for table, rows, notes in zip(tables, report.rows, report.notes, strict=True):
            click.echo(f"{sweep.terminal_section(table, rows, notes)}\n")
        for kind, path in report.files.items():
            click.echo(f"{kind}: {path}")
    ran = [record for rows in report.rows for row in rows for record in row.records]
    if failed := sum(record.outcome is None for record in ran):
        count = "every trial" if failed == len(ran) else f"{failed} of {len(ran)} trials"
        click.echo(f"{count} failed; the report says why, --retry-failed runs them again", err=True)
        click.get_current_context().exit(1)


def _results(tables: list[Table], report: Report) -> list[dict[str, Any]]:
    """The rows of ``summary.csv``, by table."""
    return [
        {
            "data": table.source.name,
            "task": table.task.name,
            **table.varied,
            "notes": notes,
            "rows": [row.flat(table.task.metric) for row in rows],
        }
        for table, rows, notes in zip(tables, report.rows, report.notes, strict=True)
    ]


def _drawing(name: str) -> Any:
    """A function of `memcom.plots`, or None where there is no Matplotlib."""
    from memcom._extras import MissingExtra

    try:
        from memcom import plots
    except MissingExtra:
        return None
    return getattr(plots, name)
