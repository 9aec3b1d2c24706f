"""Answers that cannot be used are counted, and end a run where they are most."""

from __future__ import annotations

import pytest

from hyperalign.concurrency import run_concurrently
from hyperalign.errors import ModelOutputError, UnusableAnswersError
from hyperalign.programs.replies import count_answer, tally_answers


def test_undecided_answers_are_counted_in_every_tally_around_them() -> None:
    count_answer(False, "nobody listens")
    with tally_answers() as outer:
        count_answer(True, "A")
        with tally_answers() as inner:
            run_concurrently(lambda at: count_answer(at % 2 == 0, f"odd {at} " + "x" * 300), range(10), 4)
    assert (outer.asked, outer.undecided, inner.asked, inner.undecided) == (11, 5, 10, 5)
    assert len(inner.odd) == 3
    assert all(said.startswith("odd ") and len(said) == 200 for said in inner.odd)


def test_where_most_answers_are_unusable_the_run_ends_with_the_model_s_words() -> None:
    with tally_answers() as tally:
        for at in range(15):
            count_answer(at >= 10, "As a  language model\nI can't say." if at < 10 else "A")
        with pytest.raises(
            UnusableAnswersError, match=r"Of 16 answers 11 could not be used.*As a language model I won't"
        ):
            count_answer(False, "As a language model I won't.")
        assert tally.undecided == 11
    assert not issubclass(UnusableAnswersError, ModelOutputError), "what skips one odd answer must not skip this"


def test_as_many_good_answers_as_bad_ones_end_nothing() -> None:
    with tally_answers() as tally:
        for at in range(40):
            count_answer(at % 2 == 0, "Hm.")
    assert (tally.asked, tally.undecided) == (40, 20)


def test_a_tally_that_only_counts_ends_nothing() -> None:
    with tally_answers(ends=False) as tally:
        for _ in range(40):
            count_answer(False, "Hm.")
    assert (tally.asked, tally.undecided) == (40, 40)
