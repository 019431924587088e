"""Layer, probe and nn.Embedding in turns, and the table of what they take."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import methods
from benchmarks.bounds.probes import METHODS, WIDTH, Probe, compile_probes
from benchmarks.bounds.steps import BATCH, STEPS, steps_table
from benchmarks.candidates import BASELINE, without_gradients
from benchmarks.machine import Load, busy, machine
from memcom import kernels
from memcom._files import write_csv
from memcom._text import table
from memcom.profiling import draw_ids, interleave

LIMIT = 1.15  # times the probe, up to which the machine is what bounds a layer
IDS, BATCHES = 10**6, (4096, 65536)
_DRAWN = 2**20
OURS, PROBE, GATHER = "ours", "probe", "C++ gather"


def measured(settings: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Time shipped layers beside their probes, in this process.

    Args:
        settings: ``num_embeddings``, ``methods``, ``batches`` and ``seconds`` for each of both.

    Yields:
        A row for each method and batch: ratios to nn.Embedding, seconds, bytes and cache lines.

    Raises:
        AssertionError: A probe gives other vectors than its layer.
        NoCompiler: There is no g++.
    """
    library = compile_probes()
    kernels.warm_up()
    bases: dict[int, tuple[nn.Embedding, Tensor]] = {}
    for name, layer in methods.shipped(settings["num_embeddings"], WIDTH, settings["methods"]):
        n = layer.num_embeddings
        if n not in bases:
            bases[n] = nn.Embedding(n, WIDTH), draw_ids("zipf", n, _DRAWN)
        base, ids = bases[n]
        probe, gather = Probe(library, layer, name.split(",")[0]), Probe(library, base, "full")
        for part in (ids[: 2**16], torch.arange(n - 3, n)):  # and where tables end
            same_vectors(layer, probe, part)
            same_vectors(base, gather, part)
        group = without_gradients({BASELINE: base, OURS: layer, PROBE: probe, GATHER: gather})
        for batch in settings["batches"]:
            batches = list(ids[: len(ids) // batch * batch].view(-1, batch))
            timings = interleave(group, batches, seconds=settings["seconds"])
            ours, probes = timings[OURS], timings[PROBE]
            yield {
                **{"method": name, "num_embeddings": n, "batch": batch},
                **{"threads": torch.get_num_threads(), "rounds": ours.rounds},
                **{"baseline_seconds": ours.baseline_median},
                **{"ours_seconds": ours.median, "probe_seconds": probes.median},
                **{"ours_ratio": ours.ratio, "probe_ratio": probes.ratio},
                **{"gather_ratio": timings[GATHER].ratio},
                **{"ours_to_probe": ours.ratio / probes.ratio},
                **{"bytes_per_id": probe.bytes, "lines_per_id": probe.lines},
            }


@torch.no_grad()
def same_vectors(layer: Callable[[Tensor], Tensor], probe: Probe, ids: Tensor) -> None:
    """Raise AssertionError unless a layer and its probe give the same vectors for ``(n,)`` ids."""
    tolerance = 0.0 if probe.exact else 1e-4
    torch.testing.assert_close(probe(ids), layer(ids), rtol=0, atol=tolerance)


def command(
    out: Path,
    chosen: Sequence[str] = (),
    *,
    steps: bool = False,
    threads: int = 2,
    seconds: float = 1.0,
    log: Callable[[str], object] = print,
) -> None:
    """Time lookups beside the same ones in C++, or training steps beside what bounds them.

    Args:
        out: CSV file to write.
        chosen: Methods, of `METHODS` or `STEPS`; empty for all.
        steps: Time training steps.
        threads: Number of threads.
        seconds: Time for a method and a batch.
        log: Called with every line.

    Raises:
        NoCompiler: There is no g++.
    """
    from benchmarks.suite import child
    from memcom.profiling.memory import KEEP_FREED_MEMORY

    compile_probes()  # before anything that takes time
    settings: dict[str, Any] = {"num_embeddings": IDS, "seconds": seconds}
    settings |= {"methods": list(chosen or (STEPS if steps else METHODS))}
    settings |= {"batch": BATCH} if steps else {"batches": BATCHES}
    load = Load()
    rows = list(child("steps" if steps else "bounds", settings, threads, KEEP_FREED_MEMORY))
    facts = {**load.read(), **machine()}
    write_csv(out, [{**row, **facts} for row in rows])
    written = (steps_table if steps else bounds_table)(rows, style="plain")
    for line in written.splitlines():
        log(line)
    if busy(facts):
        log("Other programs were at work: ratios may be off.")


def bounds_table(rows: Sequence[Mapping[str, Any]], style: str = "markdown") -> str:
    """Write what a run found as a table: ratios, nanoseconds an id, and what bounds a layer.

    Args:
        rows: As `measured` yields them.
        style: Of `memcom._text.table`.

    Returns:
        A line for each method and batch.
    """
    cells = [_cells(row) for row in rows]
    return table(cells, style=style, right=list(cells[0])[1:-1])


def _cells(row: Mapping[str, Any]) -> dict[str, str]:
    nanoseconds = {name: 1e9 * row[f"{name}_seconds"] / row["batch"] for name in (OURS, PROBE)}
    return {
        "method": row["method"],
        "batch": f"{row['batch']:,}",
        "ours / full": f"{row['ours_ratio']:.2f}",
        "probe / full": f"{row['probe_ratio']:.2f}",
        "C++ gather / full": f"{row['gather_ratio']:.2f}",
        "ours / probe": f"{row['ours_to_probe']:.2f}",
        **{f"{name}, ns": f"{spent:.1f}" for name, spent in nanoseconds.items()},
        "bytes read": f"{row['bytes_per_id']:.0f}",
        "lines": f"{row['lines_per_id']:.1f}",
        "bound by": "the machine" if row["ours_to_probe"] <= LIMIT else "our code",
    }
