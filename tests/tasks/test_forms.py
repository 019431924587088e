"""Forms of a trained full table: how they are written, and what is measured of them."""

from __future__ import annotations

import pytest

from memcom.data import load
from memcom.tasks._forms import Form, split_name
from memcom.tasks.protocol import Setting, get_task
from tests.tasks.data import clicks, texts


def test_a_form_is_a_method_with_or_without_a_ratio():
    assert Form.of("int4") == ("int4", None)
    packed = Form.of("memcom(bits=8,weight_bits=4)@16.5")
    assert packed == ("memcom(bits=8,weight_bits=4)", 16.5)


@pytest.mark.parametrize(
    ("text", "name"),
    [("int4", ("int4", None)), ("rq(bits=8)@40", ("full->rq(bits=8)", 40.0))],
)
def test_its_name_tells_method_and_ratio(text, name):
    assert split_name(Form.of(text).name) == name


@pytest.mark.parametrize("text", ["", "rq@", "rq@x", "rq@0.5", "rq@nan", "rq@inf", "nothing@4"])
def test_what_makes_no_sense_is_named(text):
    with pytest.raises(ValueError, match=r"form is written|written name|no compressor"):
        Form.of(text)


@pytest.fixture(scope="module")
def outcome():
    task, data = get_task("ranking"), load("synthetic", num_users=60, num_items=400)
    forms = ["int8", "pq@6", "hash@6", "hash(bits=8)@6", "low-rank@6", "memcom@63"]
    setting = Setting("ranking", "full", learning_rate=0.01, options={"epochs": 4, "forms": forms})
    return task.run(setting, data, "cpu")


def test_each_form_is_measured_within_its_budget(outcome):
    """memcom at 63x of 400 ids is out of reach, so there is no such row."""
    names = ["int8", "full->pq@6", "full->hash@6", "full->hash(bits=8)@6", "full->low-rank@6"]
    assert list(outcome.derived) == names
    for name in names[1:]:
        found = outcome.derived[name]
        assert found.size.nbytes <= 4 * 400 * 64 / 6
        assert found.output_nbytes == outcome.output_nbytes
        assert found.units["ndcg"].shape == outcome.units["ndcg"].shape


def test_each_form_has_a_validation_score_of_its_own(outcome):
    """Choices are made by it, so it is not that of the full table."""
    valid = {name: found.valid for name, found in outcome.derived.items()}
    assert valid["int8"] == pytest.approx(outcome.valid, rel=0.05)
    assert valid["full->hash@6"] != outcome.valid
    assert len(set(valid.values())) > 2


def test_a_text_model_has_forms_too():
    data, forms = texts(), ["int8", "rq@4", "hash@4"]
    options = {"epochs": 3, "forms": forms, "embedding_dim": 32}
    setting = Setting("text", "full", learning_rate=0.01, options=options)
    found = get_task("text").run(setting, data, "cpu")
    assert list(found.derived) == ["int8", "full->rq@4", "full->hash@4"]
    assert found.derived["full->hash@4"].size.nbytes <= 4 * data.num_tokens * 32 / 4
    assert found.derived["int8"].valid == pytest.approx(found.valid, abs=0.1)


def test_the_tables_of_a_click_model_meet_the_budget_together():
    """Fields of at most `threshold` ids keep their rows; the others make up for it."""
    data = clicks()
    width, sizes = 16, data.cardinalities
    options = {"epochs": 2, "forms": ["int8", "hash@2"], "threshold": 20, "embedding_dim": width}
    setting = Setting("clicks", "full", learning_rate=0.01, options=options)
    found = get_task("clicks").run(setting, data, "cpu")
    hashed = found.derived["full->hash@2"]
    assert hashed.size.nbytes <= 4 * width * sum(sizes.values()) / 2
    assert hashed.valid > 0  # the log loss, as that of the full table is
    assert found.derived["int8"].valid == pytest.approx(found.valid, rel=0.02)
