"""Choice cases under every strategy and control: which of two answers a profile makes likelier.

For each arm the two answers are scored as the model's next turn, after what the strategy puts
before it. This file is handed its strategies, profiles and scorer; it knows no runtime.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from hyperalign.profile import Profile
from hyperalign.programs.strategies import Strategy, strategy
from hyperalign.scores import Message, Scorer

from .cases import Case
from .controls import inverted
from .metrics.likelihood_gain import Margin, accuracy, margin, own_over_other
from .metrics.votes import VOTES, vote

__all__ = ["GOLD", "INVERTED", "WRONG_USER", "Choosing"]

GOLD, WRONG_USER, INVERTED = "gold", "wrong-user", "inverted"
PROFILE_WORDS = 400


class Choosing:
    """Work for ``run_cases``: scores one choice case under all arms.

    Called with a case, it returns ``margins`` (nats, by arm) and ``scores`` (by arm and metric). ``none`` has a margin
    and no score: gains are counted from it.

    Args:
        strategies: by name, without the controls.
        profile_of: the profile made from a case's records; called once an arm, so it should remember.
        scorer: gives log-probabilities of text.
        strangers: for each case, somebody else's; without them there is no own over other and no wrong user.
        controls: arms to add beside the strategies, by name.
        votes: whether feature votes are counted.
        budget: words that a strategy may spend on a profile, the same for own, wrong and inverted.
    """

    def __init__(
        self,
        strategies: Mapping[str, Strategy],
        profile_of: Callable[[Case], Profile],
        scorer: Scorer,
        *,
        strangers: Mapping[str, Case] | None = None,
        controls: Sequence[str] = (WRONG_USER, INVERTED),
        votes: bool = True,
        budget: int = PROFILE_WORDS,
    ) -> None:
        self._strategies = {name: each for name, each in strategies.items() if name != "none"}
        self._profile_of = profile_of
        self._scorer = scorer
        self._strangers = strangers or {}
        self._controls = controls
        self._votes = votes
        self._budget = budget

    def __call__(self, case: Case) -> dict[str, Any]:
        """Score one case; see the class."""
        bare = self._margin([{"role": "user", "content": case.prompt}], case)
        margins: dict[str, Margin] = {"none": bare}
        scores: dict[str, dict[str, float]] = {}
        stranger = self._strangers.get(case.id)
        for name, each in self._strategies.items():
            margins[name] = own = self._under(each, self._profile_of(case), case)
            scores[name] = _gains(own - bare)
            if stranger is not None:
                other = self._under(each, self._profile_of(stranger), case)
                margins[f"{name} {WRONG_USER}"] = other
                scores[name]["own_over_other"] = own_over_other(own.mean, other.mean)
        scores |= self._controlled(case, stranger, bare, margins)
        if self._votes:
            for name in VOTES:
                scores[f"vote-{name}"] = {"accuracy": vote(name, case.records, case.chosen, case.rejected)}
        return {"margins": {arm: asdict(value) for arm, value in margins.items()}, "scores": scores}

    def _controlled(
        self, case: Case, stranger: Case | None, bare: Margin, margins: dict[str, Margin]
    ) -> dict[str, dict[str, float]]:
        verified = strategy("verified")
        profiles: dict[str, Profile] = {}
        if case.gold:
            profiles[GOLD] = Profile(user=case.user, stated=[case.gold])
        if WRONG_USER in self._controls and stranger is not None:
            profiles[WRONG_USER] = self._profile_of(stranger)
        if INVERTED in self._controls:
            profiles[INVERTED] = inverted(self._profile_of(case))
        found: dict[str, dict[str, float]] = {}
        for arm, profile in profiles.items():
            margins[arm] = self._under(verified, profile, case)
            found[arm] = _gains(margins[arm] - bare)
        if GOLD in found and stranger is not None and stranger.gold:
            other = self._under(verified, Profile(user=stranger.user, stated=[stranger.gold]), case)
            found[GOLD]["own_over_other"] = own_over_other(margins[GOLD].mean, other.mean)
        return found

    def _under(self, each: Strategy, profile: Profile, case: Case) -> Margin:
        return self._margin(each.condition(profile, case.prompt, self._budget), case)

    def _margin(self, messages: Sequence[Message], case: Case) -> Margin:
        # A system turn without content is a strategy's way to ask for the instructions of ``generate``; here are none.
        sent = [turn for turn in messages if turn["content"]]
        chosen, rejected = self._scorer.score(sent, [case.chosen, case.rejected])
        return margin(chosen, rejected)


def _gains(gain: Margin) -> dict[str, float]:
    return {"accuracy": accuracy(gain.mean), "accuracy_sum": accuracy(gain.total)}
