"""Changes by hand to a profile and its reward, and records that the reward must forget.

All follow from the rows that the profile keeps: no text is read, and no model is needed.
"""

from __future__ import annotations

from collections.abc import Sequence

from hyperalign.edits import carry_over
from hyperalign.edits import flip as flip_statement
from hyperalign.edits import forget_record as forget_in_statements
from hyperalign.errors import InputError, NotFoundError
from hyperalign.profile import Hypothesis, LearnedReward, Profile
from hyperalign.records import Record

from .reward import Reward

__all__ = [
    "apply_edited_weights",
    "carry_changes",
    "flip",
    "forget_record",
    "has_feature",
    "keep_stated",
    "mark_edited",
    "set_weight",
]


def has_feature(profile: Profile, name: str) -> bool:
    """Whether the profile has a reward, with a feature of that name."""
    return profile.reward is not None and name in profile.reward.weights


def set_weight(profile: Profile, feature: str, weight: float) -> Profile:
    """Fix the weight of a feature.

    Args:
        profile: the person's.
        feature: its name.
        weight: in nats per standard deviation.

    Raises:
        NotFoundError: the profile has no reward.
        InputError: there is no such feature, or the reward's population is not known here.
    """
    return _with(profile, Reward.from_profile(_reward_of(profile)).set(feature, weight)).touched()


def flip(profile: Profile, name: str) -> Profile:
    """Turn a dimension, a kept hypothesis or a feature of the reward into its opposite.

    A measured hypothesis and the weight of its feature are turned together.

    Args:
        profile: the person's.
        name: the dimension's or the feature's name, or the hypothesis' id.

    Raises:
        NotFoundError: the profile has nothing of that name.
        InputError: the hypothesis has no opposite, or the reward's population is not known here.
    """
    feature = _feature_of(profile, name)
    about = [each.id for each in profile.hypotheses if feature and _feature_of(profile, each.id) == feature]
    for said in about if feature else [name]:
        profile = flip_statement(profile, said)
    if not feature:
        return profile
    return _with(profile, Reward.from_profile(_reward_of(profile)).flip(feature)).touched()


def forget_record(profile: Profile, record: Record, remaining: Sequence[Record]) -> Profile | None:
    """Take a record out of a profile: what ``hyperalign.edits.forget_record`` removes, and its row of the reward.

    The reward is then as if the record had never been given. One whose population is not known here can't be learned
    again, and is removed altogether.

    Args:
        profile: the person's.
        record: the record to forget.
        remaining: the person's other records.

    Returns:
        The profile without it, or None if the profile does not rest on the record.
    """
    left, kept = forget_in_statements(profile, record, remaining), profile.reward
    if kept is None or all(row.record != record.id for row in kept.rows):
        return left
    left = left or profile
    try:
        reward = Reward.from_profile(kept).forget([record.id])
    except InputError:
        return left.model_copy(update={"reward": None})
    return _with(left, reward) if reward.rows else left.model_copy(update={"reward": None})


def carry_changes(before: Profile, after: Profile) -> Profile:
    """Apply what a person changed by hand in the reward of an earlier profile to a newly fitted one.

    Args:
        before: the newest version before the fit.
        after: the fitted profile.
    """
    changes = before.reward.changes if before.reward is not None else []
    known = [change for change in changes if has_feature(after, change.feature)]
    if after.reward is None or not known:
        return after
    return _with(after, Reward.from_profile(after.reward.model_copy(update={"changes": known})))


def keep_stated(before: Profile | None, fitted: Profile, stated: Sequence[str] = ()) -> Profile:
    """A newly fitted profile with the person's statements and edits from the version before.

    Args:
        before: the newest version before the fit; None for a new person.
        fitted: the profile as it was fitted.
        stated: what the person says of themselves now.
    """
    told = [*(before.stated if before is not None else ()), *stated]
    kept = fitted if before is None else carry_changes(before, carry_over(before, fitted))
    return kept.model_copy(update={"stated": list(dict.fromkeys(told))})


def apply_edited_weights(before: Profile, after: Profile) -> Profile:
    """Take weights that were changed in a profile's text as set by hand, and let all others follow from the rows.

    Args:
        before: the profile.
        after: the same as a person edited it.

    Raises:
        InputError: there is no such feature, or the reward's population is not known here.
    """
    if after.reward is None or after.reward == before.reward:
        return after
    known = before.reward.weights if before.reward is not None else {}
    # The search for the weights starts from those that the rows gave, not from those that were typed in.
    reward = Reward.from_profile(after.reward.model_copy(update={"weights": known or after.reward.weights}))
    for feature, weight in after.reward.weights.items():
        if feature not in known or weight != known[feature]:
            reward = reward.set(feature, weight)
    return _with(after, reward)


def mark_edited(before: Profile, after: Profile) -> Profile:
    """``after``, with each hypothesis that a human changed marked as edited.

    A test result belongs to the statement that was tested. A changed statement loses it, and its quotes lose their
    check. It keeps its weight, which the human may have set.
    """
    known = {hypothesis.id: hypothesis for hypothesis in (*before.hypotheses, *before.dropped)}
    return after.model_copy(update={"hypotheses": [_mark(known.get(h.id), h) for h in after.hypotheses]})


def _mark(old: Hypothesis | None, new: Hypothesis) -> Hypothesis:
    if old is not None and (old.statement, old.scope) == (new.statement, new.scope):
        return new
    changed = new.model_copy(update={"source": "edited", "test": None})
    if old is not None and old.statement == new.statement:
        return changed
    return changed.model_copy(update={"evidence": [q.model_copy(update={"checked": None}) for q in new.evidence]})


def _feature_of(profile: Profile, name: str) -> str:
    """The feature of the reward that a name stands for, or that a measured hypothesis is about; empty if none."""
    if has_feature(profile, name):
        return name
    source = next((each.source for each in profile.hypotheses if each.id == name), "")
    # Measured hypotheses are called by where they were measured and their feature; an update may have turned one.
    feature = name.partition("-")[2].removesuffix("-turned")
    return feature if source in ("measured", "stated") and has_feature(profile, feature) else ""


def _reward_of(profile: Profile) -> LearnedReward:
    if profile.reward is None:
        raise NotFoundError(
            f"The profile of {profile.user} has no reward.", remedy=f"Learn one: hyperalign fit --user {profile.user}"
        )
    return profile.reward


def _with(profile: Profile, reward: Reward) -> Profile:
    # Texts and corrections were compared with those of other people, who are not at hand; choices are predicted anew.
    written = [part for part in (profile.reward.predicts.split("; ") if profile.reward else []) if "against" in part]
    kept = reward.to_profile()
    told = "; ".join(part for part in (kept.predicts, *written) if part)
    return profile.model_copy(update={"reward": kept.model_copy(update={"predicts": told})})
