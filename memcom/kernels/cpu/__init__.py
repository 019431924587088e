"""Kernels for the CPU, compiled by numba. Only `operator` may be imported without numba."""
