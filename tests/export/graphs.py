"""Properties of exported graphs, read from the file."""

from __future__ import annotations

from pathlib import Path

GATHERS = {"Gather", "GatherND", "GatherElements"}
PRODUCTS = {"MatMul", "Gemm", "Einsum", "MatMulInteger"}


def complaints(path: Path, nbytes: int, num_embeddings: int) -> list[str]:
    """Say what makes a file of a layer more than gathers of its stored numbers.

    Args:
        path: The ONNX file.
        nbytes: Stored bytes of the layer.
        num_embeddings: Number of its ids; a product over a tenth of it is a one-hot product.
    """
    import onnx

    graph = onnx.load(path).graph
    found = []
    size = path.stat().st_size
    if size > 1.01 * nbytes:
        found.append(f"the file has {size} bytes, the layer {nbytes}")
    tensors = {each.name: each for each in graph.initializer}
    for node in graph.node:
        if node.op_type == "OneHot":
            found.append("a one-hot vector")
        for place, name in enumerate(node.input):
            if name not in tensors:
                continue
            shape = list(tensors[name].dims)
            bytes_ = len(tensors[name].raw_data)
            if node.op_type in PRODUCTS and max(shape, default=0) >= num_embeddings / 10:
                found.append(f"{node.op_type} with a constant of shape {shape}")
            elif bytes_ > 0.05 * nbytes and node.op_type not in GATHERS | PRODUCTS:
                found.append(f"{node.op_type} of a whole table of shape {shape}")
            elif bytes_ > 0.05 * nbytes and node.op_type in GATHERS and place:
                found.append(f"{node.op_type} with constant indices of shape {shape}")
    return found
