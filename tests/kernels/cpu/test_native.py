"""The checked mode of the kernels: what would leave its memory is refused before it happens.

The wrong programs below would read or write memory of others, so they run in the checked mode
only: `tests/kernels/test_checked.py` starts a pytest that has it.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

numba = pytest.importorskip("numba")

import memcom
from memcom import kernels, optim
from memcom.kernels.cached import cached_program
from memcom.kernels.cpu import native, update
from memcom.kernels.gate import address
from memcom.kernels.program import COLUMNS, CONCAT, FUSION, MODULUS, OFFSET, ROWS
from tests.embeddings.cases import make, some_ids

checked_only = pytest.mark.skipif(not native.CHECKED, reason="needs MEMCOM_CHECK_KERNELS=1")
REFUSED = pytest.raises(RuntimeError, match="would have left its memory")

SPECS = ["memcom-bias", "qr(operation=concat)", "double-hash"]
WRONG = {
    "modulus": (MODULUS, lambda number: 10**6),
    "columns": (COLUMNS, lambda number: number + 40),
    "offset": (OFFSET, lambda number: number + 5),
}


@pytest.fixture(autouse=True, scope="module")
def loaded():
    kernels.warm_up()


def vectors(layer, ids):
    with torch.no_grad():
        layer(ids)


def bags(layer, ids):
    with torch.no_grad():
        memcom.EmbeddingBag(layer, "sum")(ids.view(80, 10))


@checked_only
@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("run", [vectors, bags])
def test_a_wrong_program_reads_nothing(spec, wrong, run):
    layer, ids = make(spec, sparse=True), some_ids(800)
    field, change = WRONG[wrong]
    run(layer, ids)
    program = cached_program(layer).program
    if field == OFFSET and program.code[0, FUSION] != CONCAT:
        pytest.skip("offsets are not read")
    entry = program.code[program.code[0, ROWS] if field == OFFSET else 1]
    right = entry[field]
    entry[field] = change(right)
    with REFUSED:
        run(layer, ids)
    entry[field] = right
    run(layer, ids)


@checked_only
@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("fused", [False, True])
def test_a_wrong_program_has_no_gradients(spec, fused):
    layer, ids = make(spec, sparse=True), some_ids(800)
    optimizer = optim.LazyAdam(layer.parameters())
    if fused:
        optimizer.fuse(layer)
    out = layer(ids).sum()
    cached_program(layer).program.code[1, MODULUS] = 10**6
    with REFUSED:
        out.backward()
        optimizer.step()


@checked_only
def test_a_row_of_a_step_outside_its_table_is_refused():
    table = torch.zeros(20, 4)
    gradient = torch.sparse_coo_tensor(torch.tensor([[3, 12]]), torch.ones(2, 4), (20, 4))
    step = update.Step("sgd", (), [1.0])
    update.update(table, gradient.coalesce(), step)
    assert table[[3, 12]].eq(-1).all()
    half = table[:10]
    rows = torch.tensor([3, 12])
    values = torch.ones(2, 4)
    fields = [1, update.SGD, address(rows, torch.int64), address(values, torch.float32), 2, 4]
    place = address(half, torch.float32)
    fields += [place, place + 10 * 4 * 4, 0, 0, step.code(half)[3]]
    with REFUSED:
        update.run_task(update._update_task, np.array(fields, np.int64))
    assert table[3].eq(-2).all()  # inside, and changed
    assert table[12].eq(-1).all()


def test_row_addresses_are_those_of_rows():
    row_address = native.row_address.py_func
    assert row_address(1000, 3, 32, 1000 + 4 * 32) == 1096
    for row in (-1, 4) if native.CHECKED else ():
        with pytest.raises(IndexError):
            row_address(1000, row, 32, 1000 + 4 * 32)


@pytest.mark.skipif(native.CHECKED, reason="functions have an entry in the checked mode")
def test_what_only_kernels_call_is_refused_from_python():
    inner = native.njit(lambda x: x + 1)

    @numba.njit
    def outer(x):
        return inner(x)

    with pytest.raises(TypeError, match="only kernels call it"):
        inner(np.int64(1))
    assert outer(np.int64(1)) == 2
    with pytest.raises(TypeError, match="only kernels call it"):  # compiled by now
        inner(np.int64(1))


def test_functions_of_one_factory_have_names_of_their_own():
    """Compiled code names a function by its name, types, and a counter of the process alone."""

    def factory(number):
        @native.njit
        def inner(x):
            return x + number

        return inner

    made = [factory(number) for number in (1, 2, 3)]
    assert len({function.py_func.__qualname__ for function in made}) == 3
