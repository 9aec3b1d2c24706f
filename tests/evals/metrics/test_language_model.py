"""Language models of authors: probabilities by hand, that they are probabilities, and that they name the author."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from hyperalign.errors import InputError
from hyperalign.evals.metrics.authorship import cut, without_prompt
from hyperalign.evals.metrics.language_model import AuthorLanguageModels
from hyperalign.evals.tasks import load_task
from tests.evals.small_task import BLUNT, GARDEN, HEDGER, SEA, written

C50 = Path(__file__).resolve().parents[4] / "shared" / "data" / "reuters_c50"
HABITS = {"hed": HEDGER, "blu": BLUNT}
TEXTS = {user: [written(habits, GARDEN, seed) for seed in range(8)] for user, habits in HABITS.items()}


def probability(models: AuthorLanguageModels, text: str, author: str) -> float:
    """Of the whole text."""
    return 2.0 ** (-len(text) * models.entropies(text)[author])


def test_single_characters_by_hand() -> None:
    # Three characters of two kinds: 2/5 of the mass goes to the uniform distribution over a, b and anything else.
    models = AuthorLanguageModels({"x": ["aab"], "y": ["bbb"]}, order=1)
    assert probability(models, "a", "x") == pytest.approx((2 + 2 / 3) / 5)
    assert probability(models, "b", "x") == pytest.approx((1 + 2 / 3) / 5)
    assert probability(models, "z", "x") == pytest.approx((2 / 3) / 5)
    assert probability(models, "a", "y") == pytest.approx((1 / 3) / 4)
    assert models.entropies("ab")["x"] == pytest.approx(-(math.log2(8 / 15) + math.log2(5 / 15)) / 2)


def test_pairs_of_characters_by_hand() -> None:
    models = AuthorLanguageModels({"x": ["ab", "ab"], "y": ["b"]}, order=2)
    alone = (2 + 2 / 3) / 6
    # Each text of x begins with "a", and after each "a" comes "b".
    first, second = (2 + alone) / 3, (2 + alone) / 3
    assert probability(models, "ab", "x") == pytest.approx(first * second)
    # Nothing follows "b" in x, so what comes after it is judged alone.
    assert probability(models, "bb", "x") == pytest.approx(alone / 3 * alone)
    # y never wrote "a": its letters after one are judged alone, too.
    assert probability(models, "ab", "y") == pytest.approx((1 / 3) / 2 / 2 * (1 + 1 / 3) / 2)


@pytest.mark.parametrize("order", [1, 2, 5])
@pytest.mark.parametrize("context", ["", "t", "so_it_w", "zzz", "I_suppo", "字"])
def test_what_may_come_next_adds_up_to_one(order: int, context: str) -> None:
    # Without spaces, which count as one wherever several stand.
    joined = {user: [text.replace(" ", "_") for text in theirs[:3]] for user, theirs in TEXTS.items()}
    models = AuthorLanguageModels(joined, order=order)
    letters = {letter for theirs in joined.values() for text in theirs for letter in text}
    for author in models.authors:
        before = probability(models, context, author) if context else 1.0
        after = [probability(models, context + letter, author) for letter in (*letters, "\u2603")]
        assert min(after) > 0
        assert sum(after) == pytest.approx(before)


def test_it_names_the_author_whatever_the_topic() -> None:
    models = AuthorLanguageModels(TEXTS)
    assert models.authors == ("blu", "hed")
    for author, habits in HABITS.items():
        other = next(name for name in HABITS if name != author)
        for topic in (GARDEN, SEA):
            text = written(habits, topic, 100)
            assert models.author(text) == author
            assert models.bits_saved(text, author) > 0 > models.bits_saved(text, other)
            assert models.bits_saved(text, author) == pytest.approx(-models.bits_saved(text, other)), "of two authors"


def test_the_gain_is_over_the_mean_of_all_others() -> None:
    models = AuthorLanguageModels({**TEXTS, "one": [written(HEDGER + BLUNT, SEA, 5)], "none": ["", " \n"]})
    assert models.authors == ("blu", "hed", "one"), "who wrote nothing has no model"
    text = written(HEDGER, SEA, 100)
    bits = models.entropies(text)
    assert models.bits_saved(text, "hed") == pytest.approx((bits["blu"] + bits["one"]) / 2 - bits["hed"])


def test_layout_and_the_order_of_texts_do_not_matter() -> None:
    models = AuthorLanguageModels(TEXTS)
    turned = AuthorLanguageModels({user: theirs[::-1] for user, theirs in reversed(TEXTS.items())})
    text = written(HEDGER, SEA, 100)
    assert models.entropies(f"  {text}\n") == models.entropies(text.replace(" ", "\n\n")) == models.entropies(text)
    assert turned.entropies(text) == pytest.approx(models.entropies(text))


@pytest.mark.parametrize("text", ["", "   \n"])
def test_a_text_of_no_character_is_nobody_s(text: str) -> None:
    models = AuthorLanguageModels(TEXTS)
    assert models.entropies(text) == {}
    assert models.bits_saved(text, "hed") == 0.0
    assert models.author(text) == "blu", "the first, as good as any"


def test_too_few_authors_and_unknown_ones_are_refused() -> None:
    for given in ({}, {"hed": ["A text."]}, {"hed": ["A text."], "blu": [" "]}):
        with pytest.raises(InputError, match="at least two authors"):
            AuthorLanguageModels(given)
    with pytest.raises(InputError, match="no texts of 'cal'"):
        AuthorLanguageModels(TEXTS).bits_saved("A text.", "cal")


def test_of_published_authors_it_names_most() -> None:
    if not C50.exists():
        pytest.skip("the published data reuters_c50 are no part of the project, and are not here")
    task = load_task("c50", data=C50)
    cases = [case for case in task.cases(seed=0) if case.split == "dev"]
    texts = {user: theirs[:20] for user, theirs in task.texts().items() if user in {case.user for case in cases}}
    models = AuthorLanguageModels(texts)
    found = [models.author(cut(without_prompt(case.reference, case.prompt), 200)) == case.user for case in cases]
    assert sum(found) / len(found) > 0.5, f"of {len(texts)} authors, a {1 / len(texts):.0%} by chance"
