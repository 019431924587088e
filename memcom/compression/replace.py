"""Put compressors in the place of the embeddings of a model that is not trained yet."""

from __future__ import annotations

from torch import nn

from memcom._annotations import checked
from memcom._check import whole
from memcom.budget import BudgetError
from memcom.compression.places import Made, budget_of, fill, find, plan_for
from memcom.compression.report import Compressed, CompressedTable


@checked
def replace(
    model: nn.Module,
    spec: str,
    *,
    ratio: float | None = None,
    nbytes: int | str | None = None,
    min_rows: int = 10_000,
    tied: str = "refuse",
    inplace: bool = False,
) -> Compressed:
    """Replace the embeddings of a model that is to be trained.

    >>> import memcom
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Embedding(50_000, 64), nn.Linear(64, 1))
    >>> done = memcom.replace(model, "memcom", ratio=16)
    >>> print(done)
    table    method       ids    width    bytes before    bytes    ratio
    0        memcom    50,000       64      12,800,000  799,808    16.00
    >>> done.model[0]
    MEmComEmbedding(50000, 64, nbytes=799808, compression_ratio=16.00)

    `compress` fits layers to tables that are trained; here new layers are drawn, with the standard
    deviation of the table in whose place they stand. Device, type, mode, ``padding_idx`` and
    ``sparse`` are those of the old one. What is found, refused and left as it is, is the same.

    Args:
        model: An embedding, or a model around some.
        spec: A method, with options, such as ``"qr"`` or ``"memcom(bits=8)"``.
        ratio: Budget: the bytes of the tables that are replaced, divided by this.
        nbytes: Budget in bytes for all of them together, or as text such as ``"1.5 MB"``. Each
            table may spend its share. With neither budget the spec has the sizes.
        min_rows: Smaller tables of a model are left as they are.
        tied: A table may also be another parameter of the model, as an output projection often is.
            ``"refuse"``: raise an error that names both. ``"share"``: the projection becomes a
            `SharedHead`, which reads the layer. ``"keep"``: leave the other parameter as it is; it
            takes its bytes as before.
        inplace: Put the new layers into the model itself instead of a copy. The copy has no copy of
            the old tables.

    Returns:
        The model with its new layers, as they are trained, and the report. Its bytes are those of
        the layers once they are frozen (see `CompressedEmbedding.freeze`); it has no errors.

    Raises:
        BudgetError: The method cannot be that small.
        ValueError: There is no table to replace, or one with ``max_norm`` or
            ``scale_grad_by_freq``; a table is tied; both budgets are given.
        TypeError: An argument is of another type, or the spec needs a size.
    """
    whole("min_rows", min_rows, 1)
    places, kept = find(model, min_rows, tied=tied, inplace=inplace, trained=False)
    left = budget_of(ratio, nbytes, places)

    def made(at: int, share: float | None) -> Made:
        place = places[at]
        try:
            planned = plan_for(place, spec, share)
        except BudgetError as error:
            raise BudgetError(f"{place.name}: {error}", error.reason, error.smallest) from error
        layer = planned.build(
            padding_idx=place.padding_idx,
            sparse=place.sparse,
            device=place.weight.device,
            dtype=place.weight.dtype,
        )
        std = 0.0 if place.weight.is_meta else float(place.table.std(correction=0))
        if 0 < std < float("inf"):
            layer.reset_parameters(std)
        rows, width = place.weight.shape
        report = CompressedTable(
            place.name, spec, rows, width, place.nbytes, planned.nbytes, plan=planned
        )
        return layer, report

    return fill(model, places, kept, left, inplace, made, frozen=False)
