"""Kernels for a GPU, compiled by Triton; only `kernels` and `assemble` import it."""
