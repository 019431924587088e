"""States of another size, and layers that travel to the workers of a DataLoader."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader

from tests.embeddings.cases import NUM_EMBEDDINGS, SPECS, make, some_ids
from tests.tools.reference import every_layer, full_table


@every_layer
def test_the_state_of_another_vocabulary_is_refused_by_name_and_shapes(spec):
    small, large = make(spec), make(spec, n=2 * NUM_EMBEDDINGS)
    mine, other = large.state_dict(), small.state_dict()
    wrong = {name for name in mine if name in other and mine[name].shape != other[name].shape}
    assert wrong | (mine.keys() ^ other.keys())
    with pytest.raises(RuntimeError) as error:
        large.load_state_dict(other)
    for name in wrong:
        assert f"size mismatch for {name}:" in str(error.value)
        assert str(mine[name].shape) in str(error.value)
        assert str(other[name].shape) in str(error.value)


class Vectors:
    """A data set of the layers' vectors."""

    def __init__(self, layers):
        self.layers = layers

    def __len__(self):
        return len(self.layers)

    @torch.no_grad()
    def __getitem__(self, k):
        return self.layers[k](some_ids(8))


@pytest.mark.slow
def test_every_layer_works_in_a_spawned_worker():
    layers = [make(spec, padding_idx=3) for spec in SPECS]
    loader = DataLoader(Vectors(layers), num_workers=1, multiprocessing_context="spawn", timeout=60)
    for layer, found in zip(layers, loader, strict=True):
        torch.testing.assert_close(found[0], full_table(layer)(some_ids(8)))
