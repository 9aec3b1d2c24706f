"""Reference statistics of measured style, and what they say of a person: shrunken estimates of each feature.

``build_reference`` computes the statistics from texts of many people; ``load_reference`` reads the shipped ones. A
feature of a person is estimated by the normal model of empirical Bayes: people differ by a between-person variance, one
person's texts by a within-person variance, and a person's mean is shrunken toward the reference mean.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import accumulate
from statistics import fmean, pvariance, variance
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field

from hyperalign.errors import InputError
from hyperalign.profile import Measurement
from hyperalign.records import Record, Sample

from .features import FEATURES, Features, measure
from .parsed import ENGLISH, languages_of, sentence_ends, words_of

__all__ = [
    "Estimate",
    "FeatureReference",
    "Reference",
    "Source",
    "build_reference",
    "cut_excerpt",
    "estimate",
    "keep_opening_features",
    "load_reference",
    "measure_style",
]

EXCERPT_WORDS = 150
QUANTILES = (5, 25, 50, 75, 95)

CONFIDENCE = 1.96
# How many texts the reference's within-person variance counts for beside the person's own.
PRIOR_TEXTS = 4
# Features that the beginning of a text does not show.
_OF_WHOLE_TEXTS = frozenset({"paragraph_words", "sign_off"})

Value = TypeVar("Value")

Genre = Mapping[str, Sequence[str]]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(_Frozen):
    """A collection that the reference was measured on.

    Attributes:
        name: the collection.
        genre: the kind of writing.
        people: the number of writers.
        texts: the number of excerpts.
        split: which of its writers are in the dev split, which was measured, and which in the test split.
    """

    name: str
    genre: str
    people: int
    texts: int
    split: str


class FeatureReference(_Frozen):
    """Statistics of one feature.

    Attributes:
        mean: the mean over people, each genre with equal weight.
        between_sd: the standard deviation between people's true means, without sampling noise.
        within_sd: the standard deviation of one person's texts of about 150 words.
        quantiles: quantiles of people's means, by percentage.
        people: the number of people who show the feature.
        texts: the number of texts that show it.
    """

    mean: float
    between_sd: float = Field(ge=0)
    within_sd: float = Field(ge=0)
    quantiles: dict[int, float]
    people: int
    texts: int


class Reference(_Frozen):
    """Statistics of a population of writers.

    Attributes:
        schema_version: the version of this format.
        language: of the measured texts, an ISO 639 code; nothing is said of texts in another one.
        excerpt_words: the length of the measured texts.
        sources: the collections that were measured.
        features: statistics by feature; a feature that nobody showed has none.
    """

    schema_version: int = 1
    language: str = ENGLISH
    excerpt_words: int = EXCERPT_WORDS
    sources: tuple[Source, ...] = ()
    features: dict[str, FeatureReference]

    def spread(self, name: str) -> tuple[float, float]:
        """Standard deviations between people and within a person, at least the feature's grain.

        Without that floor, the first person who uses a mark that nobody in the reference uses would be infinitely far.
        """
        row, grain = self.features[name], FEATURES[name].grain
        return max(row.between_sd, grain), max(row.within_sd, grain)


@cache
def load_reference() -> Reference:
    """The shipped reference."""
    return Reference.model_validate_json(files("hyperalign.style").joinpath("reference.json").read_bytes())


def cut_excerpt(text: str, words: int = EXCERPT_WORDS) -> str:
    """The beginning of a text up to the sentence end that is nearest to a length.

    Args:
        text: any text.
        words: the length in words; a shorter text is returned whole.
    """
    text = text.strip()
    if len(words_of(text)) <= words:
        return text
    best, best_miss, start, count = text, len(words_of(text)) - words, 0, 0
    for end in sentence_ends(text):
        count, start = count + len(words_of(text[start:end])), end
        if abs(count - words) < best_miss:
            best, best_miss = text[:end], abs(count - words)
    return best


def _feature_reference(name: str, genres: Sequence[Mapping[str, Sequence[Features]]]) -> FeatureReference | None:
    """Statistics of one feature from measured texts, by genre and person.

    The variance between people is that of people within a genre, without the noise of their few texts, plus that of the
    genres' means. The few genres are treated as a sample of kinds of writing.
    """
    means: list[float] = []
    weights: list[float] = []
    genre_means, true_variances, within = [], [], []
    texts = 0
    for people in genres:
        known = [[value for row in rows if (value := row[name]) is not None] for rows in people.values()]
        known = [values for values in known if values]
        if not known:
            continue
        spare = sum(len(values) - 1 for values in known)
        noise = sum(pvariance(values) * len(values) for values in known) / spare if spare else 0.0
        own = [fmean(values) for values in known]
        if len(own) > 1:
            true_variances.append(max(0.0, variance(own) - noise * fmean(1 / len(values) for values in known)))
        within.append(noise)
        genre_means.append(fmean(own))
        means.extend(own)
        weights.extend([1 / len(own)] * len(own))
        texts += sum(map(len, known))
    if len(means) < 2:
        return None
    mean = fmean(genre_means)
    between = fmean(true_variances or [0.0]) + (variance(genre_means) if len(genre_means) > 1 else 0.0)
    ranked = sorted(zip(means, weights, strict=True))
    reached = [share / sum(weights) for share in accumulate(weight for _, weight in ranked)]
    quantiles = {level: ranked[bisect_left(reached, level / 100 - 1e-9)][0] for level in QUANTILES}
    return FeatureReference(
        mean=round(mean, 5),
        between_sd=round(between**0.5, 5),
        within_sd=round(fmean(within) ** 0.5, 5),
        quantiles={level: round(value, 5) for level, value in quantiles.items()},
        people=len(means),
        texts=texts,
    )


def build_reference(
    genres: Mapping[str, Genre],
    *,
    sources: Sequence[Source] = (),
    omit: Mapping[str, Collection[str]] | None = None,
    language: str = ENGLISH,
) -> Reference:
    """Measure a population of writers.

    Texts are cut to about 150 words first, so that their lengths are comparable.

    Args:
        genres: each genre's people, and each person's texts. All genres count the same, whatever their size; use one
            genre if you know nothing of the kinds of writing.
        sources: a description of the collections, kept with the statistics.
        omit: features by genre that its files cannot show, such as paragraphs where line breaks were lost.
        language: of the texts, an ISO 639 code.

    Raises:
        InputError: fewer than two people have text.
    """
    omit = omit or {}
    rows: list[dict[str, list[Features]]] = []
    for genre, people in genres.items():
        unknown: Features = dict.fromkeys(omit.get(genre, ()))
        rows.append(
            {
                person: [measure(cut_excerpt(text)) | unknown for text in texts if text.strip()]
                for person, texts in people.items()
            }
        )
    if sum(bool(texts) for people in rows for texts in people.values()) < 2:
        raise InputError(
            "A reference needs the texts of at least two people.",
            remedy="Give more people, or leave the reference out to use the one that ships.",
        )
    found = {name: _feature_reference(name, rows) for name in FEATURES}
    rows_of = {name: row for name, row in found.items() if row is not None}
    return Reference(language=language, sources=tuple(sources), features=rows_of)


@dataclass(frozen=True, slots=True)
class Estimate:
    """One feature of one person.

    Attributes:
        value: the mean over their texts, in the feature's unit.
        usual: the reference mean.
        z: the distance of the two in between-person standard deviations, shrunken for sampling noise.
        margin: half the width of the 95 % interval of the person's true mean.
        texts: how many texts show the feature.
    """

    value: float
    usual: float
    z: float
    margin: float
    texts: int


def estimate(texts: Sequence[str], reference: Reference | None = None) -> dict[str, Estimate]:
    """Estimate every feature that at least one text shows.

    Args:
        texts: the person's texts; empty ones and those in another language than the reference's are skipped, short ones
            count less.
        reference: the reference statistics; the shipped ones if None.
    """
    reference = reference or load_reference()
    filled = [
        text
        for text, language in zip(texts, languages_of(texts), strict=True)
        if language == reference.language and words_of(text)
    ]
    rows = [measure(text) for text in filled]
    sizes = [min(1.0, len(words_of(text)) / reference.excerpt_words) for text in filled]
    found: dict[str, Estimate] = {}
    for name in FEATURES.keys() & reference.features.keys():
        known = [(value, size) for row, size in zip(rows, sizes, strict=True) if (value := row[name]) is not None]
        if known:
            found[name] = _estimate_feature(name, known, reference)
    return {name: found[name] for name in FEATURES if name in found}


def _estimate_feature(name: str, known: Sequence[tuple[float, float]], reference: Reference) -> Estimate:
    """Estimate a feature from its values, weighted by each text's share of a full excerpt: short texts are noisier."""
    usual = reference.features[name].mean
    between, within = reference.spread(name)
    values, weights = [value for value, _ in known], [size for _, size in known]
    count = sum(weights)
    value = fmean(values, weights)
    own = fmean([(each - value) ** 2 for each in values], weights) * count
    variance = (PRIOR_TEXTS * within**2 + own) / (PRIOR_TEXTS + max(0.0, count - 1))
    trust = between**2 / (between**2 + variance / count)
    return Estimate(
        value=value,
        usual=usual,
        z=trust * (value - usual) / between,
        margin=CONFIDENCE * (variance / count) ** 0.5,
        texts=len(values),
    )


def keep_opening_features(style: Mapping[str, Value]) -> dict[str, Value]:
    """Keep the features that the beginning of a text shows: all but its ending and its paragraphs."""
    return {name: value for name, value in style.items() if name not in _OF_WHOLE_TEXTS}


def measure_style(records: Sequence[Record]) -> dict[str, Measurement]:
    """Measure the style of a person's samples. Texts they chose or corrected were written by others, too, and are
    left out."""
    written = [record.text for record in records if isinstance(record, Sample)]
    return {
        name: Measurement(
            value=round(found.value, 4),
            reference=round(found.usual, 4),
            z=round(found.z, 3),
        )
        for name, found in estimate(written).items()
    }
