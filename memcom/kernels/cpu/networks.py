"""Compiled elementwise work of deep hash embeddings: hashes as numbers, and the activation."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import cfunc, types
from torch import Tensor

from memcom.kernels.cpu.arithmetic import exp
from memcom.kernels.cpu.native import compiled, float32_array, int64_array, njit
from memcom.kernels.cpu.threads import num_threads, part_of, run_task
from memcom.kernels.gate import address, allocate

SERIAL = 1 << 13  # numbers below which one thread is faster

_u = np.uint32


@njit(forceinline=True)
def _rotate(word: Any, left: Any, right: Any) -> Any:
    return _u(_u(word << left) | _u(word >> right))


@njit(forceinline=True)
def _scramble(word: Any) -> Any:
    """The part of a word in MurmurHash3, before it meets the seed."""
    return _u(_rotate(_u(word * _u(0xCC9E2D51)), _u(15), _u(17)) * _u(0x1B873593))


@njit(forceinline=True)
def _absorb(state: Any, word: Any) -> Any:
    return _u(_rotate(_u(state ^ word), _u(13), _u(19)) * _u(5) + _u(0xE6546B64))


@njit(forceinline=True)
def _finish(state: Any) -> Any:
    state = _u(state ^ _u(8))
    state = _u(_u(state ^ (state >> _u(16))) * _u(0x85EBCA6B))
    state = _u(_u(state ^ (state >> _u(13))) * _u(0xC2B2AE35))
    return _u(state ^ (state >> _u(16)))


@compiled(cfunc, types.void(types.int64))
def _hash_task(task_address: int) -> None:
    """Write one thread's rows of ``low + step (hash + 1/2)``."""
    task = int64_array(task_address, (7,))
    count, width = task[1], task[4]
    ids, scale = int64_array(task[2], (count,)), float32_array(task[6], (2,))
    seeds = int64_array(task[3], (width,)).astype(np.uint32)
    out = float32_array(task[5], (count, width))
    low, step = scale[0], scale[1]
    start, stop = part_of(count, task[0])
    for i in range(start, stop):
        first, second = _scramble(_u(ids[i])), _scramble(_u(ids[i] >> 32))
        for j in range(width):
            state = _finish(_absorb(_absorb(seeds[j], first), second))
            out[i, j] = low + step * (np.float32(state) + np.float32(0.5))


@compiled(cfunc, types.void(types.int64), error_model="numpy")
def _mish_task(task_address: int) -> None:
    """Write one thread's part of ``x tanh(log(1 + e^x))``, with one exponential and no logarithm.

    tanh(log(1 + t)) = t (t + 2) / (t (t + 2) + 2), and in float32 that is 1 from t = e^20 on.
    """
    task = int64_array(task_address, (4,))
    start, stop = part_of(task[1], task[0])
    source = float32_array(task[2] + start * 4, (stop - start,))
    target = float32_array(task[3] + start * 4, (stop - start,))
    for k in range(stop - start):
        x = max(source[k], np.float32(-100))  # from there on x e^x is nothing
        t = exp(min(x, np.float32(20)))
        u = t * (t + np.float32(2))
        target[k] = x * (u / (u + np.float32(2)))


@compiled(cfunc, types.void(types.int64), error_model="numpy")
def _mish_gradient_task(task_address: int) -> None:
    """Multiply one thread's part of a gradient by the derivative of mish.

    In the terms above, ``w = u / (u + 2)`` has the derivative ``4 t (t + 1) / (u + 2)^2``.
    """
    task = int64_array(task_address, (5,))
    start, stop = part_of(task[1], task[0])
    source = float32_array(task[2] + start * 4, (stop - start,))
    target = float32_array(task[3] + start * 4, (stop - start,))
    grad = float32_array(task[4] + start * 4, (stop - start,))
    one, two, four = np.float32(1), np.float32(2), np.float32(4)
    for k in range(stop - start):
        x = max(source[k], np.float32(-100))
        t = exp(min(x, np.float32(20)))
        u = t * (t + two)
        share = one / (u + two)
        target[k] = grad[k] * (u * share + x * (four * t * share) * ((t + one) * share))


def hash_numbers(ids: Tensor, seeds: Tensor, low: float, step: float) -> Tensor:
    """Return float32 ``low + step (hash + 1/2)`` for each pair of contiguous int64 id and seed."""
    out, target = allocate(len(ids), len(seeds))
    scale = np.array([low, step], np.float32)
    threads = num_threads() if out.numel() >= SERIAL else 1
    given = address(ids, torch.int64), address(seeds, torch.int64), len(seeds)
    run_task(_hash_task, np.array([threads, len(ids), *given, target, scale.ctypes.data], np.int64))
    return out


def mish(x: Tensor) -> Tensor:
    """Compute ``x tanh(log(1 + e^x))`` of a contiguous float32 tensor on the CPU."""
    out, target = allocate(*x.shape)
    threads = num_threads() if out.numel() >= SERIAL else 1
    numbers = threads, out.numel(), address(x, torch.float32), target
    run_task(_mish_task, np.array(numbers, np.int64))
    return out


def mish_gradient(grad: Tensor, x: Tensor) -> Tensor:
    """Compute the gradient of ``x`` from that of `mish`, of contiguous tensors alike."""
    out, target = allocate(*x.shape)
    threads = num_threads() if out.numel() >= SERIAL else 1
    given = address(x, torch.float32), target, address(grad, torch.float32)
    run_task(_mish_gradient_task, np.array([threads, out.numel(), *given], np.int64))
    return out
