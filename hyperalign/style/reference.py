"""Reference statistics of measured style: what is usual, and how much people and texts differ.

``build_reference`` computes them from texts of many people; ``load_reference`` reads the shipped ones.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from importlib.resources import files
from itertools import accumulate
from statistics import fmean, pvariance, variance

from pydantic import BaseModel, ConfigDict, Field

from hyperalign.errors import InputError

from .features import FEATURES, Features, measure
from .parsed import sentence_ends, words_of

__all__ = ["FeatureReference", "Reference", "Source", "build_reference", "cut_excerpt", "load_reference"]

EXCERPT_WORDS = 150
QUANTILES = (5, 25, 50, 75, 95)

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
        excerpt_words: the length of the measured texts.
        sources: the collections that were measured.
        features: statistics by feature; a feature that nobody showed has none.
    """

    schema_version: int = 1
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
) -> Reference:
    """Measure a population of writers.

    Texts are cut to about 150 words first, so that their lengths are comparable.

    Args:
        genres: each genre's people, and each person's texts. All genres count the same, whatever their size; use one
            genre if you know nothing of the kinds of writing.
        sources: a description of the collections, kept with the statistics.
        omit: features by genre that its files cannot show, such as paragraphs where line breaks were lost.

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
    return Reference(sources=tuple(sources), features={name: row for name, row in found.items() if row is not None})
