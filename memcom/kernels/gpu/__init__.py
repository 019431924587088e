"""Kernels for a GPU, compiled by Triton. Only `kernels` needs Triton to be imported."""
