"""Models of Hugging Face: which weights they tie, and what their files say of small tables.

The configuration of a model that is changed says which layers stand in it, as it does for models
in few bits: ``quantization_config``, of the method "memcom". `register_with_transformers` has
``from_pretrained`` build these layers before it reads their tensors. `transformers` itself is
imported by that function alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

import torch
from torch import nn

from memcom.budget import Plan
from memcom.compression.heads import SharedHead
from memcom.compression.report import CompressedTable
from memcom.embeddings import CompressedEmbedding
from memcom.embeddings._integers import MARK, KeepsIntegers

METHOD = "memcom"


def input_embeddings(model: nn.Module) -> Any:
    """The embeddings that a model of Hugging Face names as its own; None of any other model."""
    get = getattr(model, "get_input_embeddings", None)
    if not callable(get) or not callable(getattr(model, "set_input_embeddings", None)):
        return None
    try:
        return get()
    except NotImplementedError:
        return None


def forget_ties(model: nn.Module, replaced: Iterable[str]) -> None:
    """Have models of Hugging Face tie nothing to tables that are no parameters any more.

    Args:
        model: Any model, with its new layers.
        replaced: Names of these layers.
    """
    for prefix, part in model.named_modules():
        if not isinstance(getattr(part, "all_tied_weights_keys", None), dict):
            continue
        inside = f"{prefix}." if prefix else ""
        gone = {f"{name.removeprefix(inside)}.weight" for name in replaced}
        for attribute in ("_tied_weights_keys", "all_tied_weights_keys"):
            ties = getattr(part, attribute, None)
            if isinstance(ties, dict):
                left = {a: b for a, b in ties.items() if a not in gone and b not in gone}
                setattr(part, attribute, left)


def remember(
    model: nn.Module,
    layers: Mapping[str, tuple[CompressedEmbedding, CompressedTable]],
    frozen: bool,
) -> None:
    """Write into the configuration of models of Hugging Face which layers stand in them.

    Args:
        model: Any model, with its new layers.
        layers: The layers by name, with their reports.
        frozen: They are as `CompressedEmbedding.freeze` leaves them.
    """
    outermost: list[str] = []
    for prefix, part in model.named_modules():
        inside = f"{prefix}." if prefix else ""
        if not isinstance(getattr(part, "all_tied_weights_keys", None), dict):
            continue
        if any(inside.startswith(outer) for outer in outermost):
            continue
        outermost.append(inside)
        found = [
            _record(name.removeprefix(inside), inside, *given, frozen)
            for name, given in layers.items()
            if name.startswith(inside)
        ]
        try:
            json.dumps(found)
        except TypeError:  # a map that was learned, which a configuration cannot hold
            continue
        before = getattr(part.config, "quantization_config", None) or {}
        if found and before.get("quant_method", METHOD) == METHOD:
            every = [*before.get("layers", []), *found]
            part.config.quantization_config = {"quant_method": METHOD, "layers": every}


def _record(
    name: str, inside: str, layer: CompressedEmbedding, report: CompressedTable, frozen: bool
) -> dict[str, Any]:
    assert report.plan is not None
    return {
        "name": name,
        "method": report.plan.name,
        "num_embeddings": layer.num_embeddings,
        "embedding_dim": layer.embedding_dim,
        "arguments": dict(report.plan.arguments),
        "padding_idx": layer.padding_idx,
        "sparse": layer.sparse,
        "frozen": frozen,
        "heads": [head.removeprefix(inside) for head in report.heads],
    }


def register_with_transformers() -> None:
    """Have ``from_pretrained`` of `transformers` build the layers that a saved model had.

    Call it once in a process that loads. Without it ``from_pretrained`` warns of the unknown method
    "memcom", reports the tensors of the layers as unexpected, and draws a new full table.

    Raises:
        ModuleNotFoundError: `transformers` is not installed.
    """
    auto: Any = import_module("transformers.quantizers.auto")  # its types say less than it takes
    base: Any = import_module("transformers.quantizers.base")
    options: Any = import_module("transformers.utils.quantization_config")

    if METHOD in auto.AUTO_QUANTIZER_MAPPING:
        return

    class Configuration(options.QuantizationConfigMixin):
        def __init__(self, layers: list[dict[str, Any]], **_: Any) -> None:
            self.quant_method, self.layers = METHOD, layers

    class Loader(base.HfQuantizer):
        is_trainable = True

        def is_serializable(self) -> bool:
            return True

        def _process_model_before_weight_loading(self, model: Any, **_: Any) -> None:
            self.built = _rebuild(model, self.quantization_config.layers)

        def _process_model_after_weight_loading(self, model: Any, **_: Any) -> Any:
            for layer, types in self.built:
                _restore(layer, types)
            layers = self.quantization_config.layers
            self.remove_quantization_config(model)  # it is no model in few bits: it can be trained
            for part in model.modules():
                if getattr(part, "config", None) is not None:
                    part.config._is_quantized = False
            model.config.quantization_config = {"quant_method": METHOD, "layers": layers}
            return model

    auto.register_quantization_config(METHOD)(Configuration)
    auto.register_quantizer(METHOD)(Loader)


Types = dict[str, torch.dtype]


def _rebuild(
    model: Any, records: Iterable[Mapping[str, Any]]
) -> list[tuple[CompressedEmbedding, Types]]:
    """Put layers without values into a model; return them with the types of their buffers."""
    built, names = {}, []
    for record in records:
        name = _name_in(model, record["name"])
        if name is None:
            kind = type(model).__name__
            raise ValueError(f"{kind} has no module {record['name']!r}, whose table was replaced")
        old = model.get_submodule(name)
        sizes = record["num_embeddings"], record["embedding_dim"]
        common = {"padding_idx": record["padding_idx"], "sparse": record["sparse"]}
        planned = Plan(record["method"], *sizes, record["arguments"])
        layer = planned.build(device="meta", dtype=old.weight.dtype, **common)
        layer = layer.freeze() if record["frozen"] else layer
        built[id(layer)] = layer, {key: t.dtype for key, t in layer.named_buffers()}
        names.append(name)
        _put(model, name, layer)
        for head in filter(None, (_name_in(model, each) for each in record["heads"])):
            _put(model, head, SharedHead(layer, model.get_submodule(head).bias))
    forget_ties(model, names)
    return list(built.values())


def _name_in(model: Any, name: str) -> str | None:
    """The name of a module in a model that may be the base of the saved one, or have it as base."""
    base = f"{model.base_model_prefix}."
    there = {each for each, _ in model.named_modules()}
    return next((n for n in (name, name.removeprefix(base), base + name) if n in there), None)


def _put(model: nn.Module, name: str, module: nn.Module) -> None:
    owner, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(owner), attribute, module)


def _restore(layer: CompressedEmbedding, types: Types) -> None:
    """Give buffers the types that loading has changed, and mark integers as not averaged."""
    for part_name, part in layer.named_modules():
        for name, buffer in part._buffers.items():
            wanted = types.get(f"{part_name}.{name}".lstrip("."))
            if buffer is not None and wanted is not None:
                part._buffers[name] = buffer.to(wanted)
        if isinstance(part, KeepsIntegers) and MARK in part._buffers:
            part.mark_integers(layer.device)
