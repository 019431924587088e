"""``memcom compare``, ``memcom sweep``: train compressors and say how good they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from memcom.cli._group import main


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


def _data_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say which data, and how a file of one's own is read."""
    for option in (
        click.option(
            "--split",
            type=click.Choice(["time", "random"]),
            help="How each user's items are held out.  [default: the data set's own]",
        ),
        click.option("--time-col", help="Column of the time; without it the split is by hash."),
        click.option("--item-col", help="Column of the item."),
        click.option("--user-col", help="Column of the user in your own file."),
        click.option("--data", help="A data set's name, or your own CSV, TSV or Parquet file."),
    ):
        command = option(command)
    return command


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
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("results/compare"),
    show_default=True,
    help="Folder of the trials and the report; a comparison goes on where it was.",
)
def compare(
    data: str | None,
    user_col: str | None,
    item_col: str | None,
    time_col: str | None,
    split: str | None,
    out: Path,
    **options: Any,
) -> None:
    """Rank with every compressor at equal bytes, time them, and print a table.

    A sweep of the whole registry, of movielens if no other data is named.
    """
    from memcom import sweep

    columns = {"user_col": user_col, "item_col": item_col, "time_col": time_col, "split": split}
    wanted = sweep.spec_of(None, data=data or "movielens", columns=columns, **options)
    running: dict[str, Any] = {"engine": "processes", "times": True, "draw": _drawing()}
    click.echo(sweep.sweep_command(wanted, out, **running))


@main.command()
@click.argument("spec", required=False, type=click.Path(exists=True, dir_okay=False))
@_data_options
@click.option("--rating-col", help="Column of the rating.")
@click.option("--label-col", help="Column of the label, for tasks that classify.")
@click.option("--task", help="What is measured.  [default: ranking]")
@click.option(
    "--methods", callback=_methods, help='Names separated by commas; "every" for the registry.'
)
@click.option("--ratios", callback=_numbers, help="Compression ratios, as in 4,8,16.")
@click.option("--nbytes", multiple=True, help='Byte budget, as in "1.5 MB"; several times.')
@click.option("--seeds", type=click.IntRange(min=1), help="Number of seeds.  [default: 3]")
@click.option("--learning-rates", callback=_numbers, help="Grid for all methods, as in 3e-3,1e-2.")
@click.option("--profile", type=click.Choice(["fast", "full"]), help="Effort.  [default: full]")
@click.option(
    "--set",
    "set_options",
    metavar="NAME=VALUE",
    multiple=True,
    help="Option of the task; a list such as embedding_dim=[64,128] tries all of it.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("results/sweep"),
    show_default=True,
    help="Folder of the trials and the report; a sweep goes on where it was.",
)
@click.option(
    "--engine",
    type=click.Choice(["local", "processes", "ray"]),
    default="processes",
    show_default=True,
    help="Where trials run: this process, processes of this machine, a Ray cluster.",
)
@click.option("--jobs", type=click.IntRange(min=1), help="Trials at a time.  [default: all cores]")
@click.option("--retry-failed", is_flag=True, help="Run failed trials once more.")
@click.option("--times", is_flag=True, help="Take times of lookups and training steps, too.")
@click.option("--dry-run", "show_plan", is_flag=True, help="Say what would be run, bytes and time.")
@click.option("--report-only", is_flag=True, help="Write the report of what is there; run nothing.")
def sweep(
    spec: str | None,
    user_col: str | None,
    item_col: str | None,
    time_col: str | None,
    split: str | None,
    rating_col: str | None,
    label_col: str | None,
    **options: Any,
) -> None:
    """Train compressors over ratios, seeds and learning rates; resume; report.

    SPEC is a TOML file; options replace what it says. Without one they say everything.
    """
    from memcom import sweep

    names = ("out", "engine", "jobs", "retry_failed", "times", "show_plan", "report_only")
    running = {name: options.pop(name) for name in names}
    options["nbytes"] = options["nbytes"] or None
    columns = {
        "user_col": user_col,
        "item_col": item_col,
        "time_col": time_col,
        "split": split,
        "rating_col": rating_col,
        "label_col": label_col,
    }
    wanted = sweep.spec_of(spec, columns=columns, **options)
    click.echo(sweep.sweep_command(wanted, draw=_drawing(), **running))


def _drawing() -> Any:
    """The function that draws a sweep, or None where there is no Matplotlib."""
    try:
        from memcom.plots import quality_against_ratio
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "memcom":
            raise
        click.echo(f"no pictures: {error.name} is not installed", err=True)
        return None
    return quality_against_ratio
