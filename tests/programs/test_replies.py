"""Which of two answers was meant, from what a model wrote and what it might have written."""

from __future__ import annotations

import math
from typing import Any

import pytest

from hyperalign.programs.replies import read_probabilities, read_probability

WORDS = ("Safe", "Harmful")


def first_token(**logprobs: float) -> dict[str, Any]:
    return {"content": [{"top_logprobs": [{"token": token, "logprob": value} for token, value in logprobs.items()]}]}


def test_a_share_is_read_from_decorated_tokens() -> None:
    told = {"content": [{"top_logprobs": [{"token": " A", "logprob": -0.7}, {"token": "**B", "logprob": -0.7}]}]}
    assert read_probability("B", told) == pytest.approx(0.5)
    assert read_probability("B", {"content": []}) == 0.0
    assert read_probability("B", None) == 0.0


def test_a_word_is_known_by_its_first_token() -> None:
    assert read_probability("Safe", first_token(Safe=-0.7, Harm=-0.7), WORDS) == pytest.approx(0.5)
    assert read_probability("Safe", first_token(Sa=-0.3, harm=-1.4), WORDS) == pytest.approx(0.75, abs=0.01)
    assert read_probability("Safe", first_token(Safe=-0.01, The=-5.0), WORDS) == 1.0, "one of them alone: what was said"


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
    assert read_probability(said, None, WORDS) == share


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
    assert read_probability(said) == share


@pytest.mark.parametrize(
    ("said", "share"),
    [
        ("I think it's B.", 0.0),
        ("Text A is worse, so B", 0.0),
        ("It is not A", 0.5),
        ("Not A but B", 0.0),
        ("A is wrong; B is right", 0.5),
        ("A does not fit.", 0.5),
        ("Between A and B, I choose B.", 0.0),
        ("Option B: because A lacks it", 0.0),
        ("A fits less well than B.", 0.5),
        ("A seems weaker than B", 0.5),
        ("A is less fitting", 0.5),
        ("A has no humor, B does", 0.5),
        ("Text B is formal while the statement says informal, so the answer is A.", 1.0),
        ("A statement like this fits B", 0.0),
        ("As for B", 0.5),
        ("A fits better than B", 1.0),
        ("B is better than A.", 0.0),
        ("A fits, B does not.", 1.0),
        ("A, not B.", 1.0),
        ("A rather than B, since it is warm", 1.0),
        ("Text A over text B", 1.0),
        ("A is colder than B.", 0.5),
        ("A is less formal than B", 0.5),
        ("A. B is better.", 0.5),
        ("A, but B fits better.", 0.5),
        ("A: formal, cold. B: friendly, warm.", 0.5),
        ("A) warm\nB) cold", 0.5),
        ("A: formal. B: friendly. So the answer is B.", 0.0),
        ("A is formal.\nB is friendly.\n\nB", 0.0),
        ("The statement says informal; text B is formal, therefore A.", 1.0),
        ("Option b", 0.0),
        ("option a", 1.0),
        ("Text a.", 1.0),
        ("(b)", 0.0),
        ("a)", 1.0),
        ("The answer is probably A.", 1.0),
        ("The answer is not A.", 0.5),
        ("I don't think it's A.", 0.5),
        ("I don't think that the answer is B.", 0.5),
        ("I don't think it's A; it's B.", 0.0),
        ("I would go with B.", 0.0),
        ("I'd pick text B because text A is not warm.", 0.0),
        ("Clearly, text B fits better.", 0.0),
        ("In my view, text B matches the statement better than text A.", 0.0),
        ("If it's A, the writer is warm.", 0.5),
        ("The wrong one is A.", 0.5),
        ("Antwort: B", 0.0),
        ("Die Antwort ist B.", 0.0),
        ("Réponse : A", 1.0),
        ("La réponse est A.", 1.0),
        ("La respuesta es B", 0.0),
        ("Text B passt besser zur Aussage.", 0.0),
        ("Text A passt nicht.", 0.5),
        ("Le texte A correspond mieux.", 1.0),
        ("Neither A nor B fits.", 0.5),
        ("A and B both fit.", 0.5),
        ("Either A or B.", 0.5),
        ("A is as good as B.", 0.5),
        ("A: wrong", 0.5),
        ("A? No.", 0.5),
        ("A, which is weaker", 0.5),
        ("B. Text A is longer.", 0.0),
        ("B - it is warm, and A is cold", 0.0),
        ("A - it does not boast", 1.0),
        ("A, because it is not formal.", 1.0),
        ("A: the tone is warm", 1.0),
        ("A fits better, although it is short.", 1.0),
        ("A fits better, but B is warmer.", 0.5),
        ("Both fit, but A fits better.", 1.0),
        ("Text A lacks humor.", 0.5),
        ("Text A isn't warm", 0.5),
        ("Text A is too formal.", 0.5),
        ("A poor match", 0.5),
        ("The better text is B.", 0.0),
        ("The worse text is A.", 0.5),
        ("My choice: B", 0.0),
        ('{"reason": "B is cold", "answer": "A"}', 1.0),
        ('{"answer": "A", "reason": "B is not warm"}', 1.0),
        ("Answer: **B** (not A)", 0.0),
        ("A (vs. B)", 1.0),
        ("A vs. B", 0.5),
        ("A vs B", 0.5),
        ("A vs B: B", 0.0),
        ("It must be B", 0.0),
        ("A, without doubt.", 1.0),
        ("A > B", 0.5),
        ("Text A. Text B.", 0.5),
        ("Text A.\n\nAnswer: A", 1.0),
        ("I think it could be A or B.", 0.5),
        ("The answer is A or B.", 0.5),
        ("Which is better, A or B?", 0.5),
        ("A believing Christian wrote this, and it is a text about B-movies.", 0.5),
        ("Vitamin B is named in text A, so it is A.", 1.0),
        ("A fits. B is about cats.", 1.0),
        ("Text A is formal. Text B is informal.", 0.5),
        ("A man wrote a letter.", 0.5),
        ("Text A is formal and polite, whereas the statement calls for slang. Choose B.", 0.0),
        ("I prefer A to B.", 1.0),
        ("A is good, but it's B.", 0.0),
        ("A is good, but B", 0.5),
        ("The statement fits text A.", 1.0),
        ("The statement does not fit text A.", 0.5),
        ("The closest match is text B.", 0.0),
        ("Rather than A, B.", 0.0),
        ("Letter: b", 0.0),
        ("**A** — warm, playful", 1.0),
        ("Final answer: B.", 0.0),
        ("B\n\nText A is formal.", 0.0),
        ("A because B lacks warmth.", 1.0),
        ("Text A conflicts with the statement", 0.5),
        ("A cannot be right", 0.5),
        ("B. No exclamation marks, short sentences.", 0.0),
        ("I lean towards A.", 1.0),
        ("I'd say A.", 1.0),
        ("I'd say A fits better.", 1.0),
        ("Ich wähle B.", 0.0),
        ("Je choisis B", 0.0),
        ("A's tone is closer to the statement.", 1.0),
        ("A's tone is wrong.", 0.5),
        ("So A is not it", 0.5),
        ("So A lacks humor and B is dull.", 0.5),
        ("A or B? Hard to tell.", 0.5),
        ("I would not choose A.", 0.5),
        ("I would choose B over A.", 0.0),
        ("Hmm. Text A mentions jam. B", 0.0),
        ("Option A is the better one", 1.0),
        ("Option A is the worse one", 0.5),
        ("A wins.", 1.0),
        ("Looking at both, B is the closer match.", 0.0),
        ("The statement describes B", 0.0),
        ("A vs. B?", 0.5),
        ("A. No wait, the answer is B.", 0.0),
        ("The answer is A. The answer is B.", 0.5),
        ("I'm not sure it is B.", 0.5),
        ("It's definitely B", 0.0),
        ("B, as it's less formal.", 0.0),
        ("Text A uses no exclamation marks, so A.", 1.0),
        ("Text A uses no exclamation marks.", 0.5),
        ("A does.", 1.0),
        ("B doesn't.", 0.5),
        ("Answer: A. Text B is too long.", 1.0),
        ("Answer: B, because A is wrong", 0.0),
        ("Text A: formal\nText B: warm\nAnswer: B", 0.0),
        ("Text A: formal\nText B: warm", 0.5),
        ("Text A is formal; text B is warm. I choose text B", 0.0),
        ("A seems right at first, but B", 0.5),
        ("My answer is A, although B is close.", 1.0),
        ("Although A is warm, B is better.", 0.0),
        ("I cannot choose A.", 0.5),
        ("The better of A and B", 0.5),
        ('"A" is not suitable', 0.5),
        ('"B" is more suitable', 0.0),
        ("Response A", 1.0),
        ("Version B fits best.", 0.0),
        ("Text A is the opposite of the statement.", 0.5),
        ("A is better if the writer is warm, B otherwise.", 0.5),
        ("It depends: A is better for warm, B is better for formal.", 0.5),
        ("Of the two, B.", 0.0),
        ("Without a doubt A.", 1.0),
    ],
)
def test_a_sentence_is_read_as_a_careful_reader_would(said: str, share: float) -> None:
    assert read_probability(said) == share


@pytest.mark.parametrize(
    ("said", "share"),
    [
        ("Not harmful", 0.5),
        ("Safe, not harmful", 1.0),
        ("This message is harmful.", 0.0),
        ("The message isn't harmful", 0.5),
        ("It is not safe", 0.5),
        ("If it is harmful, say so", 0.5),
        ("Safe or harmful? Safe", 1.0),
        ("harmful\n\nIt is not safe.", 0.0),
    ],
)
def test_a_sentence_about_words_is_read_alike(said: str, share: float) -> None:
    assert read_probability(said, None, WORDS) == share


@pytest.mark.parametrize(
    ("said", "shares"),
    [
        ("1: A\n1: B", [None, None]),
        ("1: A\n2: B\n1: B", [None, 0.0]),
        ("1: A is less good than B\n2: B", [None, 0.0]),
        ("1: A is wrong; B is right\n2: B", [None, 0.0]),
        ("1: so the answer is B\n2: Text A is worse, so B", [0.0, 0.0]),
        ("1. A is formal, so the answer is B.\n2. I'd pick A.", [0.0, 1.0]),
        ("1: A, 2: not A", [1.0, None]),
        ("1: Text A mentions 2 B-movies\n2: B", [1.0, 0.0]),
        ("1: A (vs B)\n2: B (vs A)", [1.0, 0.0]),
        ("1 and 2: A", [1.0, 1.0]),
        ("Antworten:\n1: B\n2: A", [0.0, 1.0]),
        ("Statement 1 fits A, statement 2 fits B.", [1.0, 0.0]),
        ("3: A\n4: B", [None, None]),
        ("A fits better.\nB, since it is warm.", [1.0, 0.0]),
    ],
)
def test_sentences_behind_numbers_are_read_alike(said: str, shares: list[float | None]) -> None:
    assert read_probabilities(said, 2) == shares


def test_a_number_that_contradicts_itself_is_undecided() -> None:
    assert read_probability("1: A\n1: B") == 0.5


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
    assert read_probabilities(said, 4) == shares


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
    assert read_probabilities(said, 2, {"content": content}) == pytest.approx([0.7, 0.25])
    assert read_probabilities("1: A\n2: B", 2, {"content": content}) == pytest.approx([0.7, 0.25]), (
        "as an adapter cuts it"
    )
    assert read_probabilities("1: A\n2: B.", 2, {"content": content}) == [1.0, 0.0], "of another text"


@pytest.mark.parametrize("text", ["\n \n. ", "|", "- ", "A ", "the text is ", "<think>", "statement . ", "so A is B "])
def test_reading_takes_no_longer_than_the_text_is_long(text: str) -> None:
    # By the square of its length this would outlast any test.
    assert read_probability(text * (100_000 // len(text))) == 0.5
    assert read_probabilities(text * (100_000 // len(text)), 3) == [None] * 3
