"""``memcom sweep`` and ``memcom compare``: words into a spec; plan, run, report."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from memcom.sweep.estimate import dry_run
from memcom.sweep.planning import tables
from memcom.sweep.provenance import available_cores, devices
from memcom.sweep.render import terminal_lines
from memcom.sweep.report import Draw, write_report
from memcom.sweep.running import sweep
from memcom.sweep.spec import Source, Spec


def spec_of(
    path: Path | str | None,
    *,
    data: str | None = None,
    columns: Mapping[str, str | None] | None = None,
    set_options: Iterable[str] = (),
    **changes: Any,
) -> Spec:
    """A spec from a TOML file, from a command line, or from both.

    Args:
        path: The file, or None.
        data: A data set's name, or your own file.
        columns: ``user_col`` and so on, for your own file, and ``split``.
        set_options: Options of the task as ``"epochs=20"``; several values in brackets,
            ``"embedding_dim=[64,128]"``, are all tried.
        **changes: Fields of `Spec`; None leaves what the file says, or the default.

    Returns:
        The spec.

    Raises:
        ValueError: A value makes no sense, or columns are given without data.
    """
    given = {name: column for name, column in (columns or {}).items() if column}
    if given and data is None:
        raise ValueError(f"{', '.join(given)} needs data: the file with these columns")
    if data is not None:
        changes["data"] = (Source(data, given),)
    if changes.get("nbytes") and changes.get("ratios") is None:
        changes["ratios"] = ()
    changes = {name: value for name, value in changes.items() if value is not None}
    spec = Spec(**changes) if path is None else Spec.read(path, **changes)
    options, vary = dict(spec.options), dict(spec.vary)
    for text in set_options:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"an option is written name=value, got {text!r}")
        is_list = isinstance(literal := _literal(value), list)
        (vary if is_list else options)[name.strip()] = literal
        (options if is_list else vary).pop(name.strip(), None)
    fields = {name: getattr(spec, name) for name in spec.__dataclass_fields__}
    return Spec(**fields | {"options": options, "vary": vary})


def sweep_command(
    spec: Spec,
    out: Path | str,
    *,
    engine: str = "local",
    jobs: int | None = None,
    retry_failed: bool = False,
    times: bool = False,
    show_plan: bool = False,
    report_only: bool = False,
    draw: Draw | None = None,
) -> str:
    """Plan, or run and report.

    Args:
        spec: What to do.
        out: Folder of trials and report.
        engine: ``"local"``, ``"processes"`` or ``"ray"``.
        jobs: Trials at a time; None leaves it to the engine.
        retry_failed: Run failed trials once more.
        times: Take times of lookups and training steps, too.
        show_plan: Only say what would be done.
        report_only: Only write the report of what is there.
        draw: Draws the pictures, such as `memcom.plots.quality_against_ratio`.

    Returns:
        What to show.

    Raises:
        ValueError: A value makes no sense.
        ModuleNotFoundError: A library is not installed; its extra is named.
    """
    if show_plan:
        local = available_cores() if devices() == ["cpu"] else 4 * len(devices())
        at_a_time = jobs or (1 if engine == "local" else local)
        return dry_run(list(tables(spec)), out, jobs=at_a_time)
    _needs_scipy()  # now, and not after hours of training
    if report_only:
        done = list(tables(spec))
    else:
        done = sweep(spec, out, engine=engine, jobs=jobs, retry_failed=retry_failed, times=times)
    report, lines = write_report(done, out, draw=draw), []
    for table, rows in zip(done, report.rows, strict=True):
        lines += [*terminal_lines(table, rows), ""]
    return "\n".join([*lines, *(f"{kind}: {path}" for kind, path in report.files.items())])


def _needs_scipy() -> None:
    try:
        import scipy.stats  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"the report's tests need the package {error.name}: pip install 'memcom-kit[stats]'",
            name=error.name,
        ) from error


def _literal(text: str) -> Any:
    try:
        value = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError):
        return text.strip()
    return list(value) if isinstance(value, tuple) else value
