"""Layers for more ids, in the place of a layer whose vocabulary has grown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from memcom._check import whole
from memcom.addresses import MAX_NUM_EMBEDDINGS

if TYPE_CHECKING:
    from memcom.embeddings._contract import CompressedEmbedding

Layer = TypeVar("Layer", bound="CompressedEmbedding")


def resized(layer: Layer, num_embeddings: int) -> Layer:
    """Make the layer anew for more ids, copy its state, and check the vectors of all old ids."""
    least = layer.num_embeddings
    new_size = whole("num_embeddings", num_embeddings, least, MAX_NUM_EMBEDDINGS)
    refusal = f"{type(layer).__name__} of {least} ids cannot be resized to {new_size}"
    if layer.device.type == "meta":
        raise ValueError(f"{refusal}: it is on the meta device and has no values")
    dtype = next((p.dtype for p in layer.parameters()), None)
    arguments: dict[str, Any] = {**layer.own_arguments, **layer.common}
    arguments |= {"device": layer.device, "dtype": dtype}
    try:
        larger = type(layer)(new_size, layer.embedding_dim, **arguments)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{refusal}: {error}") from error
    state, room = layer.state_dict(), larger.state_dict()
    if state.keys() != room.keys():
        raise ValueError(
            f"{refusal}: so many ids need other tables, or it is frozen or quantised: then resize "
            "the layer it was made from"
        )
    with torch.no_grad():
        for name, old in state.items():
            if old.ndim != room[name].ndim or any(
                new < was for new, was in zip(room[name].shape, old.shape, strict=True)
            ):
                raise ValueError(f"{refusal}: {name} would be smaller, {tuple(room[name].shape)}")
            room[name][tuple(slice(size) for size in old.shape)].copy_(old)
    if not _same_vectors(layer, larger):
        raise ValueError(
            f"{refusal}: the rows that an id reads depend on the number of ids, so old ids would "
            "get other vectors"
        )
    return larger.train(layer.training)


@torch.no_grad()
def _same_vectors(layer: CompressedEmbedding, larger: CompressedEmbedding) -> bool:
    training = layer.training
    try:
        layer.eval(), larger.eval()
        return all(_equal(layer(ids), larger(ids)) for ids in layer.all_ids())
    finally:
        layer.train(training)


def _equal(a: Tensor, b: Tensor) -> bool:
    return bool(((a == b) | (a.isnan() & b.isnan())).all())
