"""What written answers are measured with: two judges of authorship, Burrows' Delta, copied words and length.

An answer wins where the true author is likelier under the judge that cannot see the topic. This file runs no model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from hyperalign.copying import longest_copied_run
from hyperalign.errors import InputError
from hyperalign.records import Sample, own_text

from .cases import Case, Task, WritingTask
from .metrics.authorship import FAMILIES, Authorship, Family, cut
from .metrics.burrows_delta import BurrowsDelta
from .metrics.win import win
from .roles import NONE, OWN_TEXT, WRONG_USER

__all__ = ["Instruments", "instruments_for", "scored"]

_WORDS = 200
# A word or two in common with the prompt is chance.
_ECHOED_WORDS = 4
_WORD = re.compile(r"(?P<word>\w+(?:['’]\w+)*)[^\w\s]*")
_ENOUGH = 4
_RIVALS = {NONE: "win_rate_vs_none", "few-shot": "win_rate_vs_few_shot", WRONG_USER: "win_rate_vs_wrong_user"}


@dataclass(frozen=True)
class Instruments:
    """What answers are measured with.

    Attributes:
        authorship: classifiers by family.
        delta: Burrows' Delta.
    """

    authorship: Mapping[Family, Authorship]
    delta: BurrowsDelta

    @classmethod
    def trained(cls, texts: Mapping[str, Sequence[str]]) -> Instruments:
        """Instruments of some authors' texts, none of which a profile was made from.

        Raises:
            InputError: there are too few.
        """
        return cls({family: Authorship(texts, family, words=_WORDS) for family in FAMILIES}, BurrowsDelta(texts))

    def measure(self, text: str, author: str) -> dict[str, float]:
        """What they say of the beginning of a text that should be an author's: longer texts lie nearer to anybody."""
        text = cut(text, _WORDS)
        return {
            "author_logprob": self.authorship["style"].logprob(text, author),
            "author_logprob_characters": self.authorship["characters"].logprob(text, author),
            "burrows_delta": self.delta.distance(text, author),
        }

    def accuracy(self, cases: Sequence[Case]) -> dict[str, float]:
        """Share of the cases' own texts whose author each classifier names: how far it can be trusted here."""
        return {
            family: sum(each.author(_unasked(case.reference, case.prompt)) == case.user for case in cases)
            / max(1, len(cases))
            for family, each in self.authorship.items()
        }


def instruments_for(task: Task, cases: Sequence[Case]) -> Instruments | None:
    """What judges a task's writing; None where no author is to be told by it.

    Args:
        task: whose authors are to be told apart.
        cases: of this run.

    Raises:
        InputError: the task has no texts to learn from, or too few.
    """
    if task.kind != "writing":
        return None
    if not isinstance(task, WritingTask):
        raise InputError(
            f"The task '{task.name}' asks for writing, but has no texts to judge it by.",
            remedy="Give it a method texts(): texts by user.",
        )
    return Instruments.trained(_texts(task, cases))


def _texts(task: WritingTask, cases: Sequence[Case]) -> dict[str, list[str]]:
    """What instruments learn from: texts of the task's authors that no profile is made from.

    Where somebody has too few of those, all of theirs: then copying pays, and ``copied_words`` shows it.
    """
    shown = {record.text for case in cases for record in case.records if isinstance(record, Sample)}
    unshown = {author: [text for text in theirs if text not in shown] for author, theirs in task.texts().items()}
    return {author: rest if len(rest) >= _ENOUGH else list(task.texts()[author]) for author, rest in unshown.items()}


def scored(
    instruments: Instruments,
    case: Case,
    answers: Mapping[str, str],
    strangers: Mapping[str, Sequence[str]] | None = None,
    turned_down: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, dict[str, float]]:
    """What the instruments say of each answer, and which answers win; words that the prompt gave are not counted.

    Args:
        instruments: of the task's authors.
        case: what was asked.
        answers: by arm.
        strangers: by arm, the texts of somebody else that it was shown: copies of those count too.
        turned_down: by arm, the drafts that the answer was chosen before.
    """
    shown = [own_text(record) for record in case.records]
    scores: dict[str, dict[str, float]] = {}
    for arm, answer in answers.items():
        text = _unasked(answer, case.prompt)
        scores[arm] = {
            **instruments.measure(text, case.user),
            "copied_words": float(longest_copied_run(text, [*shown, *(strangers or {}).get(arm, ())])),
            "words": float(len(text.split())),
        }
    for arm, others in (turned_down or {}).items():
        chosen = scores[arm]["author_logprob"]
        drafts = [instruments.measure(_unasked(other, case.prompt), case.user)["author_logprob"] for other in others]
        if drafts:
            scores[arm]["over_its_drafts"] = chosen - fmean([chosen, *drafts])
    for arm, own in scores.items():
        for rival, name in _RIVALS.items():
            if rival in scores and rival != arm:
                own[name] = win(own["author_logprob"], scores[rival]["author_logprob"])
    return scores | {OWN_TEXT: instruments.measure(_unasked(case.reference, case.prompt), case.user)}


def _unasked(answer: str, prompt: str) -> str:
    """An answer without what the prompt itself gave it: those words are nobody's, wherever in the answer they stand.

    A lead ends in the middle of a sentence, and one answer repeats it to the letter while another changes a word of it.
    """
    given = [word for word, _ in _words(prompt)]
    asked = {tuple(given[start : start + _ECHOED_WORDS]) for start in range(len(given) - _ECHOED_WORDS + 1)}
    words = _words(answer)
    echoed: set[int] = set()
    for start in range(len(words) - _ECHOED_WORDS + 1):
        run = range(start, start + _ECHOED_WORDS)
        if tuple(words[i][0] for i in run) in asked:
            echoed |= set(run)
    kept, end = "", 0
    for number, (_, word) in enumerate(words):
        if number in echoed:
            kept += "" if number - 1 in echoed else answer[end : word.start()]
            # What follows a word closes it.
            end = word.end()
    return (kept + answer[end:]).strip() if echoed else answer


def _words(text: str) -> list[tuple[str, re.Match[str]]]:
    return [(match["word"].lower().replace("’", "'"), match) for match in _WORD.finditer(text)]
