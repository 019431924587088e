from __future__ import annotations

import numpy as np
import pytest
import torch

import memcom
from memcom.embeddings.mixed_dim import block_sizes, power_rule


def test_blocks_and_projections():
    n, e = 600, 12
    layer = memcom.MixedDimEmbedding(n, e, base_dim=12, alpha=0.3)
    s = {name: t.numpy() for name, t in layer.state_dict().items()}
    rows = []
    for f in range(4):
        table = s[f"tables.{f}"]
        rows.append(table @ s[f"projections.{f}"] if table.shape[1] < e else table)
    expected = np.vstack(rows)
    assert expected.shape == (n, e)
    np.testing.assert_allclose(layer.materialize().numpy(), expected, rtol=1e-5, atol=1e-6)
    assert "projections.0" not in s  # full width: the paper's identity
    assert layer.nbytes == 4 * sum(t.size for t in s.values())


def test_the_power_rule_as_published():
    # d_f = lambda n_f^-alpha with lambda = d_0 n_0^alpha, at least 1, at most the output width.
    sizes, alpha, base = [10, 80, 640, 5120], 0.4, 24
    scale = base * sizes[0] ** alpha
    expected = [min(20, max(1, round(scale * n**-alpha))) for n in sizes]
    assert power_rule(sizes, 20, base, alpha) == expected == [20, 10, 5, 2]


def test_equal_widths_without_alpha_and_one_number_at_the_least():
    assert power_rule([1, 9, 90], 16, 4, 0.0) == [4, 4, 4]
    assert power_rule([1, 9, 90], 16, 1, 2.0) == [1, 1, 1]


@pytest.mark.parametrize("n", [1, 2, 5, 63, 1000, 10**7])
@pytest.mark.parametrize("growth", [1.0, 2.0, 8.0])
def test_blocks_hold_every_id_once(n, growth):
    sizes = block_sizes(n, 4, growth)
    assert sum(sizes) == n
    assert min(sizes) > 0
    if n >= 1000 and growth > 1:
        np.testing.assert_allclose(sizes[-1] / sizes[-2], growth, rtol=0.01)


def test_popular_blocks_are_never_narrower():
    layer = memcom.build("mixed-dim", 5000, 64, ratio=8)
    assert layer.widths == sorted(layer.widths, reverse=True)
    assert layer.blocks == sorted(layer.blocks)


def test_every_block_has_the_same_variance():
    torch.manual_seed(0)
    layer = memcom.build("mixed-dim", 60_000, 64, ratio=8)
    for start, size in zip(layer.starts, layer.blocks, strict=True):
        rows = layer.materialize()[start : start + size]
        assert rows.square().mean().item() == pytest.approx(1.0, rel=0.1)


def test_every_id_has_an_address_of_its_own():
    layer = memcom.MixedDimEmbedding(500, 8, base_dim=4)
    assert layer.addresses(torch.arange(500))["tables"].unique().numel() == 500


def test_a_plan_uses_the_room_up_to_the_full_width():
    widest = memcom.MixedDimEmbedding(3000, 64, base_dim=500)
    assert widest.widths == [64] * 4
    assert widest.nbytes == 4 * 3000 * 64
    assert memcom.plan("mixed-dim", 3000, 64, ratio=2).compression_ratio < 2.1
    with pytest.raises(memcom.BudgetError, match="ratio < embedding_dim"):
        memcom.plan("mixed-dim", 3000, 16, ratio=16)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": -0.1}, r"alpha must be >= 0 .*got -0\.1"),
        ({"growth": 0.5}, r"growth must be >= 1 .*got 0\.5"),
        ({"num_blocks": 0}, r"num_blocks must be >= 1 .*got 0"),
        ({"alpha": float("nan")}, "alpha must be .*got nan"),
    ],
)
def test_senseless_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        memcom.MixedDimEmbedding(100, 8, base_dim=4, **options)
