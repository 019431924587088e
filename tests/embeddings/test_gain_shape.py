from __future__ import annotations

import itertools

import numpy as np
import torch

import memcom
from memcom.embeddings.gain_shape import cluster_lines, nearest_line

N, E, M = 200, 8, 10
IDS = torch.arange(N)


def planted(noise: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows along a few lines, some in the opposite direction, and the number of each one's line."""
    g = torch.Generator().manual_seed(0)
    line = torch.randint(M, (N,), generator=g)
    rows = torch.randn(M, E, generator=g)[line] * torch.randn(N, 1, generator=g)
    return rows + noise * torch.randn(N, E, generator=g), line


def test_a_row_times_a_gain():
    layer = memcom.GainShapeEmbedding(N, E, num_buckets=M)
    rows = torch.randint(M, (N,), generator=torch.Generator().manual_seed(0))
    layer.set_map(rows)
    with torch.no_grad():
        layer.multiplier.normal_()
    expected = layer.table.detach().numpy()[rows] * layer.multiplier.detach().numpy()
    np.testing.assert_array_equal(layer.materialize().numpy(), expected)
    assert torch.equal(layer.addresses(IDS)["table"], rows)
    assert layer.nbytes == 4 * (M * E + N) + N * 4 // 8
    layer.reset_parameters()
    assert torch.equal(layer.materialize(), layer.table.detach()[IDS % M])


def test_with_the_remainder_for_a_map_it_is_memcom():
    torch.manual_seed(0)
    layer = memcom.GainShapeEmbedding(N, E, num_buckets=M)
    torch.manual_seed(0)
    assert torch.equal(
        layer.materialize(), memcom.MEmComEmbedding(N, E, num_buckets=M).materialize()
    )


def test_planted_lines_are_found_whatever_the_sign():
    table, line = planted()
    layer = memcom.GainShapeEmbedding(N, E, num_buckets=2 * M)
    layer.fit_table(table)
    torch.testing.assert_close(layer.materialize(), table, rtol=1e-3, atol=1e-3)
    found = layer.addresses(IDS)["table"]
    for row in found.unique():
        assert line[found == row].unique().numel() == 1


def lost(points: np.ndarray, lines: np.ndarray, weights: np.ndarray) -> float:
    best = (points @ lines.T) ** 2
    return float((weights * ((points**2).sum(1) - best.max(1))).sum())


def test_more_rounds_never_raise_the_error():
    table, _ = planted(noise=0.5)
    weights = torch.rand(N, generator=torch.Generator().manual_seed(3)) + 0.1
    errors = []
    for rounds in range(8):
        lines = cluster_lines(
            table,
            M,
            weights=weights,
            iterations=rounds,
            generator=torch.Generator().manual_seed(4),
        )
        np.testing.assert_allclose(lines.norm(dim=1), 1, rtol=1e-5)
        errors.append(lost(table.numpy(), lines.numpy(), weights.numpy()))
    assert all(b <= a * (1 + 1e-5) for a, b in itertools.pairwise(errors))
    assert errors[-1] < 0.9 * errors[0]


def test_the_nearest_line_has_the_largest_product():
    table, _ = planted(noise=0.5)
    lines = torch.nn.functional.normalize(torch.randn(7, E))
    group, along = nearest_line(table, lines)
    products = table.numpy() @ lines.numpy().T
    np.testing.assert_array_equal(group, np.abs(products).argmax(1))
    np.testing.assert_allclose(along, products[np.arange(N), group], rtol=1e-4, atol=1e-5)


def test_more_lines_than_points_and_points_at_zero():
    table = torch.zeros(N, E)
    table[:3] = torch.eye(E)[:3]
    layer = memcom.GainShapeEmbedding(N, E, num_buckets=N)
    layer.fit_table(table)
    torch.testing.assert_close(layer.materialize(), table)


def test_directions_serve_better_than_remainders_and_than_means():
    """At one number of rows; a mean has no gain."""
    table, _ = planted(noise=0.3)

    def error(name: str) -> float:
        layer = memcom.get(name)(N, E, num_buckets=M)
        layer.fit_table(table)
        return float((layer.materialize() - table).square().sum())

    assert error("gain-shape") < 0.7 * error("memcom")
    assert error("gain-shape") < 0.7 * error("lhf")


def test_the_map_is_learned_from_directions_of_a_narrow_table():
    narrow, line = planted()
    layer = memcom.GainShapeEmbedding(N, E, num_buckets=3 * M)
    layer.learn(torch.ones(N, dtype=torch.int64), lambda width: narrow[:, :width])
    found = layer.addresses(IDS)["table"]
    assert all(line[found == row].unique().numel() == 1 for row in found.unique())
