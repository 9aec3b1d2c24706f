"""Reads a text once into named features: measured style, word choice, an encoder, and how much of a draft was kept.

Each feature is standardized by a reference population: zero is usual, one is one standard deviation of texts. A feature
that a text does not show is zero, and so is one that counts English words, for a text in another language. Word choice
is the principal components of the square roots of function words' rates (after Burrows' Delta, 2002), and an encoder's
are those of its embeddings.
"""

from __future__ import annotations

import difflib
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from hyperalign.errors import InputError
from hyperalign.style.claims import load_statements
from hyperalign.style.features import FEATURES, MARKS, measure
from hyperalign.style.parsed import ENGLISH, tell_language, words_of

__all__ = [
    "Axes",
    "Contribution",
    "Encoder",
    "FeatureSpace",
    "Reading",
    "build_feature_space",
    "comparable_features",
    "is_named",
    "read_features",
    "say_feature",
]

Array = NDArray[np.float64]

LENGTH = "log_words"
_LENGTH_GRAIN = 0.5  # lengths differ more between collections than in any one of them
_WORD_CHOICE, _ENCODER = "word choice", "encoder"
EDIT_FEATURES = ("draft kept", "words added", "longer than draft")
_EDIT_SCALES = np.array([0.25, 0.25, 0.3])
_BLOCKS = {_WORD_CHOICE: "Its choice of small words", _ENCODER: "Its manner, as the encoder reads it"}
_IN_WORDS = {
    LENGTH: ("Is longer", "Is shorter"),
    "draft kept": ("Keeps more of the draft", "Keeps less of the draft"),
    "words added": ("Adds more of its own words", "Adds fewer words of its own"),
    "longer than draft": ("Is longer than the draft", "Is shorter than the draft"),
}
_FARTHEST = 4.0  # standard deviations; one odd mark in a short text must not outweigh everything else
_FEWEST_WORDS = 20  # rates in shorter texts are counted as if they had this many


class Reading(NamedTuple):
    """A text to read: the prompt it answers, the text, and the draft that it corrects, if any."""

    prompt: str
    text: str
    draft: str | None = None


@runtime_checkable
class Encoder(Protocol):
    """A model that turns texts into embeddings."""

    @property
    def name(self) -> str:
        """The model and layer with a hash of its weights, since embeddings are cached under this name."""
        ...

    def encode(self, items: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """Embed texts as answers to their prompts.

        Args:
            items: prompt and text of each.

        Returns:
            One row for each text, shape (n, dimensions).

        Raises:
            ModelServerError: the model could not be reached.
        """
        ...


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Axes(_Frozen):
    """Principal axes of a block of raw numbers.

    Attributes:
        name: of the block, or of the encoder.
        mean: shape (dimensions,).
        axes: scaled so that a component has variance one over the reference texts, shape (components, dimensions).
    """

    name: str
    mean: tuple[float, ...]
    axes: tuple[tuple[float, ...], ...]

    def project(self, raw: Array) -> Array:
        """Components of rows of raw numbers, shape (n, components)."""
        components: Array = (raw - np.array(self.mean)) @ np.array(self.axes).T
        return components.clip(-_FARTHEST, _FARTHEST)


class FeatureSpace(_Frozen):
    """What features are read, and what is usual.

    Attributes:
        centers: the usual value of each measured feature, in its unit.
        spreads: its standard deviation over texts.
        words: the function words whose rates are counted.
        word_axes: of their rates.
        encoder_axes: of the encoder's embeddings; None without an encoder.
        sources: the texts that the numbers were measured on.
    """

    schema_version: int = 1
    centers: dict[str, float]
    spreads: dict[str, float]
    words: tuple[str, ...]
    word_axes: Axes
    encoder_axes: Axes | None = None
    sources: tuple[str, ...] = ()

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the features, in order."""
        found = [*self.centers, *(f"{_WORD_CHOICE} {at}" for at in range(1, len(self.word_axes.axes) + 1))]
        if self.encoder_axes is not None:
            found += [f"{_ENCODER} {at}" for at in range(1, len(self.encoder_axes.axes) + 1)]
        return (*found, *EDIT_FEATURES)

    @cached_property
    def fingerprint(self) -> str:
        """A short hash: rows of features of different spaces are not comparable."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]

    def with_encoder(self, axes: Axes) -> FeatureSpace:
        """The same space with an encoder's block in place of any other's."""
        return self._with(axes)

    def without_encoder(self) -> FeatureSpace:
        """The same space without the encoder's block."""
        return self._with(None)

    def _with(self, axes: Axes | None) -> FeatureSpace:
        # Not model_copy: it would copy the cached names and fingerprint, too.
        fields = {name: getattr(self, name) for name in FeatureSpace.model_fields}
        return FeatureSpace(**{**fields, "encoder_axes": axes})


def is_named(feature: str) -> bool:
    """Whether a feature means something in words; components of word choice and of an encoder do not."""
    return not feature.startswith((_WORD_CHOICE, _ENCODER))


def say_feature(name: str, more: float) -> str:
    """Word one feature of a text, or a block of features that have no names of their own.

    Args:
        name: of a feature, or of a block of ``Contribution``.
        more: above zero if the text has more of it than what it is compared with; a block has no direction.
    """
    block = name.rstrip("0123456789 ")
    if block in _BLOCKS:
        return _BLOCKS[block]
    if name in _IN_WORDS:
        return _IN_WORDS[name][more <= 0]
    return load_statements()[name]["high" if more > 0 else "low"].partition(":")[0]


@dataclass(frozen=True)
class Contribution:
    """What one feature adds to a prediction.

    Attributes:
        feature: its name.
        nats: log-odds that it adds for the first text.
        difference: how much more of it the first text has, in standard deviations; 0 for a block of features.
    """

    feature: str
    nats: float
    difference: float = 0.0

    def __str__(self) -> str:
        return say_feature(self.feature, self.difference)


def read_features(space: FeatureSpace, items: Sequence[Reading], encoder: Encoder | None = None) -> Array:
    """Read texts into features.

    Args:
        space: what to read.
        items: the texts.
        encoder: the one whose axes the space has; not used by a space without an encoder.

    Returns:
        Features, shape (n, d), in the order of ``space.names``.

    Raises:
        InputError: the space needs another encoder.
    """
    if not items:
        return np.zeros((0, len(space.names)))
    blocks = [_standardize(space, _measure(items, tuple(space.centers)))]
    is_english = np.array([tell_language(item.text) in (None, ENGLISH) for item in items])
    choice = space.word_axes.project(_word_rates(space.words, [item.text for item in items]))
    blocks.append(np.where(is_english[:, None], choice, 0.0))
    if space.encoder_axes is not None:
        if encoder is None or encoder.name != space.encoder_axes.name:
            raise InputError(
                f"These features were learned with the encoder '{space.encoder_axes.name}', not "
                f"'{encoder.name if encoder else 'none'}'.",
                remedy="Give that encoder, or fit again.",
            )
        raw = encoder.encode([(item.prompt, item.text) for item in items]).astype(np.float64)
        blocks.append(space.encoder_axes.project(raw))
    return np.hstack([*blocks, np.array([_compare_with_draft(item) for item in items])])


def comparable_features(space: FeatureSpace, text: str) -> Array:
    """Which features of a text may be held against the usual ones, ones and zeros of shape (d,).

    What is usual was measured on English texts. Of a text in another language, how long its words and sentences are
    tells of the language and not of the person: against such a text alone, marks and embeddings count.
    """
    if tell_language(text) in (None, ENGLISH):
        return np.ones(len(space.names))
    kept = {*MARKS, *EDIT_FEATURES}
    return np.array([float(name in kept or name.startswith(_ENCODER)) for name in space.names])


def build_feature_space(
    genres: Sequence[Sequence[Reading]],
    words: Sequence[str],
    *,
    encoder: Encoder | None = None,
    word_components: int = 20,
    encoder_components: int = 10,
    sources: Sequence[str] = (),
) -> FeatureSpace:
    """Measure what is usual in texts.

    Args:
        genres: texts of each genre; all genres count the same, whatever their size.
        words: the function words to count.
        encoder: the encoder, if there is to be one.
        word_components: principal components of word rates.
        encoder_components: principal components of embeddings.
        sources: names of the collections, kept with the numbers.
    """
    items = [item for genre in genres for item in genre]
    shares = np.concatenate([np.full(len(genre), 1 / len(genre)) for genre in genres]) / len(genres)
    names = (*FEATURES, LENGTH)
    measured = _measure(items, names)
    known = ~np.isnan(measured)
    weights = shares[:, None] * known
    weights /= weights.sum(axis=0)
    centers = np.where(known, measured * weights, 0.0).sum(axis=0)
    apart = np.where(known, measured - centers, 0.0)
    spreads = np.sqrt((weights * apart**2).sum(axis=0))
    grains = np.array([FEATURES[name].grain if name in FEATURES else _LENGTH_GRAIN for name in names])
    rates = _word_rates(words, [item.text for item in items])
    axes = None
    if encoder is not None:
        raw = encoder.encode([(item.prompt, item.text) for item in items]).astype(np.float64)
        axes = principal_axes(encoder.name, raw, shares, encoder_components)
    return FeatureSpace(
        centers=_rounded(names, centers),
        spreads=_rounded(names, np.maximum(spreads, grains)),
        words=tuple(words),
        word_axes=principal_axes("word choice", rates, shares, word_components),
        encoder_axes=axes,
        sources=tuple(sources),
    )


def principal_axes(name: str, raw: Array, shares: Array, components: int) -> Axes:
    """Principal axes of raw numbers.

    Args:
        name: of the block, or of the encoder.
        raw: shape (texts, dimensions).
        shares: how much each text counts, summing to 1, shape (texts,).
        components: how many axes to keep at most.
    """
    mean = shares @ raw
    centered = (raw - mean) * np.sqrt(shares)[:, None]
    _, sizes, axes = np.linalg.svd(centered, full_matrices=False)
    # The sign of an axis is arbitrary: its largest entry is made positive, so that a rebuilt file is the same.
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])
    scaled = axes * (signs / np.maximum(sizes, 1e-9))[:, None]
    kept = scaled[: min(components, int((sizes > 1e-6).sum()))]
    return Axes(name=name, mean=_short(mean), axes=tuple(_short(axis) for axis in kept))


def _short(values: Array) -> tuple[float, ...]:
    return tuple(float(f"{value:.4g}") for value in values)


def _rounded(names: Sequence[str], values: Array) -> dict[str, float]:
    return dict(zip(names, _short(values), strict=True))


def _measure(items: Sequence[Reading], names: Sequence[str]) -> Array:
    """Measured features in their units, NaN where a text does not show one; shape (n, features)."""
    rows = []
    for item in items:
        found: dict[str, float | None] = dict(measure(item.text))
        found[LENGTH] = math.log1p(len(words_of(item.text)))
        rows.append([math.nan if (value := found[name]) is None else value for name in names])
    return np.array(rows)


def _standardize(space: FeatureSpace, measured: Array) -> Array:
    scaled = (measured - np.array([*space.centers.values()])) / np.array([*space.spreads.values()])
    known = np.asarray(np.nan_to_num(scaled, nan=0.0), dtype=np.float64)
    return known.clip(-_FARTHEST, _FARTHEST)


def _word_rates(words: Sequence[str], texts: Sequence[str]) -> Array:
    """Square roots of each word's rate per 100 words, shape (n, words); roots even out the spreads of counts."""
    place = {word: at for at, word in enumerate(words)}
    rates = np.zeros((len(texts), len(words)))
    for row, text in enumerate(texts):
        read = [word.lower().replace("\u2019", "'") for word in words_of(text)]
        for word in read:
            if (at := place.get(word)) is not None:
                rates[row, at] += 100.0 / max(len(read), _FEWEST_WORDS)
    roots: Array = np.sqrt(rates)
    return roots


def _compare_with_draft(item: Reading) -> Array:
    """The share of the draft that was dropped, of the text that is new, and the log-ratio of lengths; zero if same."""
    if item.draft is None:
        return np.zeros(len(EDIT_FEATURES))
    before = [word.lower() for word in words_of(item.draft)]
    after = [word.lower() for word in words_of(item.text)]
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    same = sum(block.size for block in matcher.get_matching_blocks())
    kept, old = same / max(1, len(before)), same / max(1, len(after))
    longer = math.log((1 + len(after)) / (1 + len(before)))
    return np.asarray(np.array([kept - 1.0, 1.0 - old, longer]) / _EDIT_SCALES, dtype=np.float64)
