"""What people decide about their own profile: a leaning set or flipped, a hypothesis or a record forgotten.

Pure functions from one profile to another; nothing is asked of a model. What somebody set is marked as stated, what
they took out is silenced, and both are carried over when they are fitted again. This file knows no store.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from hyperalign.space import Space, known_poles, load_space
from hyperalign.style.estimate import measure_style

from .errors import InputError, NotFoundError
from .profile import BY_HAND, SPACE_ID, Aspect, Evidence, Hypothesis, Profile, TestResult
from .records import Record, Sample, other_text, quotable_text
from .text import longest_copied_run

__all__ = ["carry_over", "flip", "forget_hypothesis", "forget_record", "set_leaning", "silence"]

_STATED, _EDITED = BY_HAND
_TOLD = 5
"""Words in a row: a statement that repeats so many of a record's tells of it."""


def set_leaning(profile: Profile, name: str, probability: float, space: Space | None = None) -> Profile:
    """A profile in which a dimension leans as its person says.

    Args:
        profile: theirs.
        name: of the dimension.
        probability: of its high pole; 0.5 takes the dimension out, and no later fit brings it back.
        space: has the words of the poles; the shipped one if None.

    Raises:
        InputError: there is no such dimension, or the number is no probability.
    """
    if not 0 <= probability <= 1:
        raise InputError(f"{name}={probability:g} is no probability.", remedy="Give a number from 0 to 1.")
    space = space or load_space()
    poles = known_poles(profile, space)
    if name not in poles:
        close = get_close_matches(name, poles, n=3)
        hint = f"Did you mean {' or '.join(close)}?" if close else "See docs/space.md for all of them."
        raise InputError(f"There is no dimension {name!r}.", remedy=hint)
    key = f"{SPACE_ID}{name}"
    if probability == 0.5:
        return silence(profile, [key]).touched()
    others = [each for each in profile.hypotheses if each.id != key]
    dropped = [each for each in profile.dropped if each.id != key]
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
            "hypotheses": [said, *others],
            "dropped": dropped,
            "silenced": [each for each in profile.silenced if each != key],
            "direction": {**profile.direction, name: probability},
        }
    ).touched()


def flip(profile: Profile, name: str, space: Space | None = None) -> Profile:
    """A profile in which a dimension, or a kept hypothesis, says the opposite.

    Args:
        profile: somebody's.
        name: of a dimension that leans, or the id of a kept hypothesis that has an opposite.
        space: has the words of the poles; the shipped one if None.

    Raises:
        NotFoundError: the profile says nothing of it.
        InputError: it has no opposite.
    """
    if name in profile.direction:
        return set_leaning(profile, name, round(1 - profile.direction[name], 6), space)
    key = name if any(each.id == name for each in profile.hypotheses) else f"{SPACE_ID}{name}"
    found = next((each for each in profile.hypotheses if each.id == key), None)
    if found is None:
        raise _nothing_of(profile, name)
    if not found.opposite:
        raise InputError(f"{found.statement!r} has no opposite.", remedy="Forget it instead: hyperalign profile forget")
    turned = found.model_copy(
        update={
            "statement": found.opposite,
            "opposite": found.statement,
            "source": _STATED,
            "test": None,
            "evidence": [_other_side(item) for item in found.evidence],
        }
    )
    kept = [turned if each.id == key else each for each in profile.hypotheses]
    return profile.model_copy(update={"hypotheses": kept}).touched()


def silence(profile: Profile, ids: Sequence[str]) -> Profile:
    """A profile that says nothing of some hypotheses, and keeps saying nothing of them when the person is fitted again.

    Args:
        profile: somebody's.
        ids: of the hypotheses; those of the space also as a direction.
    """
    return profile.model_copy(update={"silenced": list(dict.fromkeys([*profile.silenced, *ids]))}).without_silenced()


def forget_hypothesis(profile: Profile, name: str) -> Profile | None:
    """A profile without a hypothesis, kept or dropped, for good; None if there is none of that id.

    Args:
        profile: somebody's.
        name: the hypothesis' id, or its dimension's name.
    """
    there = {each.id for each in [*profile.hypotheses, *profile.dropped]} | {
        SPACE_ID + key for key in profile.direction
    }
    ids = [each for each in (name, f"{SPACE_ID}{name}") if each in there]
    return silence(profile, ids) if ids else None


def forget_record(profile: Profile, record: Record, remaining: Sequence[Record]) -> Profile | None:
    """A profile without a record and all that rests on it alone; None if it never rested on it.

    Quotes and examples from the record go, and hypotheses that nothing else bears out, or that repeat words of it.
    Measured style is measured anew on what remains of the records that the profile was made from. Probabilities that
    rest on several records stay until the person is fitted again.

    Args:
        profile: somebody's.
        record: of theirs.
        remaining: their other records.
    """
    if not _rests(profile, record):
        return None
    counted = set(profile.provenance.records)
    made_from = counted - {record.id}
    written = [each for each in remaining if each.id in made_from]
    return profile.model_copy(
        update={
            "hypotheses": _without(profile.hypotheses, record),
            "dropped": _without(profile.dropped, record),
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
    """A newly fitted profile with what its person had set by hand in the old one, and without what they took out.

    Args:
        old: the newest version before.
        new: what was fitted.
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


def _without(hypotheses: Sequence[Hypothesis], record: Record) -> list[Hypothesis]:
    text = quotable_text(record)
    left = []
    for each in hypotheses:
        evidence = [item for item in each.evidence if item.record != record.id]
        test = _untested_on(each.test, record.id)
        alone = (each.evidence or each.test) and not evidence and test is None
        # An example is its record, whatever bore it out.
        alone = alone or (each.kind == "example" and len(evidence) < len(each.evidence))
        repeats = max(longest_copied_run(said, [text]) for said in (each.statement, each.opposite)) >= _TOLD
        if not alone and not (repeats and each.source != "space"):
            left.append(each.model_copy(update={"evidence": evidence, "test": test}))
    return left


def _untested_on(test: TestResult | None, record: str) -> TestResult | None:
    if test is None:
        return None
    records = [name for name in test.records if name != record]
    return test.model_copy(update={"records": records}) if records or not test.records else None


def _rests(profile: Profile, record: Record) -> bool:
    named = {*profile.provenance.records, *(each.id for each in profile.examples)}
    named |= {item.record for each in [*profile.hypotheses, *profile.dropped] for item in each.evidence}
    return record.id in named


def _other_side(item: Evidence) -> Evidence:
    return item.model_copy(update={"supports": not item.supports, "checked": None})


def _nothing_of(profile: Profile, name: str) -> NotFoundError:
    there = [*profile.direction, *(each.id for each in profile.hypotheses)]
    close = get_close_matches(name, there, n=3)
    hint = f"Did you mean {' or '.join(close)}?" if close else f"See: hyperalign profile show {profile.user}"
    return NotFoundError(f"The profile of {profile.user} says nothing of {name!r}.", remedy=hint)
