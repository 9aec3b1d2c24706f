"""Edits that people make to their own profile: set or flip a dimension, forget a hypothesis or a record.

Every function returns a new profile. What a person sets is marked as stated, what they take out is silenced, and
``carry_over`` keeps both when the person is fitted again.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from hyperalign.space import Space, known_poles, load_space
from hyperalign.style.reference import measure_style

from .errors import InputError, NotFoundError
from .profile import BY_HAND, SPACE_ID, Aspect, Hypothesis, Profile, TestResult
from .records import Record, Sample, other_text, quotable_text
from .text import longest_copied_run

__all__ = ["carry_over", "flip", "forget_hypothesis", "forget_record", "set_leaning", "silence"]

_STATED, _EDITED = BY_HAND
_REPEATED_WORDS = 5
"""A statement that repeats so many words of a record in a row gives the record away."""


def set_leaning(profile: Profile, name: str, probability: float, space: Space | None = None) -> Profile:
    """Set a dimension of the preference space as the person says.

    Args:
        profile: the person's profile.
        name: the dimension's name.
        probability: the probability of its high pole, from 0 to 1; 0.5 removes the dimension for good.
        space: the space that has the dimension; the shipped one if None.

    Raises:
        InputError: there is no such dimension, or the number is not a probability.
    """
    if not 0 <= probability <= 1:
        raise InputError(f"{name}={probability:g} is no probability.", remedy="Give a number from 0 to 1.")
    space = space or load_space()
    poles = known_poles(profile, space)
    if name not in poles:
        close = get_close_matches(name, poles, n=3)
        hint = (
            f"Did you mean {' or '.join(close)}?"
            if close
            else "See https://hyperalign.github.io/hyperalign/space/ for all of them."
        )
        raise InputError(f"There is no dimension {name!r}.", remedy=hint)
    key = f"{SPACE_ID}{name}"
    if probability == 0.5:
        return silence(profile, [key]).touched()
    high, low = poles[name].high, poles[name].low
    aspects: dict[str, Aspect] = {each.name: each.aspect for each in space.dimensions}
    said = Hypothesis(
        id=key,
        statement=high if probability > 0.5 else low,
        opposite=low if probability > 0.5 else high,
        aspect=aspects.get(name, "preference"),
        source=_STATED,
        weight=round(abs(2 * probability - 1), 4),
    )
    return profile.model_copy(
        update={
            "hypotheses": [said, *(each for each in profile.hypotheses if each.id != key)],
            "dropped": [each for each in profile.dropped if each.id != key],
            "silenced": [each for each in profile.silenced if each != key],
            "direction": {**profile.direction, name: probability},
        }
    ).touched()


def flip(profile: Profile, name: str, space: Space | None = None) -> Profile:
    """Turn a dimension, or a kept hypothesis, into its opposite.

    Args:
        profile: the person's profile.
        name: the dimension's name, or the hypothesis' id.
        space: the space that has the dimension; the shipped one if None.

    Raises:
        NotFoundError: the profile has no such dimension or hypothesis.
        InputError: the hypothesis has no opposite.
    """
    if name in profile.direction:
        return set_leaning(profile, name, round(1 - profile.direction[name], 6), space)
    key = name if any(each.id == name for each in profile.hypotheses) else f"{SPACE_ID}{name}"
    found = next((each for each in profile.hypotheses if each.id == key), None)
    if found is None:
        there = [*profile.direction, *(each.id for each in profile.hypotheses)]
        close = get_close_matches(name, there, n=3)
        hint = f"Did you mean {' or '.join(close)}?" if close else f"See: hyperalign profile show {profile.user}"
        raise NotFoundError(f"The profile of {profile.user} says nothing of {name!r}.", remedy=hint)
    if not found.opposite:
        raise InputError(f"{found.statement!r} has no opposite.", remedy="Forget it instead: hyperalign profile forget")
    turned = found.model_copy(
        update={
            "statement": found.opposite,
            "opposite": found.statement,
            "source": _STATED,
            "test": None,
            "evidence": [
                item.model_copy(update={"supports": not item.supports, "checked": None}) for item in found.evidence
            ],
        }
    )
    kept = [turned if each.id == key else each for each in profile.hypotheses]
    return profile.model_copy(update={"hypotheses": kept}).touched()


def silence(profile: Profile, ids: Sequence[str]) -> Profile:
    """Take hypotheses out of a profile, so that no later fit brings them back.

    Args:
        profile: the person's profile.
        ids: ids of hypotheses; one that is a dimension leaves the direction, too.
    """
    return profile.model_copy(update={"silenced": list(dict.fromkeys([*profile.silenced, *ids]))}).without_silenced()


def forget_hypothesis(profile: Profile, name: str) -> Profile | None:
    """Take a kept or dropped hypothesis out of a profile for good.

    Args:
        profile: the person's profile.
        name: the hypothesis' id, or its dimension's name.

    Returns:
        The profile without it, or None if there is no such hypothesis.
    """
    there = {each.id for each in [*profile.hypotheses, *profile.dropped]} | {
        SPACE_ID + key for key in profile.direction
    }
    ids = [each for each in (name, f"{SPACE_ID}{name}") if each in there]
    return silence(profile, ids) if ids else None


def forget_record(profile: Profile, record: Record, remaining: Sequence[Record]) -> Profile | None:
    """Take a record, and all that rests on it alone, out of a profile.

    Quotes and examples from the record are removed, and so are hypotheses that no other record supports or that repeat
    words of it. Style is measured again on the remaining records that the profile was made from. Probabilities that
    rest on several records stay as they are until the person is fitted again.

    Args:
        profile: the person's profile.
        record: the record to forget.
        remaining: the person's other records.

    Returns:
        The profile without it, or None if the profile does not rest on the record.
    """
    if not _rests_on(profile, record):
        return None
    counted = set(profile.provenance.records)
    made_from = counted - {record.id}
    written = [each for each in remaining if each.id in made_from]
    return profile.model_copy(
        update={
            "hypotheses": _drop_support(profile.hypotheses, record),
            "dropped": _drop_support(profile.dropped, record),
            "examples": [each for each in profile.examples if each.id != record.id],
            "style": measure_style(written) if isinstance(record, Sample) else profile.style,
            "provenance": profile.provenance.model_copy(
                update={
                    "records": [name for name in profile.provenance.records if name != record.id],
                    "choices": profile.provenance.choices - (record.id in counted and other_text(record) is not None),
                }
            ),
        }
    )


def carry_over(old: Profile, new: Profile) -> Profile:
    """Apply what a person set and took out in their old profile to a newly fitted one.

    Args:
        old: the newest version before the fit.
        new: the fitted profile.
    """
    stated = [each for each in old.hypotheses if each.source in BY_HAND]
    ids = {each.id for each in stated}
    names = {each.id.removeprefix(SPACE_ID) for each in stated}
    return new.model_copy(
        update={
            "hypotheses": [*stated, *(each for each in new.hypotheses if each.id not in ids)],
            "dropped": [each for each in new.dropped if each.id not in ids],
            "direction": {**new.direction, **{n: p for n, p in old.direction.items() if n in names}},
            "silenced": [each for each in old.silenced if each not in ids],
        }
    ).without_silenced()


def _drop_support(hypotheses: Sequence[Hypothesis], record: Record) -> list[Hypothesis]:
    text = quotable_text(record)
    kept = []
    for each in hypotheses:
        evidence = [item for item in each.evidence if item.record != record.id]
        test = _drop_tested(each.test, record.id)
        is_unsupported = (each.evidence or each.test) and not evidence and test is None
        # An example is its record, whatever supports it.
        is_gone = is_unsupported or (each.kind == "example" and len(evidence) < len(each.evidence))
        repeated = max(longest_copied_run(said, [text]) for said in (each.statement, each.opposite))
        if not is_gone and (repeated < _REPEATED_WORDS or each.source == "space"):
            kept.append(each.model_copy(update={"evidence": evidence, "test": test}))
    return kept


def _drop_tested(test: TestResult | None, record: str) -> TestResult | None:
    if test is None:
        return None
    records = [name for name in test.records if name != record]
    return test.model_copy(update={"records": records}) if records or not test.records else None


def _rests_on(profile: Profile, record: Record) -> bool:
    named = {*profile.provenance.records, *(each.id for each in profile.examples)}
    named |= {item.record for each in [*profile.hypotheses, *profile.dropped] for item in each.evidence}
    return record.id in named
