"""Tables and ids that move or change between forward and backward, each in its own process.

A fault here may end the interpreter, so a signal is a failure. The expected value is what the plain
path returns for the same actions, or an error in words.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytest.importorskip("numba")

SETUP = """
import sys, threading
import numpy as np, torch, memcom
from memcom import kernels, optim
kernels.warm_up()
torch.manual_seed(0)
ids = torch.randint(300, (800,))
def fresh(spec="memcom-bias", **options):
    torch.manual_seed(1)
    return memcom.build(spec, 300, 8, ratio=2, **options)
fresh()  # loads a second's worth of modules, once for all processes that are forked
def twice(run):
    got = run()
    with kernels.plain():
        want = run()
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
def raises(kind, words, run):
    try:
        run()
    except kind as error:
        assert words in str(error), error
    else:
        raise AssertionError("no error")
def gradients(layer, out):
    return torch.autograd.grad(out.square().sum(), list(layer.parameters()))
"""

TWO_TABLES = "qr mixed-radix crt memcom memcom-bias scalar-qr k-memcom hash-embedding".split()

CASES = {
    "storage moves": f"""
def run(spec):
    layer = fresh(spec)
    out = layer(ids)
    for p in layer.parameters():
        p.data = p.data.clone()
    junk = [torch.full_like(p, 7.0) for p in layer.parameters() for _ in range(20)]
    return gradients(layer, out)
for spec in {TWO_TABLES!r}:
    twice(lambda: run(spec))
""",
    "half": """
layer = fresh()
wanted = gradients(layer, layer(ids))
out = layer(ids)
layer.half()
junk = [torch.zeros(300, 8) for _ in range(50)]
try:
    found = gradients(layer, out)
except RuntimeError:
    sys.exit()
for a, b in zip(found, wanted, strict=True):
    torch.testing.assert_close(a, b)
""",
    "data of another size": """
layer = fresh("qr")
out = layer(ids)
wanted = gradients(layer, layer(ids))
for p in layer.parameters():
    p.data = torch.zeros(1, 8)
try:
    found = gradients(layer, out)
except RuntimeError:
    sys.exit()
for a, b in zip(found, wanted, strict=True):
    torch.testing.assert_close(a, b)
""",
    "storage freed, then filled again": """
layer = fresh("qr")
wanted = gradients(layer, layer(ids))
out = layer(ids)
saved = [p.detach().clone() for p in layer.parameters()]
for p in layer.parameters():
    p.untyped_storage().resize_(0)
junk = [torch.full((100, 8), 9.0) for _ in range(100)]
for p, old in zip(layer.parameters(), saved):
    p.untyped_storage().resize_(old.nbytes)
    with torch.autograd._unsafe_preserve_version_counter(p):
        p.data.copy_(old)
for a, b in zip(gradients(layer, out), wanted, strict=True):
    torch.testing.assert_close(a, b)
""",
    "storage freed before a fused step": """
def run(optimizer_of):
    layer = fresh("qr", sparse=True)
    optimizer = optimizer_of(layer.parameters())
    optimizer.fuse(layer)
    layer(ids).square().sum().backward()
    saved = [p.detach().clone() for p in layer.parameters()]
    for p in layer.parameters():
        p.untyped_storage().resize_(0)
    junk = [torch.full((100, 8), 9.0) for _ in range(100)]
    for p, old in zip(layer.parameters(), saved):
        p.untyped_storage().resize_(3 * old.nbytes)
        p.data.copy_(old)
    optimizer.step()
    return [p.detach() for p in layer.parameters()]
for rule in (optim.SGD, optim.RowwiseAdagrad):
    twice(lambda: run(lambda parameters: rule(parameters, lr=0.1)))
layer = fresh("qr")
optimizer = optim.SGD(layer.parameters())
optimizer.fuse(layer)
layer(ids).sum().backward()
for p in layer.parameters():
    p.untyped_storage().resize_(0)
raises(RuntimeError, "memory", optimizer.step)
""",
    "storage freed before backward": """
layer = fresh("qr")
out = layer(ids)
for p in layer.parameters():
    p.untyped_storage().resize_(0)
raises(RuntimeError, "memory", lambda: gradients(layer, out))
raises(RuntimeError, "", lambda: layer(ids))
""",
    "storage shrunk before forward": """
layer = fresh("qr")
layer(ids)
for p in layer.parameters():
    p.untyped_storage().resize_(8)
raises(RuntimeError, "", lambda: layer(ids))
""",
    "ids without memory": """
layer, lost = fresh(), ids.clone()
lost.untyped_storage().resize_(0)
raises(RuntimeError, "memory", lambda: layer(lost))
""",
    "ids changed in place": """
for value in (2**38, -5, 300):
    layer, changed = fresh(), ids.clone()
    out = layer(changed)
    changed.numpy()[:] = value
    raises(IndexError, str(value), lambda: gradients(layer, out))
bag, changed = memcom.EmbeddingBag(fresh(), "sum"), ids.clone()
offsets = torch.tensor([0, 3, 800])
out = memcom.EmbeddingBag(fresh(), "sum", include_last_offset=True)(changed, offsets)
offsets.numpy()[:] = 2**40
out.sum().backward()
""",
    "views at the same address": """
layer = memcom.FullEmbedding(8, 8)
some = torch.arange(8).repeat(100)
for change in (lambda t: t.T, torch._neg_view):
    layer = memcom.FullEmbedding(8, 8)
    layer(some)
    layer.table.data = change(layer.table.data)
    torch.testing.assert_close(layer(some), layer.table[some])
layer(some)
layer.table.data = layer.table.data[:4]
raises(Exception, "", lambda: layer(some))
""",
    "lazily negated": """
def run():
    layer = fresh()
    out = layer(ids)
    upstream = torch._neg_view(torch.ones_like(out))
    weights = torch._neg_view(torch.ones(1, 3))
    bag = memcom.EmbeddingBag(layer, "sum")(ids[:3].view(1, 3), None, weights)
    return [*torch.autograd.grad(out, list(layer.parameters()), upstream), bag]
twice(run)
one = torch._neg_view(torch.ones(2, 8))
for context in (lambda: None,):
    table = torch.nn.Parameter(torch.zeros(4, 8))
    table.grad = torch.sparse_coo_tensor(torch.tensor([[0, 2]]), one, (4, 8), is_coalesced=True)
    optim.SGD([table], lr=1.0).step()
    assert table[0, 0] == 1 and table[1, 0] == 0, table
""",
    "swapped by another thread": """
layer = fresh("qr")
stop = threading.Event()
def swap():
    while not stop.is_set():
        for p in layer.parameters():
            p.data = p.data.clone()
thread = threading.Thread(target=swap)
thread.start()
wanted = fresh("qr")(ids)
for _ in range(1500):
    out = layer(ids)
    torch.testing.assert_close(out, wanted)
stop.set(), thread.join()
""",
    "overlapping plain": """
layer, entered, leave = fresh(), threading.Event(), threading.Event()
def other():
    with kernels.plain():
        entered.set(), leave.wait(10)
thread = threading.Thread(target=other)
thread.start(), entered.wait(10)
assert kernels.explain(layer, ids).name == "compiled"
with kernels.plain():
    leave.set(), thread.join()
    assert kernels.explain(layer, ids).name == "plain"
assert kernels.explain(layer, ids).name == "compiled"
""",
    "gradient of another vocabulary": """
layer = memcom.FullEmbedding(300, 8, sparse=True)
optimizer = optim.SGD(layer.parameters(), lr=1.0)
layer(ids).sum().backward()
layer.table.data = torch.zeros(10, 8)
raises(ValueError, "[300, 8] for a table of shape [10, 8]", optimizer.step)
bad = torch.nn.Parameter(torch.zeros(4, 8))
far = torch.tensor([[2**30]])
unchecked = {"is_coalesced": True, "check_invariants": False}
bad.grad = torch.sparse_coo_tensor(far, torch.ones(1, 8), (4, 8), **unchecked)
raises(IndexError, str(2**30), optim.SGD([bad]).step)
""",
    "defaults": """
for dtype in (torch.float64, torch.bfloat16, torch.float16):
    for spec in memcom.available():
        try:
            whole = spec in ("full", "int8", "int4")
            layer = memcom.build(spec, 300, 8, **({} if whole else {"ratio": 4}))
        except ValueError:
            continue
        layer.eval()
        with torch.no_grad():
            wanted = layer(ids)
            torch.set_default_dtype(dtype)
            found = layer(ids)
            torch.set_default_dtype(torch.float32)
        assert found.dtype is torch.float32, spec
        torch.testing.assert_close(found, wanted, msg=f"{spec} {dtype}")
layer = fresh()
with torch.device("meta"):
    assert layer(ids).device.type == "cpu"
    assert memcom.EmbeddingBag(layer)(ids.view(8, 100)).device.type == "cpu"
torch.set_default_device("meta")
layer(ids).sum().backward()
assert layer(ids).device.type == "cpu"
""",
}


RUN = """
import json, os, traceback
results = {}
for name, code in cases.items():
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        try:
            exec(compile(code, name, "exec"), globals())
            os._exit(0)
        except SystemExit:
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
    results[name] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def outcomes():
    """Exit code of every case, each in a process of its own, and what they wrote."""
    code = f"{SETUP}\ncases = {CASES!r}\n{RUN}"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout), run.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot be forked")
@pytest.mark.parametrize("name", CASES)
def test_nothing_is_read_where_it_was(name, outcomes):
    codes, errors = outcomes
    assert codes[name] == 0, errors
