"""``memcom export``: from a trained file to the file that a device runs."""

from __future__ import annotations

from pathlib import Path

import click

from memcom.cli._group import main


def _pairs(
    ctx: click.Context, parameter: click.Parameter, value: tuple[str, ...]
) -> dict[str, str] | None:
    """Split NAME=VALUE, given several times."""
    for each in value:
        if "=" not in each:
            raise click.BadParameter(f"expected NAME=VALUE, got {each!r}")
    return dict(each.split("=", 1) for each in value) or None


@main.command("export")
@click.argument("model", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--to",
    type=click.Choice(["onnx", "safetensors"]),
    default="onnx",
    show_default=True,
    help="Format.",
)
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="File.  [default: beside MODEL]"
)
@click.option("--external-data", is_flag=True, help="ONNX: tensors in a file of their own, mapped.")
@click.option(
    "--strings",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Text file, the string of id 0 in its first line and so on: writes a vocabulary.",
)
@click.option(
    "--quality",
    metavar="NAME=VALUE",
    multiple=True,
    callback=_pairs,
    help="A measured quality, for the card; may be given several times.",
)
def export_model(
    model: Path,
    to: str,
    out: Path | None,
    external_data: bool,
    strings: Path | None,
    quality: dict[str, str] | None,
) -> None:
    """Export MODEL, a safetensors file of a layer or a task's model, with its card.

    Tables are frozen first: packed rows stay packed in the file.
    """
    from memcom import tasks

    lines = None if strings is None else strings.read_text(encoding="utf-8").splitlines()
    written = tasks.export_file(
        model, to, out, external_data=external_data, strings=lines, quality=quality
    )
    for kind, path in written._asdict().items():
        if path is not None:
            click.echo(f"{kind}: {path} ({path.stat().st_size:,} bytes)")
