from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from memcom.embeddings import _kmeans
from memcom.embeddings._kmeans import assign, kmeans, means, sample


def points(clusters: int, each: int, spread: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    centres = 10 * torch.randn(clusters, 4, generator=generator)
    noise = torch.randn(clusters * each, 4, generator=generator)
    return centres.repeat_interleave(each, dim=0) + spread * noise


def test_assign_is_the_nearest_centre(monkeypatch):
    rng = np.random.default_rng(0)
    x, c = rng.normal(size=(50, 3)), rng.normal(size=(7, 3))
    squared = ((x[:, None] - c[None]) ** 2).sum(-1)
    for cells in (2**22, 10):
        monkeypatch.setattr(_kmeans, "_CELLS", cells)
        nearest, distance = assign(torch.tensor(x), torch.tensor(c))
        np.testing.assert_array_equal(nearest.numpy(), squared.argmin(1))
        np.testing.assert_allclose(distance.numpy(), squared.min(1), atol=1e-12)


def test_means_of_groups_and_zeros_for_an_empty_one():
    x = torch.tensor([[1.0], [3.0], [10.0]])
    centres, sizes = means(x, torch.tensor([0, 0, 2]), 3)
    assert centres.flatten().tolist() == [2.0, 0.0, 10.0]
    assert sizes.tolist() == [2, 0, 1]


def test_as_good_as_scikit_learn_on_separate_clusters():
    x = points(6, 40, 0.1)
    centres = kmeans(x, 6, generator=torch.Generator().manual_seed(1))
    ours = assign(x, centres)[1].sum().item()
    best = KMeans(6, n_init=10, random_state=0).fit(x.numpy()).inertia_
    assert ours == pytest.approx(best, rel=1e-4)


@pytest.mark.parametrize("clusters", [5, 12, 40])
def test_empty_clusters_leave_no_nan(clusters):
    # Five distinct points: the other clusters cannot hold anything.
    x = torch.arange(5.0).view(-1, 1).repeat(6, 2)
    centres = kmeans(x, clusters, generator=torch.Generator().manual_seed(0))
    assert centres.shape == (clusters, 2)
    assert centres.isfinite().all()
    assert assign(x, centres)[1].max() == 0


def test_a_point_of_weight_three_counts_as_three():
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(60, 4, generator=generator, dtype=torch.float64)
    times = torch.randint(1, 5, (60,), generator=generator)
    found, repeated = (
        kmeans(p, 7, weights=w, iterations=50, generator=torch.Generator().manual_seed(0))
        for p, w in ((x, times), (x.repeat_interleave(times, 0), None))
    )
    torch.testing.assert_close(found, repeated)
    plain = kmeans(x, 7, iterations=50, generator=torch.Generator().manual_seed(0))
    assert not torch.allclose(found, plain)


def test_a_heavy_point_draws_its_centre():
    x = torch.tensor([[0.0], [1.0], [10.0]])
    (centres,) = kmeans(x, 1, weights=torch.tensor([1.0, 3.0, 4.0]), generator=None)
    assert centres.item() == (3 + 40) / 8


def test_a_sample_of_ids_is_a_sample_of_ids():
    few = sample(1000, 3, torch.Generator().manual_seed(0))
    assert len(few.unique()) == len(few) == 3 * 256
    assert sample(10, 7, None).sort().values.tolist() == list(range(10))
    many = sample(10**12, 50, torch.Generator().manual_seed(0))
    assert len(many) == 50 * 256
    assert many.max() > 10**11
    assert many.min() >= 0


def error_of(x, centres, nearest, weights):
    return float((weights * (x - centres[nearest]).square().sum(1)).sum())


def test_in_groups_nearly_as_good_as_all_at_once(monkeypatch):
    """Every point has a cluster of its group, every cluster is used, and the error grows little."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(3000, 6, generator=generator)
    weights = torch.rand(3000, generator=generator) + 0.1
    errors = []
    for largest in (2**31, 3000 * 400 // 5):
        monkeypatch.setattr(_kmeans, "_LARGEST", largest)
        monkeypatch.setattr(_kmeans, "PER_CLUSTER", 3000)
        own = torch.Generator().manual_seed(1)
        centres, nearest = _kmeans.cluster(x, 400, weights=weights, generator=own)
        assert centres.shape == (400, 6)
        assert len(nearest.unique()) == 400
        errors.append(error_of(x, centres, nearest, weights))
    scikit = KMeans(400, n_init=1, random_state=0).fit(x.numpy(), sample_weight=weights.numpy())
    assert errors[0] < 1.05 * scikit.inertia_
    assert errors[1] < 1.15 * scikit.inertia_


def test_groups_of_equal_points_and_more_clusters_than_points(monkeypatch):
    monkeypatch.setattr(_kmeans, "_LARGEST", 1)
    x = torch.tensor([[0.0], [0.0], [0.0], [5.0], [9.0]])
    for number in (4, 5, 7):
        own = torch.Generator().manual_seed(0)
        centres, nearest = _kmeans.cluster(x, number, generator=own)
        assert centres.shape == (number, 1)
        torch.testing.assert_close(centres[nearest], x)


@pytest.mark.parametrize("total", [3, 10, 25, 31])
def test_numbers_in_proportion_add_up_within_their_limits(total):
    error = torch.tensor([5.0, 0.0, 1.0, 100.0], dtype=torch.float64)
    sizes = torch.tensor([10, 3, 0, 12])
    found = _kmeans._in_proportion(error, sizes, total)
    assert int(found.sum()) == min(total, 25)
    assert bool((found <= sizes).all())
    assert bool((found[sizes > 0] >= 1).all())
    assert found[3] >= found[0] >= found[1]
