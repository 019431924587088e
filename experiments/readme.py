"""Write all that is generated from the results: README.md's parts, the sweeps' page, the pictures.

    python experiments/readme.py           write them
    python experiments/readme.py --check   say which are not those of today, and fail

Each part stands between two comments, ``<!-- begin NAME -->`` and ``<!-- end NAME -->``. A picture
carries a digest of the files it was drawn from.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import nbformat
import pictures

from benchmarks import read_rows, sizes_markdown, speed_markdown
from experiments.claims import Results, findings
from experiments.claims.memcom_claims import RANKING
from experiments.claims.pages import findings_markdown, losses_markdown, made, sweep_markdown
from experiments.claims.panels import METHODS
from memcom._files import write_text
from memcom.course.build.header import read_header
from memcom.course.family import family_table
from memcom.course.family_markdown import family_markdown

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "experiments" / "results"
SWEEPS_PAGE = RESULTS / "README.md"

RATIO = 16


def notebooks() -> str:
    """One line a notebook, from its own header and budget."""
    lines = ["| notebook | what it does | read | run | memory |", "| --- | --- | --- | --- | --- |"]
    for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        header, budget = read_header(notebook), notebook.metadata["memcom"]
        title = f"[{path.stem[:2]} {header.title}]({path.relative_to(ROOT)})"
        fields = header.fields
        lines.append(
            f"| {title} | {header.purpose} | {fields['Time to read']} | {fields['Time to run']} "
            f"| < {budget['peak_mib'] / 1024:.1f} GB |"
        )
    return "\n".join(lines)


def family() -> str:
    """The whole family at one size."""
    n, e, ratio = 10_000, 64, 16
    intro = f"{n:,} ids of width {e}; planned for {ratio}x, {4 * n * e // ratio:,} bytes.\n\n"
    return intro + family_markdown(family_table(n, e, ratio=ratio)).strip()


def picture() -> str:
    """Where the headline picture is, and what it shows."""
    alt = (
        "Quality against compression ratio on MovieLens: nDCG@10 of each compressor at equal "
        "bytes, with lines across for the full table and the controls, and the points of MEmCom's "
        "abstract as hollow markers."
    )
    return f"![{alt}]({pictures.MOVIELENS.path.relative_to(ROOT)})"


def results() -> str:
    """The ranking data sets side by side, then every statement with its answer."""
    found = Results(RESULTS)
    alt = (
        "Loss against the full table over compression ratio, a panel for each data set and task, "
        "one line a method; the points of MEmCom's abstract are hollow markers."
    )
    return "\n".join(
        [
            made(found.trials),
            "",
            f"![{alt}]({pictures.DATA.path.relative_to(ROOT)})",
            "",
            f"nDCG of the full table, and what is lost of it at {RATIO}×:",
            "",
            losses_markdown(found, RANKING, METHODS, RATIO),
            "",
            findings_markdown(findings(found)),
        ]
    )


def every_method() -> str:
    """The comparisons of all methods, folded away."""
    found = Results(RESULTS)
    folded = []
    for sweep in ("every-method", "every-method-lastfm"):
        rows = found.rows(sweep)
        ratios = " and ".join(f"{ratio:g}×" for ratio in rows["ratio"].dropna().unique())
        title = f"Every method of the registry at {ratios}, on {rows['data'].iloc[0]}"
        table = sweep_markdown(found, sweep).rstrip()
        folded += ["<details>", f"<summary>{title}</summary>", "", table, "", "</details>"]
    return "\n".join(folded)


def sweeps_page() -> str:
    """Every sweep in full; the page beside the files."""
    found = Results(RESULTS)
    sections = (f"## {name}\n\n{sweep_markdown(found, name)}" for name in found.sweeps)
    head = [
        "# Every sweep",
        "",
        "Each folder holds one sweep: `summary.csv`, a row per method and budget; `pairs.csv`, "
        "every two methods at one budget; `trials.csv`, a row per trial with seed, bytes, time, "
        "machine and versions. `memcom sweep experiments/NAME.toml --out "
        "experiments/results/NAME` makes one, `python experiments/readme.py` this page. Losses "
        "are relative, positive is worse; p is Wilcoxon's against the full table, adjusted by Holm "
        "within the table; lookup and step are times over the full table's. A learning rate that "
        "is the only one, the lowest or the highest of its grid, and an epoch that is the last "
        "allowed, say so: a better one may lie beyond.",
        "",
    ]
    return "\n".join([*head, *sections]).rstrip() + "\n"


def speed() -> str:
    """The committed benchmark: its picture, its targets, its memory."""
    alt = (
        "Time of a lookup and of a training step, method by method, as a multiple of "
        "nn.Embedding's; markers left of the line at 1 are quicker than the table they replace."
    )
    image = f"![{alt}]({pictures.SPEED.path.relative_to(ROOT)})"
    return f"{image}\n\n{speed_markdown(read_rows(pictures.SPEED_ROWS))}"


def sizes() -> str:
    """The committed benchmark at every size."""
    return sizes_markdown(read_rows(pictures.SPEED_ROWS))


PARTS = {
    "picture": picture,
    "notebooks": notebooks,
    "family": family,
    "results": results,
    "every method": every_method,
    "speed": speed,
    "sizes": sizes,
}


def with_parts(text: str) -> str:
    """A README with its generated parts made anew."""
    for name, make in PARTS.items():
        pattern = rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)"
        found = re.search(pattern, text, flags=re.DOTALL)
        if found is None:
            raise ValueError(f"README.md has no part called {name}")
        text = text.replace(found[0], f"{found[1]}{make()}\n{found[2]}")
    return text


def main() -> int:
    """Write or check; 1 if something is not current."""
    parser = argparse.ArgumentParser(description="generated parts of README.md, and the pictures")
    parser.add_argument("--check", action="store_true", help="write nothing, fail on a difference")
    check = parser.parse_args().check
    readme = ROOT / "README.md"
    texts = {readme: with_parts(readme.read_text(encoding="utf-8")), SWEEPS_PAGE: sweeps_page()}
    stale = [
        path
        for path, text in texts.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    for path in () if check else stale:
        write_text(path, texts[path])
    old = [picture for picture in pictures.ALL if not picture.is_current()]
    for each in () if check else pictures.ALL:
        each.write()
    names = [str(path.relative_to(ROOT)) for path in (*stale, *(each.path for each in old))]
    if check and names:
        print("not current:", ", ".join(names), "- run: python experiments/readme.py")
    return int(check and bool(names))


if __name__ == "__main__":
    sys.exit(main())
