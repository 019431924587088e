"""Exercises answer; nothing a reader writes makes the check raise.

PYTEST_DONT_REWRITE: the assertions of an exercise must read as they do in a notebook.
"""

from __future__ import annotations

import pytest

from memcom.course import check, evaluate_answer, exercise


@pytest.fixture(autouse=True)
def doubled():
    @exercise("double")
    def _(fn):
        assert fn(2) == 4, "twice 2 is 4"
        assert fn(-1) == -2


def test_a_right_answer_passes():
    outcome = evaluate_answer("double", lambda x: 2 * x)
    assert (outcome.status, outcome.message) == ("passed", "")


def test_a_stub_is_not_tried_yet():
    def stub(x):
        raise NotImplementedError("your turn")

    assert evaluate_answer("double", stub).status == "not tried yet"


def test_a_wrong_answer_gets_the_message_of_the_check():
    outcome = evaluate_answer("double", lambda x: x)
    assert (outcome.status, outcome.message) == ("failed", "twice 2 is 4")


def test_an_assertion_without_a_message_shows_its_line():
    outcome = evaluate_answer("double", lambda x: abs(2 * x))
    assert outcome.status == "failed"
    assert outcome.message == "AssertionError\n  in the check: assert fn(-1) == -2"


def test_an_error_in_the_answer_shows_the_readers_own_line():
    def answer(x):
        return x / 0

    outcome = evaluate_answer("double", answer)
    line = answer.__code__.co_firstlineno + 1
    assert outcome.message == (
        f"ZeroDivisionError: division by zero\n  in your function, line {line}: return x / 0"
    )


def test_an_answer_with_the_wrong_arguments_fails():
    outcome = evaluate_answer("double", lambda: 4)
    assert outcome.status == "failed"
    assert "TypeError" in outcome.message


def test_an_answer_that_is_no_function_fails():
    assert evaluate_answer("double", 4).status == "failed"


def test_check_prints_where_there_is_no_kernel(capsys):
    assert check("double", lambda x: 2 * x) is None
    check("double", lambda x: x)
    check("double", lambda x: 2 * x, solution=True)
    assert capsys.readouterr().out == (
        "double: passed\ndouble: failed\ntwice 2 is 4\ndouble (the solution): passed\n"
    )


def test_an_unknown_exercise_says_what_to_do():
    with pytest.raises(KeyError, match="run the folded cell above it"):
        check("triple", lambda x: 3 * x)
