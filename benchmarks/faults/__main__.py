"""Run the programs and print what they found; exit with 1 if anything is wrong."""

from __future__ import annotations

import sys
from dataclasses import asdict
from importlib.util import find_spec

import click

from benchmarks.faults.programs import PROGRAMS
from benchmarks.faults.soak import soak
from memcom._text import table

COLUMNS = ("disturbed", "trials", "lost", "doubled", "damaged", "differing", "outside")


@click.command()
@click.argument("names", nargs=-1, type=click.Choice([*PROGRAMS, "soak"]))
@click.option("--rounds", type=click.IntRange(min=1), default=50, show_default=True)
@click.option("--minutes", type=click.FloatRange(min=0), default=60.0, show_default=True)
def main(names: tuple[str, ...], rounds: int, minutes: float) -> None:
    """Disturb sweeps and count what is lost, doubled, damaged or different; or train at length.

    The soak, of so many minutes, runs only if it is named.
    """
    rows, faults = [], 0
    for name in names or PROGRAMS:
        if name == "soak":
            soaked = soak(minutes, click.echo)
            faults += soaked.faults
            click.echo(soaked)
            continue
        for program in PROGRAMS[name]:
            if "ray" in getattr(program, "args", ()) and find_spec("ray") is None:
                click.echo("Ray is not installed: its part is left out", err=True)
                continue
            found = program(rounds)
            faults += found.faults
            cells = {column: f"{asdict(found)[column]}" for column in COLUMNS}
            rows.append({"program": found.program, **cells, "notes": ", ".join(found.notes)})
            click.echo(table(rows[-1:], style="plain"))
    if rows:
        click.echo(table(rows, right=COLUMNS))
    sys.exit(int(faults > 0))


if __name__ == "__main__":
    main()
