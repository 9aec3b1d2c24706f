"""One question at a time: which of two answers a person would choose, the one that teaches most first.

No model is called: answers are those of a file, else those that the person has met and the pairs of answers that ship
with the preference space, which differ in one dimension each.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from hyperalign.backends.keeping import Kept, keep, open_reward_of
from hyperalign.errors import HyperalignError
from hyperalign.programs.reward.asking import ENOUGH, Question, QuestionPool
from hyperalign.programs.reward.directions import load_contrasts
from hyperalign.records import Pair, Record, other_text, own_text, prompt_of
from hyperalign.store import Store
from hyperalign.text import plain_form

__all__ = ["Answers", "answer_question", "find_question"]

Answers = Mapping[str, Sequence[str]]
"""By prompt, candidate answers."""
_SHIPPED: Final = 12
"""So many prompts of those that ship are looked at for a question: to read a text with an encoder takes a moment."""


def find_question(
    store: Store,
    user: str,
    answers: Answers | None = None,
    *,
    skipped: Collection[str] = (),
    encoder: str | None = None,
) -> Question | None:
    """The question to ask a person next; its two answers stand in a random order that stays the same.

    Args:
        store: has their records.
        user: the person.
        answers: candidates; what the person has met, and pairs that ship, if None.
        skipped: prompts that the person does not want to be asked about.
        encoder: what a new reward reads texts with.

    Returns:
        None if there is nothing to ask, or nothing that would teach much.
    """
    records = store.records(user, skip_damaged=True)
    asked = [Question(prompt_of(each), each.chosen, each.rejected) for each in records if isinstance(each, Pair)]
    known = {plain_form(each.prompt) for each in asked} | {plain_form(prompt) for prompt in skipped}
    pool = answers if answers is not None else {**_met_answers(records), **_shipped_answers(user, known)}
    left = {prompt: texts for prompt, texts in pool.items() if prompt.strip() and prompt not in skipped}
    try:
        _, reward = open_reward_of(store, user, encoder=encoder)
        questions = QuestionPool.read(reward, left).answer(asked)
        if not questions.questions:
            return None
        best, information = questions.choose(reward.posterior)
        return _shuffle(questions.questions[best]) if information >= ENOUGH else None
    except HyperalignError:
        # What the reward reads texts with can't be had: any question is better than none.
        found = next(iter(_unasked(left, known)), None)
        return _shuffle(found) if found else None


def answer_question(
    store: Store, user: str, question: Question, *, takes_first: bool, encoder: str | None = None
) -> Kept:
    """Keep an answer as a choice, and learn from it at once.

    Args:
        store: where.
        user: the person.
        question: what was asked.
        takes_first: whether the first answer was chosen.
        encoder: what a new reward reads texts with.
    """
    chosen, rejected = (question.first, question.second) if takes_first else (question.second, question.first)
    given = Pair(user=user, prompt=question.prompt, chosen=chosen, rejected=rejected)
    return keep(store, [given], encoder=encoder, redact=False, note="answered a question")


def _met_answers(records: Sequence[Record]) -> dict[str, list[str]]:
    """By prompt, all answers that the person was shown or gave, where there are several."""
    found: dict[str, list[str]] = {}
    for record in records:
        texts = found.setdefault(prompt_of(record), [])
        texts += [text for text in (own_text(record), other_text(record)) if text and text not in texts]
    return {prompt: texts for prompt, texts in found.items() if len(texts) > 1}


def _shipped_answers(user: str, known: Collection[str]) -> dict[str, list[str]]:
    """By prompt, pairs of answers that ship: the first in an order of this person's that they were not asked about."""
    pairs = [each for each in load_contrasts() if plain_form(each.prompt) not in known]
    first = sorted(pairs, key=lambda each: hashlib.sha256(f"{user}\0{each.prompt}".encode()).digest())
    return {each.prompt: [each.high, each.low] for each in first[:_SHIPPED]}


def _unasked(answers: Answers, known: Collection[str]) -> list[Question]:
    """The first two answers to each prompt that was not asked about."""
    return [
        Question(prompt, texts[0], texts[1])
        for prompt, texts in answers.items()
        if plain_form(prompt) not in known and len(texts) > 1
    ]


def _shuffle(question: Question) -> Question:
    # The order must not tell which answer is whose, and must not change where the page is opened again.
    key = hashlib.sha256("\0".join((question.prompt, question.first, question.second)).encode()).digest()
    if random.Random(key).random() < 0.5:
        return question
    return Question(question.prompt, question.second, question.first)
