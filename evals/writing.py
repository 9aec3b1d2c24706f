"""Writing cases under every arm: each writes an answer, and instruments say whose it looks like.

An answer wins where the true author is likelier under the classifier that cannot see the topic. This file is handed
its arms and instruments, and writes with DSPy's configured model; it knows no runtime.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hyperalign.profile import Profile
from hyperalign.programs.generate import PROFILE_WORDS, Generate
from hyperalign.programs.own_scorer import ChosenScorer
from hyperalign.programs.strategies import strategy
from hyperalign.records import own_text

from .arms import NONE, WRONG_USER, Arm, Arms
from .cases import Case
from .metrics.authorship import FAMILIES, Authorship, Family
from .metrics.burrows_delta import BurrowsDelta
from .metrics.copied import longest_copied_run

__all__ = ["OWN_TEXT", "Instruments", "Writing", "scored"]

OWN_TEXT = "own-text"
"""The control that shows what an instrument says of what the person really wrote."""
_ECHOED_WORDS = 4
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


class Writing:
    """Work for ``run_cases``: writes and measures the answers to one case.

    Called with a case, it returns ``prompt``, ``reference``, ``answers`` and what was ``said`` of the person (by arm),
    and ``scores`` (by arm and metric).

    Args:
        arms: strategies and controls.
        instruments: of the task's authors.
        best_of: drafts to choose each answer from.
        scorer: judges drafts, where there are several.
    """

    def __init__(self, arms: Arms, instruments: Instruments, *, best_of: int = 1, scorer: ChosenScorer = None) -> None:
        self._arms = arms
        self._instruments = instruments
        self._best_of = best_of
        self._scorer = scorer

    def __call__(self, case: Case) -> dict[str, Any]:
        """Write and measure; see the class."""
        arms = self._arms.of(case)
        if NONE in self._arms.controls:
            arms = [Arm(NONE, strategy(NONE), Profile(user="nobody")), *arms]
        written: dict[str, str] = {}
        answers: dict[str, str] = {}
        for arm in arms:
            # Where no profile won, several arms ask the very same: one answer serves them, and they tie.
            sent = json.dumps(arm.strategy.condition(arm.profile, case.prompt, PROFILE_WORDS))
            if sent not in written or self._best_of > 1:
                written[sent] = self._write(arm, case)
            answers[arm.name] = written[sent]
        return {
            "prompt": case.prompt,
            "reference": case.reference,
            "answers": answers,
            "said": {arm.name: arm.strategy.condition(arm.profile, "…", PROFILE_WORDS) for arm in arms},
            "scores": scored(self._instruments, case, answers),
        }

    def _write(self, arm: Arm, case: Case) -> str:
        program = Generate(arm.strategy, best_of=self._best_of, scorer=self._scorer)
        return str(program(prompt=case.prompt, profile=arm.profile).answer)


def scored(instruments: Instruments, case: Case, answers: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """What the instruments say of each answer, and which answers win; what the prompt began with is not counted.

    Args:
        instruments: of the task's authors.
        case: what was asked.
        answers: by arm.
    """
    shown = [own_text(record) for record in case.records]
    scores: dict[str, dict[str, float]] = {}
    for arm, answer in answers.items():
        text = _unasked(answer, case.prompt)
        scores[arm] = {
            **instruments.measure(text, case.user),
            "copied_words": float(longest_copied_run(text, shown)),
            "words": float(len(text.split())),
        }
    for arm, own in scores.items():
        for rival, name in _RIVALS.items():
            if rival in scores and rival != arm:
                own[name] = _wins(own["author_logprob"], scores[rival]["author_logprob"])
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


def _wins(own: float, other: float) -> float:
    return 0.5 if own == other else float(own > other)
