"""What written answers are measured with: two judges of authorship, Burrows' Delta, copied words and length.

An answer wins where the true author is likelier under the judge that cannot see the topic. This file runs no model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hyperalign.copying import longest_copied_run
from hyperalign.errors import InputError
from hyperalign.records import Sample, own_text

from .cases import Case, Task, WritingTask
from .metrics.authorship import FAMILIES, Authorship, Family
from .metrics.burrows_delta import BurrowsDelta
from .metrics.win import win
from .roles import NONE, OWN_TEXT, WRONG_USER

__all__ = ["Instruments", "instruments_for", "scored"]

_ECHOED_WORDS = 4
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
        return cls({family: Authorship(texts, family) for family in FAMILIES}, BurrowsDelta(texts))

    def measure(self, text: str, author: str) -> dict[str, float]:
        """What they say of a text that should be an author's."""
        return {
            "author_logprob": self.authorship["style"].logprob(text, author),
            "author_logprob_characters": self.authorship["characters"].logprob(text, author),
            "burrows_delta": self.delta.distance(text, author),
        }

    def accuracy(self, cases: Sequence[Case]) -> dict[str, float]:
        """Share of the cases' own texts whose author each classifier names: how far it can be trusted here."""
        return {
            family: sum(each.author(case.reference) == case.user for case in cases) / max(1, len(cases))
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
) -> dict[str, dict[str, float]]:
    """What the instruments say of each answer, and which answers win; what the prompt began with is not counted.

    Args:
        instruments: of the task's authors.
        case: what was asked.
        answers: by arm.
        strangers: by arm, the texts of somebody else that it was shown: copies of those count too.
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
    for arm, own in scores.items():
        for rival, name in _RIVALS.items():
            if rival in scores and rival != arm:
                own[name] = win(own["author_logprob"], scores[rival]["author_logprob"])
    return scores | {OWN_TEXT: instruments.measure(_unasked(case.reference, case.prompt), case.user)}


def _unasked(answer: str, prompt: str) -> str:
    """An answer without what the prompt itself gave it to begin with: those words are the author's in every arm."""
    given, words = prompt.split(), answer.split()
    longest = 0
    for start in range(len(given)):
        run = 0
        while run < len(words) and start + run < len(given) and words[run] == given[start + run]:
            run += 1
        if start + run == len(given):
            longest = max(longest, run)
    # A word or two in common is chance.
    if longest < _ECHOED_WORDS:
        return answer
    rest = answer
    for word in words[:longest]:
        rest = rest[rest.index(word) + len(word) :]
    return rest.strip() or answer
