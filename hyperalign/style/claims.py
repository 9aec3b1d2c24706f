"""Claims about a writer: features whose mean differs from the reference, or that all of their edits shift one way.

A claim can be checked on further texts, and has an opposite.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files
from statistics import fmean
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from .features import FEATURES, MARKS, Aspect, FeatureKind, Features, measure
from .parsed import ENGLISH, languages_of, tell_language, words_of
from .reference import Estimate, Reference, estimate, load_reference

__all__ = [
    "STANDS_APART",
    "Moved",
    "StyleClaim",
    "distance",
    "find_claims",
    "find_differences",
    "find_moved",
    "find_shifts",
    "keep_strongest",
    "load_statements",
    "say",
]

MAX_DEVIATIONS = 3.0
STANDS_APART = 0.8
MIN_EDITS = 2
LEAST_SHIFT = 0.5
_TOLD_DIFFERENCES = 4
_MOST = "most people"
_DRAFTS = "the drafts"


class StyleClaim(BaseModel):
    """One way in which a person's writing differs from most people's.

    Attributes:
        feature: the name of the feature.
        aspect: ``style`` or ``communication``.
        direction: +1 if the person has more of it than most people, -1 if less.
        value: the person's mean.
        usual: the reference mean; for a claim of ``find_shifts`` the mean of the drafts.
        z: the distance of the two in between-person standard deviations, shrunken for sampling noise.
        interval: 95 % interval of the person's true mean (low, high).
        scale: the within-person standard deviation of one text.
        texts: how many of the person's texts show the feature.
        language: of the texts that it is about, an ISO 639 code.
        statement: the claim, as guidance for a writer.
        opposite: the claim about somebody as far on the other side.
    """

    model_config = ConfigDict(frozen=True)

    feature: str
    aspect: Aspect
    direction: Literal[-1, 1]
    value: float
    usual: float
    z: float
    interval: tuple[float, float]
    scale: float
    texts: int
    language: str = ENGLISH
    statement: str
    opposite: str

    def is_about(self, text: str) -> bool:
        """Whether a text is in the language of the claim, as far as one can tell."""
        return tell_language(text) in (None, self.language)

    def holds(self, text: str | Features) -> float:
        """How far a text supports the claim.

        Args:
            text: a text that the claim was not made from, or its features.

        Returns:
            The distance from the usual mean towards the claim, in within-person standard deviations clipped to -3..3;
            0.0 if the text does not show the feature, or is in another language.
        """
        if isinstance(text, str) and not self.is_about(text):
            return 0.0
        value = (measure(text) if isinstance(text, str) else text).get(self.feature)
        if value is None:
            return 0.0
        deviations = self.direction * (value - self.usual) / self.scale
        return max(-MAX_DEVIATIONS, min(MAX_DEVIATIONS, deviations))


def _opposite_value(name: str, value: float, reference: Reference) -> float:
    """The value as far from the usual on the other side, but not beyond the 5 % and 95 % quantiles of people."""
    row = reference.features[name]
    mirrored = 2 * row.mean - value
    low, high = row.quantiles[5], row.quantiles[95]
    return max(mirrored, low) if mirrored < row.mean else min(mirrored, max(high, row.mean))


def _claim(name: str, found: Estimate, reference: Reference) -> StyleClaim | None:
    """The claim of one feature, or None if the difference may be noise."""
    if abs(found.value - found.usual) <= found.margin:
        return None
    feature = FEATURES[name]
    direction: Literal[-1, 1] = 1 if found.value > found.usual else -1
    low = found.value - found.margin if feature.kind == "score" else max(0.0, found.value - found.margin)
    top = found.value + found.margin
    return StyleClaim(
        feature=name,
        aspect=feature.aspect,
        direction=direction,
        value=found.value,
        usual=found.usual,
        z=found.z,
        interval=(low, min(1.0, top) if feature.kind in ("share", "flag") else top),
        scale=reference.spread(name)[1],
        texts=found.texts,
        language=reference.language,
        statement=say(name, direction, found.value, found.usual),
        opposite=say(name, -direction, _opposite_value(name, found.value, reference), found.usual),
    )


def find_claims(
    texts: Sequence[str],
    reference: Reference | None = None,
    *,
    threshold: float = STANDS_APART,
    limit: int | None = None,
) -> list[StyleClaim]:
    """Find the features in which a person's writing differs from most people's.

    Args:
        texts: the person's texts; empty ones are skipped.
        reference: the reference statistics; the shipped ones if None.
        threshold: the smallest difference, in between-person standard deviations after shrinking.
        limit: the most claims to return.

    Returns:
        Claims, the strongest first, at most one per family of features; none of texts in another language than the
        reference's.
    """
    reference = reference or load_reference()
    known = {name: _claim(name, found, reference) for name, found in estimate(texts, reference).items()}
    return keep_strongest((claim for claim in known.values() if claim is not None and abs(claim.z) >= threshold), limit)


def keep_strongest(found: Iterable[StyleClaim], limit: int | None = None) -> list[StyleClaim]:
    """Sort claims by distance, and keep at most ``limit`` and at most one per family of features."""
    best: dict[str, StyleClaim] = {}
    for claim in sorted(found, key=lambda claim: (-abs(claim.z), claim.feature)):
        best.setdefault(FEATURES[claim.feature].family, claim)
    return list(best.values())[:limit]


def distance(
    text_features: Features,
    person_features: Features,
    *,
    names: Sequence[str] | None = None,
    reference: Reference | None = None,
) -> float:
    """How far a text is from a person's style, such as to choose among drafts.

    Args:
        text_features: ``measure`` of the text.
        person_features: ``measure_all`` of the person's own texts.
        names: the features to compare, such as those of the person's claims; all if None.
        reference: the reference statistics that scale each feature; the shipped ones if None.

    Returns:
        The mean absolute difference in within-person standard deviations, each clipped at 3; 0.0 if nothing can be
        compared.
    """
    reference = reference or load_reference()
    gaps = []
    for name in reference.features if names is None else names:
        if name not in reference.features:
            continue
        here, there = text_features.get(name), person_features.get(name)
        if here is not None and there is not None:
            gaps.append(min(MAX_DEVIATIONS, abs(here - there) / reference.spread(name)[1]))
    return fmean(gaps) if gaps else 0.0


def find_shifts(
    edits: Sequence[tuple[str, str]],
    reference: Reference | None = None,
    *,
    least: float = LEAST_SHIFT,
    limit: int | None = None,
) -> list[StyleClaim]:
    """Find the features that a person's edits shift in one direction.

    The draft is the reference: it is about the same subject, so that what differs is what the person changed. How far a
    feature must shift is measured in English; in another language, marks alone are compared.

    Args:
        edits: drafts, each with the edited text; those with an empty side are skipped.
        reference: the reference statistics that scale each feature; the shipped ones if None.
        least: the smallest mean shift, in within-person standard deviations.
        limit: the most claims to return.

    Returns:
        A claim for each feature that every one of at least two edits shifts in the same direction; the strongest first,
        at most one per family of features. ``usual`` is the mean of the drafts, ``z`` the mean shift in within-person
        standard deviations, and ``interval`` reaches from the smallest shift to the largest.
    """
    reference = reference or load_reference()
    filled = [edit for edit in edits if all(map(words_of, edit))]
    told = languages_of([edited for _, edited in filled])
    language = max(told, key=told.count, default=reference.language)
    measured = [
        (measure(draft), measure(edited)) for (draft, edited), own in zip(filled, told, strict=True) if own == language
    ]
    comparable = FEATURES.keys() if language == reference.language else MARKS
    found = []
    for name in comparable & reference.features.keys():
        known = [
            (before, after)
            for draft, edited in measured
            if (before := draft[name]) is not None and (after := edited[name]) is not None
        ]
        claim = _shift_claim(name, known, reference, language)
        if claim is not None and abs(claim.z) >= least:
            found.append(claim)
    return keep_strongest(found, limit)


def _shift_claim(
    name: str, known: Sequence[tuple[float, float]], reference: Reference, language: str
) -> StyleClaim | None:
    """The claim of one feature, or None if the edits do not all shift it in one direction."""
    if len(known) < MIN_EDITS:
        return None
    if all(after > before for before, after in known):
        direction: Literal[-1, 1] = 1
    elif all(after < before for before, after in known):
        direction = -1
    else:
        return None
    feature, (_, within) = FEATURES[name], reference.spread(name)
    usual, value = (fmean(side) for side in zip(*known, strict=True))
    moved = [after - before for before, after in known]
    return StyleClaim(
        feature=name,
        aspect=feature.aspect,
        direction=direction,
        value=value,
        usual=usual,
        z=fmean(moved) / within,
        interval=(usual + min(moved), usual + max(moved)),
        scale=within,
        texts=len(known),
        language=language,
        statement=say(name, direction, value, usual, than=_DRAFTS),
        # Nobody was measured who shifts it the other way, so the opposite has no figures.
        opposite=say(name, -direction, usual, usual, than=_DRAFTS),
    )


@cache
def load_statements() -> dict[str, dict[str, str]]:
    """For each feature the sentences for more of it (``high``) and for less (``low``)."""
    found: dict[str, dict[str, str]] = json.loads(
        files("hyperalign.style").joinpath("statements.json").read_text(encoding="utf-8")
    )
    return found


def _word_rate(value: float) -> str:
    """A rate per 100 words in words."""
    if value < 0.04:
        return "almost none"
    if value >= 0.95:
        return f"{value:.1f}".removesuffix(".0") + " in 100 words" if value < 2.95 else f"{value:.0f} in 100 words"
    every = 100 / value
    step = 10 if every < 400 else 100
    return f"one in {step * round(every / step)} words"


def _word_figure(value: float, kind: FeatureKind, name: str) -> str:
    if kind in ("share", "flag"):
        return f"{100 * value:.0f} %"
    if kind == "rate":
        return _word_rate(value)
    return f"{value:.1f}" if name == "word_letters" else f"{value:.0f}"


def say(name: str, direction: int, value: float, usual: float, *, than: str = _MOST) -> str:
    """Word a difference as one sentence.

    Args:
        name: the feature.
        direction: +1 if the writer has more than most people, -1 if less.
        value: the writer's figure, in the feature's unit.
        usual: the figure of those whom ``than`` names.
        than: whom the writer is compared with, in the plural.
    """
    kind = FEATURES[name].kind
    template = load_statements()[name]["high" if direction > 0 else "low"]
    if than != _MOST:
        template = template.replace(f"{_MOST}'s", f"{than}'").replace(_MOST, than)
    here, there = _word_figure(value, kind, name), _word_figure(usual, kind, name)
    if here == there:
        # Equal figures would contradict the sentence.
        return template.partition(":")[0] + "."
    about = "about " if kind in ("count", "score") else ""
    return template.format(value=about + here, usual=there)


class Moved(NamedTuple):
    """A measured feature of style that steering moved.

    Attributes:
        feature: its name.
        bare: its value in the bare model's answer.
        answer: in the answer.
        person: in the person's texts.
    """

    feature: str
    bare: float
    answer: float
    person: float


def find_differences(person: Features, text: str) -> list[str]:
    """How a person writes where a text is furthest from it, in sentences with both figures.

    Args:
        person: their measured style, in the features in which they stand apart.
        text: a draft.

    Returns:
        At most four, the largest first.
    """
    found = measure(text)
    gaps = []
    for name, value in person.items():
        here = found.get(name)
        gap = 0.0 if here is None or value is None else distance({name: here}, {name: value}, names=[name])
        if value is not None and here is not None and gap >= 1:
            sentence = say(name, 1 if value > here else -1, value, here, than="what you wrote")
            gaps.append((gap, sentence))
    return [sentence for _, sentence in sorted(gaps, key=lambda each: -each[0])[:_TOLD_DIFFERENCES]]


def find_moved(person: Features, bare: str, answer: str) -> list[Moved]:
    """Features that an answer has nearer to a person than the bare model's has, the most moved first.

    Args:
        person: their measured style, in the features in which they stand apart.
        bare: the bare model's answer.
        answer: the other one.
    """
    before, after = measure(bare), measure(answer)
    found = []
    for name, value in person.items():
        was, here = before.get(name), after.get(name)
        if value is None or was is None or here is None:
            continue
        gain = (abs(was - value) - abs(here - value)) / load_reference().spread(name)[1]
        if gain > 0:
            found.append((gain, Moved(name, was, here, value)))
    return [moved for _, moved in sorted(found, key=lambda each: -each[0])]
