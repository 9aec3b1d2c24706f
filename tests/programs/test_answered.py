"""Which of two answers was meant, from what a model wrote and what it might have written."""

from __future__ import annotations

import math
from typing import Any

import pytest

from hyperalign.concurrency import run_concurrently
from hyperalign.errors import ModelOutputError, UnusableAnswersError
from hyperalign.programs.answered import count_answer, share_of_first, shares_of_first, tally_answers

WORDS = ("Safe", "Harmful")


def first_token(**logprobs: float) -> dict[str, Any]:
    return {"content": [{"top_logprobs": [{"token": token, "logprob": value} for token, value in logprobs.items()]}]}


def test_a_share_is_read_from_decorated_tokens() -> None:
    told = {"content": [{"top_logprobs": [{"token": " A", "logprob": -0.7}, {"token": "**B", "logprob": -0.7}]}]}
    assert share_of_first("B", told) == pytest.approx(0.5)
    assert share_of_first("B", {"content": []}) == 0.0
    assert share_of_first("B", None) == 0.0


def test_a_word_is_known_by_its_first_token() -> None:
    assert share_of_first("Safe", first_token(Safe=-0.7, Harm=-0.7), WORDS) == pytest.approx(0.5)
    assert share_of_first("Safe", first_token(Sa=-0.3, harm=-1.4), WORDS) == pytest.approx(0.75, abs=0.01)
    assert share_of_first("Safe", first_token(Safe=-0.01, The=-5.0), WORDS) == 1.0, "one of them alone: what was said"


@pytest.mark.parametrize(
    ("said", "share"),
    [
        ("Safe", 1.0),
        ("**safe**.", 1.0),
        ("It is harmful, since", 0.0),
        ("Safe or Harmful", 0.5),
        ("Safely", 0.5),
        ("I can't say", 0.5),
    ],
)
def test_a_word_is_read_where_it_stands_alone(said: str, share: float) -> None:
    assert share_of_first(said, None, WORDS) == share


@pytest.mark.parametrize(
    ("said", "share"),
    [
        ("A", 1.0),
        ("b", 0.0),
        ("Text B fits the statement better, since it is warm.", 0.0),
        ("Text A fits better than text B.", 1.0),
        ("B fits better.", 0.0),
        ("A because it is warm", 1.0),
        ("A</s>", 1.0),
        ("<|assistant|>B<|im_end|>", 0.0),
        ("<answer>A</answer>", 1.0),
        (r"\boxed{A}", 1.0),
        (r"$\boxed{\text{B}}$", 0.0),
        ("The answer is **B**.", 0.0),
        ("I would choose B.", 0.0),
        ('{"answer": "A"}', 1.0),
        ('```json\n{"letter": "B"}\n```', 0.0),
        ("<think>A is warm, but B is warmer.</think>\n\nB", 0.0),
        ("so it must be A.\n</think>\nB", 0.0),
        ("The first is cold and short, the second warm.\n\nAnswer: B", 0.0),
        ("1: A", 1.0),
        ("<think>It could be A", 0.5),
        ("A or B", 0.5),
        ("A, or B", 0.5),
        ("A/B", 0.5),
        ("A and B", 0.5),
        ("Text A or text B", 0.5),
        ("neither", 0.5),
        ("Both fit.", 0.5),
        ("N/A", 0.5),
        ("I can't tell.", 0.5),
        ("Text A does not fit.", 0.5),
        ("A text about jam", 0.5),
        ("A believing Christian.", 0.5),
        ("Although", 0.5),
        ("", 0.5),
    ],
)
def test_one_letter_is_read_however_it_is_written(said: str, share: float) -> None:
    assert share_of_first(said) == share


ABBA = [1.0, 0.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("said", "shares"),
    [
        ("1: A\n2: B\n3: B\n4: A", ABBA),
        ("1. A\n2. B\n3. B\n4. A", ABBA),
        ("1: a\n2: b\n3: b\n4: a", ABBA),
        ("**1**: Text A\n**2**: Text B\n**3**: Text B\n**4**: Text A", ABBA),
        ("1) A - because it is warm\n2) B - it has 2 jokes\n3) B – cold\n4) A, since it is short", ABBA),
        ("Here are my answers:\n\n1: A\n2: B\n3: B\n4: A\n\nLet me know if you need more!", ABBA),
        ("1. Warm and friendly: A\n2. Blunt.: B\n3. A believing Christian. **B**\n4. Emotional: A", ABBA),
        ("1: A, 2: B, 3: B, 4: A", ABBA),
        ("1A 2B 3B 4A", ABBA),
        ("1\nA\n2\nB\n3\nB\n4\nA", ABBA),
        ("Statement 1: A\nStatement 2: B\nStatement 3: B\nStatement 4: A", ABBA),
        ("| Statement | Text |\n|---|---|\n| 1 | A |\n| 2 | B |\n| 3 | B |\n| 4 | A |", ABBA),
        ("| 1 | Warm and friendly. | A |\n| 2 | Blunt. | B |\n| 3 | Odd. | B |\n| 4 | Calm. | A |", ABBA),
        ('{"1": "A", "2": "B", "3": "B", "4": "A"}', ABBA),
        ('```json\n{"1": "Text A", "2": "Text B", "3": "Text B", "4": "Text A"}\n```', ABBA),
        ('{"answers": ["A", "B", "B", "A"]}', ABBA),
        ('["A", "B", "B", "A"]', ABBA),
        ('[{"statement": 1, "answer": "A"}, {"statement": 2, "answer": "B"}, {"statement": 3, "answer": "B"}, '
         '{"statement": 4, "answer": "A"}]', ABBA),
        ('{"Warm.": "A", "Blunt.": "B", "Odd.": "B", "Calm.": "A"}', ABBA),
        ("A\nB\nB\nA", ABBA),
        ("- A\n- B\n- B\n- A", ABBA),
        ("ABBA", ABBA),
        ("A, B, B, A", ABBA),
        ("A B B A", ABBA),
        ("<think>1: B\n2: A, no</think>\n1: A\n2: B\n3: B\n4: A", ABBA),
        ("1: B\n2: A\n</think>1: A\n2: B\n3: B\n4: A", ABBA),
        ("4: A\n3: B\n2: B\n1: A", ABBA),
        ("1: A\n2: B\n3: B\n4: A\n5: B\n6: A", ABBA),
        ("1: A\n1: A\n2: B\n3: B\n4: A", ABBA),
        ("1: A\n2: B\n4: A", [1.0, 0.0, None, 1.0]),
        ("1: A\n2: B\n3: A\n3: B\n4: A", [1.0, 0.0, None, 1.0]),
        ("1: A\n2: B\n3: both\n4: A or B", [1.0, 0.0, 0.5, 0.5]),
        ("1: A\n2: neither of them\n3: N/A\n4: A/B", [1.0, 0.5, 0.5, 0.5]),
        ("1: A\n2: It depends on the reader.\n3: A believing Christian\n4: A", [1.0, None, None, 1.0]),
        ("A\nB\nB", [None] * 4),
        ("ABB", [None] * 4),
        ("I can't judge texts.", [None] * 4),
        ("<think>1: A\n2: B", [None] * 4),
        ("", [None] * 4),
    ],
)  # fmt: skip
def test_many_answers_are_read_however_they_are_written(said: str, shares: list[float | None]) -> None:
    assert shares_of_first(said, 4) == shares


def test_the_log_probabilities_of_a_letter_behind_a_thought_are_its_own_token_s() -> None:
    tokens = ["<think>", "A?", "</think>", "\n", "1", ":", " A", "\n", "2", ":", " B"]
    of_letters = {6: {" A": 0.7, " B": 0.3}, 10: {" A": 0.2, " B": 0.6, " C": 0.1}}
    content = [
        {
            "token": token,
            "top_logprobs": [
                {"token": name, "logprob": math.log(share)} for name, share in of_letters.get(at, {token: 1.0}).items()
            ],
        }
        for at, token in enumerate(tokens)
    ]
    said = "".join(tokens)
    assert shares_of_first(said, 2, {"content": content}) == pytest.approx([0.7, 0.25])
    assert shares_of_first("1: A\n2: B", 2, {"content": content}) == pytest.approx([0.7, 0.25]), "as an adapter cuts it"
    assert shares_of_first("1: A\n2: B.", 2, {"content": content}) == [1.0, 0.0], "of another text"


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


@pytest.mark.parametrize("text", ["\n \n. ", "|", "- ", "A ", "the text is ", "<think>", "statement . "])
def test_reading_takes_no_longer_than_the_text_is_long(text: str) -> None:
    # By the square of its length this would outlast any test.
    assert share_of_first(text * (300_000 // len(text))) == 0.5
    assert shares_of_first(text * (300_000 // len(text)), 3) == [None] * 3
