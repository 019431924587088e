from __future__ import annotations

import random

import pytest

from memcom.export import Vocabulary, save
from tests.embeddings.cases import make

pytest.importorskip("marisa_trie")


def pairs(count, seed=0):
    """Strings like the keys of items, in no order."""
    draw = random.Random(seed)
    return [f"item-{draw.randrange(10**6):06d}/{k}" for k in range(count)]


def test_ids_are_places_in_the_list(tmp_path):
    strings = [*pairs(2000), "", "Łódź", "日本"]
    vocabulary = Vocabulary(strings)
    again = Vocabulary.load(vocabulary.save(tmp_path / "items.vocabulary"))
    for found in (vocabulary, again):
        assert len(found) == len(strings)
        assert found.ids(strings).tolist() == list(range(len(strings)))
        assert found.ids(s for s in (strings[7], strings[3])).tolist() == [7, 3]
        assert strings[5] in found
        assert "item" not in found
        with pytest.raises(KeyError, match="'nothing' is none of the 2003 strings"):
            found.ids(["nothing"])
    assert again.nbytes == vocabulary.nbytes


def test_its_bytes_are_those_of_the_file_and_few(tmp_path):
    strings = pairs(20_000)
    vocabulary = Vocabulary(strings)
    path = vocabulary.save(tmp_path / "items.vocabulary")
    assert 0 <= path.stat().st_size - vocabulary.nbytes < 1000
    assert vocabulary.nbytes < sum(len(each) + 1 for each in strings) / 1.5
    same = Vocabulary(strings).save(tmp_path / "again.vocabulary")
    assert same.read_bytes() == path.read_bytes()


def test_what_is_no_vocabulary_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'a' twice"):
        Vocabulary(["a", "b", "a"])
    with pytest.raises(ValueError, match="at least one"):
        Vocabulary([])
    with pytest.raises(TypeError, match="got 3"):
        Vocabulary(["a", 3])
    with pytest.raises(ValueError, match="holds no vocabulary"):
        Vocabulary.load(save(make("hash"), tmp_path / "layer.safetensors"))
    path = Vocabulary(["a", "b"]).save(tmp_path / "v")
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"\xff")
    with pytest.raises(ValueError, match="altered"):
        Vocabulary.load(path)
