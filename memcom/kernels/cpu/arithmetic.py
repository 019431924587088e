"""Arithmetic on single float32 numbers that numba has no vectors for, written to be vectorised."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

_intrinsic: Any = intrinsic  # its own type is wrong for mypy

_LOG2E = np.float32(1.4426950408889634)
_LN2_HIGH = np.float32(0.693359375)  # 9 bits, so that whole multiples below 2^15 are exact
_LN2_LOW = np.float32(-2.12194440e-4)
_HALF, _ONE = np.float32(0.5), np.float32(1)
# exp(f) = 1 + f + f^2 (1/2 + f/6 + ...): its Taylor series, |f| <= ln(2) / 2
_C3, _C4, _C5, _C6, _C7 = (np.float32(1 / n) for n in (6, 24, 120, 720, 5040))
LOWEST, HIGHEST = np.float32(-87.3), np.float32(88.7)  # beyond these, exp leaves float32


@_intrinsic
def float_of_bits(context: Any, bits: Any) -> Any:
    """Return the float32 whose bits are those of an int32."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(types.float32))

    return types.float32(types.int32), generate


@njit(forceinline=True, fastmath={"contract"})
def exp(x: Any) -> Any:
    """Return e^x within 2e-7 of it, relatively; x is taken to lie in [-87.3, 88.7]."""
    x = min(max(x, LOWEST), HIGHEST)
    whole = np.floor(x * _LOG2E + _HALF)
    f = (x - whole * _LN2_HIGH) - whole * _LN2_LOW
    series = _HALF + f * (_C3 + f * (_C4 + f * (_C5 + f * (_C6 + f * _C7))))
    power = float_of_bits(np.int32((np.int32(whole) + np.int32(127)) << np.int32(23)))
    return (_ONE + (f + f * f * series)) * power
