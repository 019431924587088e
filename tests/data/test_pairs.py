from __future__ import annotations

import io
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memcom import data
from memcom.data.pairs import parse_lists
from memcom.data.registry import data_root, find_set


def read_by_hand(*paths: Path) -> list[tuple[int, int]]:
    pairs = []
    for path in paths:
        for line in path.read_text().splitlines():
            head, *items = (int(number) for number in line.split())
            pairs += [(head, item) for item in items]
    return pairs


@given(
    st.lists(st.tuples(st.integers(0, 10**12), st.lists(st.integers(0, 10**6), max_size=5))),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
    st.booleans(),
)
def test_parse_lists_reads_back_what_was_written(lists, end, last_end, trailing_space):
    lines = [" ".join(map(str, [user, *items])) + " " * trailing_space for user, items in lists]
    text = end.join(lines) + (end if last_end else "")
    user, item = parse_lists(text.encode())
    expected = [(u, i) for u, items in lists for i in items]
    assert list(zip(user.tolist(), item.tolist(), strict=True)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"1 2 3\n4 x 5\n", "lists, line 2: expected integers, got 'x'"),
        (b"1 -2\n", "line 1: expected integers, got '-'"),
        (b"1 12345678901234567890\n", "20 digits"),
    ],
)
def test_parse_lists_refuses_what_is_no_id(text, message):
    with pytest.raises(ValueError, match=message):
        parse_lists(text, "lists")


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "rows", "users", "items"),
    [
        ("gowalla", (719_081, 91_047, 217_242), 29_858, 40_981),
        ("google-local", (329_472, 41_184, 41_184), 22_582, 16_557),
    ],
)
def test_published_splits_have_the_published_sizes(real, name, rows, users, items):
    real(name)
    loaded = data.load(name)
    assert tuple(np.bincount(loaded.split)) == rows
    assert (loaded.num_users, loaded.num_items) == (users, items)
    assert len(loaded) == sum(rows) == find_set(name).rows


@pytest.mark.realdata
def test_gowalla_agrees_with_a_recount_of_its_files(real):
    real("gowalla")
    gowalla = data.load("gowalla")
    folder = data_root() / "gowalla"
    assert gowalla.item_keys is not None
    user_keys = gowalla.user_names.astype(np.int64)
    for code, file in enumerate(("train.txt", "valid.txt", "test.txt")):
        of = gowalla.split == code
        loaded = zip(
            user_keys[gowalla.user[of]].tolist(),
            gowalla.item_keys[gowalla.item[of]].tolist(),
            strict=True,
        )
        assert set(loaded) == set(read_by_hand(folder / file))
    counted = Counter(item for _, item in read_by_hand(folder / "train.txt"))
    assert gowalla.item_counts.tolist() == [counted[key] for key in gowalla.item_keys.tolist()]
    assert (np.diff(gowalla.item_counts) <= 0).all()


@pytest.mark.realdata
def test_amazon_book_part_pools_both_files_and_knows_the_books(real):
    real("amazon-book-part")
    books = data.load("amazon-book-part")
    folder = data_root() / "amazon-book-part"
    pairs = read_by_hand(folder / "valid.txt", folder / "test.txt")
    assert len(books) == len(set(pairs)) == 841_906
    assert (books.num_users, books.num_items) == (52_643, 89_578)
    assert books.item_keys is not None
    assert set(books.item_keys.tolist()) == {item for _, item in pairs}
    lines = (folder / "item_list.txt").read_text().splitlines()[1:]
    asin = {int(line.split()[1]): line.split()[0] for line in lines}
    for book in (0, 1, 50_000, 89_577):
        assert books.item_names[book] == asin[int(books.item_keys[book])]
    assert np.bincount(books.split) / len(books) == pytest.approx([0.7, 0.1, 0.2], abs=0.03)


@pytest.mark.realdata
def test_lastfm_agrees_with_a_recount(real):
    import pandas as pd

    real("lastfm-2k")
    plays = data.load("lastfm-2k", form="unpacked")
    frame = pd.read_csv(data_root() / "lastfm-2k" / "user_artists.dat", sep="\t")
    assert (len(plays), plays.num_users, plays.num_items) == (92_834, 1_892, 17_632)
    assert plays.rating is not None
    assert plays.rating.astype(np.int64).sum() == frame["weight"].sum()
    assert plays.rating.max() == 352_698
    often = data.load("lastfm-2k", min_rating=1000)
    assert len(often) == int((frame["weight"] >= 1000).sum())


def test_lastfm_archive_brings_artist_names(register):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("user_artists.dat", "userID\tartistID\tweight\n2\t51\t10\n2\t52\t11\n")
        text = 'id\tname\turl\tpictureURL\n51\tSigur Rós\tu\tp\n52\tThe "X"\tu\tp\n'
        archive.writestr("artists.dat", text)
    register("lastfm-2k", {"hetrec2011-lastfm-2k.zip": packed.getvalue()})
    plays = data.load("lastfm-2k")
    assert sorted(plays.item_names) == ["Sigur Rós", 'The "X"']
