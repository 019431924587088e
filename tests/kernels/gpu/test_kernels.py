"""The code that Triton makes of the kernels, for GPUs that need not be there."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

# Not imported here: `test_lookup` needs to be the first that imports it, to have it interpreted.
HAVE_TRITON = importlib.util.find_spec("triton") is not None
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not HAVE_TRITON, reason="triton is not installed"),
]

SPECS = ["memcom-bias", "qr", "hash-embedding", "bch(strategy=skip)", "truncate"]
READINGS = ["memcom(bits=8)", "robe(signs=True)", "lma", "mgqe", "csr", "memcom(head=20,bits=4)"]
KINDS = {
    torch.float32: "*fp32",
    torch.bfloat16: "*bf16",
    torch.float16: "*fp16",
    torch.uint8: "*u8",
    torch.int64: "*i64",
}


def compiled(kernel, arguments, constants, chip):
    """Assembly of a kernel for a chip of Nvidia's; all memory is aligned to 16 bytes."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from memcom.kernels.gpu import lookup

    kinds = [*arguments, *["constexpr"] * len(constants)]
    aligned = {}
    for k, kind in enumerate(arguments):
        inside = [(k, m) for m in range(len(kind))] if isinstance(kind, tuple) else [(k,)]
        aligned |= {place: [["tt.divisibility", 16]] for place in inside if kind != "i32"}
    source = ASTSource(
        kernel,
        dict(zip(kernel.arg_names, kinds, strict=True)),
        constexprs={(len(arguments) + k,): value for k, value in enumerate(constants)},
        attrs=aligned,
    )
    target = GPUTarget("cuda", chip, 32)
    return triton.compile(source, target=target, options=lookup.OPTIONS).asm["ptx"]


def assemblies(spec, dtype, chip):
    """Assembly of a layer's forward pass, its dense and its sparse backward pass."""
    from memcom.kernels.gpu import kernels
    from memcom.kernels.program import bind_for_gpu, layout
    from tests.embeddings.cases import make

    layer = make(spec, n=100_000, e=64, dtype=dtype, device="meta")
    program = bind_for_gpu(layout(layer.recipe(), layer.num_embeddings, 7))
    sources, count = tuple(KINDS[t.dtype] for t in program.sources), len(program.tables)
    head, entries, sizes = program.head, program.entries, (program.block, program.columns)
    arguments = "*i64", sources, KINDS[dtype]
    forward = kernels.forward
    found = [compiled(forward, [*arguments, "i32"], [head, entries, *sizes], chip)]
    arguments = [*arguments, ("*fp32",) * count, ("*i64",) * count, "i32"]
    for listed in (False, True):
        constants = [head, entries, (True,) * count, listed, *sizes]
        found.append(compiled(kernels.backward, arguments, constants, chip))
    return found


def assembled(spec, chip):
    """Assembly of the lookup of a reading."""
    from memcom.kernels.assembly import assemble
    from memcom.kernels.gpu import assemble as kernels
    from memcom.kernels.gpu.lines import specialise
    from tests.embeddings.cases import make

    layer = make(spec, n=20_000, e=64).freeze()
    program = specialise(assemble(layer.reading(), layer.num_embeddings, 7, 64))
    sources = tuple(KINDS[t.dtype] for t in program.sources)
    arguments = "*i64", sources, "*i64", KINDS[program.dtype], "i32"
    constants = program.lines, program.block, program.columns
    return compiled(kernels.assemble, arguments, constants, chip)


def main():
    chips = [(torch.float32, 90), (torch.bfloat16, 80)]
    for spec, (dtype, chip) in itertools.product(SPECS, chips):
        print(json.dumps([f"{spec} {dtype} {chip}", assemblies(spec, dtype, chip)]))
    for spec, chip in zip(READINGS, itertools.cycle([80, 90])):
        print(json.dumps([spec, [assembled(spec, chip)]]))


def test_the_kernels_compile_to_the_code_that_is_meant(tmp_path):
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    environment |= {"TRITON_CACHE_DIR": str(tmp_path)}
    root = Path(__file__).resolve().parents[3]
    command = [sys.executable, "-W", "ignore", "-m", "tests.kernels.gpu.test_kernels"]
    run = subprocess.run(
        command, cwd=root, env=environment, check=True, capture_output=True, text=True
    )
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(lines) == len(SPECS) * 2 + len(READINGS)
    recipes, readings = lines[: len(SPECS) * 2], lines[len(SPECS) * 2 :]
    for name, (code,) in readings:
        assert not re.search(r"\b(div|rem)\.[us]\d\d", code), name
        assert "__assertfail" in code, name
        assert "st.global.v4.b32" in code or name == "csr", name  # its rows have any length
    for name, codes in recipes:
        for code in codes:
            assert "ld.global.v4.b32" in code, name  # sixteen bytes a thread
            assert not re.search(r"\b(div|rem)\.[us]\d\d", code), name
            assert "__assertfail" in code, name
        assert "st.global.v4.b32" in codes[0], name
        assert re.search(r"\b(red|atom)\.", codes[1]), name
        assert not re.search(r"\b(red|atom)\.", codes[2]), name


if __name__ == "__main__":
    main()
