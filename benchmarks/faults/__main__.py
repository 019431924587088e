"""Run the programs and print what they found; exit with 1 if anything is wrong."""

from __future__ import annotations

import sys
from dataclasses import asdict
from importlib.util import find_spec

import click

from benchmarks.faults.programs import PROGRAMS
from memcom._text import table

COLUMNS = ("disturbed", "trials", "lost", "doubled", "damaged", "differing", "outside")


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(PROGRAMS)))
@click.option("--rounds", type=click.IntRange(min=1), default=50, show_default=True)
def main(names: tuple[str, ...], rounds: int) -> None:
    """Disturb sweeps and count what is lost, doubled, damaged or different."""
    rows, faults = [], 0
    for name in names or PROGRAMS:
        for program in PROGRAMS[name]:
            if "ray" in getattr(program, "args", ()) and find_spec("ray") is None:
                click.echo("Ray is not installed: its part is left out", err=True)
                continue
            found = program(rounds)
            faults += found.faults
            cells = {column: f"{asdict(found)[column]}" for column in COLUMNS}
            rows.append({"program": found.program, **cells, "notes": ", ".join(found.notes)})
            click.echo(table(rows[-1:], style="plain"))
    click.echo(table(rows, right=COLUMNS))
    sys.exit(int(faults > 0))


if __name__ == "__main__":
    main()
