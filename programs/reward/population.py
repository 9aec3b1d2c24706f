"""What other people are like: the features that are read, what is usual, and the prior of weights.

``load_population`` reads the one that ships; ``empirical_bayes`` estimates one from people's records.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from hyperalign.dependence import Fingerprint, drop_repeats, fingerprint, weigh
from hyperalign.errors import InputError
from hyperalign.records import Edit, Pair, Record, prompt_of
from hyperalign.text import describe_invalid_field

from .directions import Direction, contrast_covariance, learn_directions, load_contrasts, read_contrasts
from .features import Encoder, FeatureSpace, Reading, comparable_features, principal_axes, read_features
from .posterior import Array, Context, Observations, Prior

__all__ = [
    "FeatureRow",
    "RewardPopulation",
    "RowKind",
    "adapt_to_encoder",
    "expected_tastes",
    "find_population",
    "kind_of",
    "load_population",
    "observe",
    "read_population",
    "read_rows",
]

RowKind = Literal["choice", "edit", "text"]
ENCODER_COMPONENTS = 20
# Chosen by the log loss of dev choices: P-Soups Style and traits, four and eight choices a person.
_TASTES = 3.0
_OTHER_TASTES = 0.005
_ENCODER_TASTES = 1.4  # manner shows in the encoder's components more clearly than in counts
_SHORT = 5  # digits


@dataclass(frozen=True)
class FeatureRow:
    """One record as features.

    Attributes:
        record: its id.
        kind: a choice is the chosen text minus the other, an edit is the edited text minus the draft.
        values: shape (d,).
        weight: how much it counts, beside what it shares with the person's other records.
        time: when the record came to be, if that is known.
        shares: what it shares with other records; None for one that shares nothing.
    """

    record: str
    kind: RowKind
    values: Array
    weight: float = 1.0
    time: datetime | None = None
    shares: Fingerprint | None = None


def read_rows(
    space: FeatureSpace, records: Sequence[Record], encoder: Encoder | None = None, *, keep_repeats: bool = False
) -> list[FeatureRow]:
    """Read records into features, each text once.

    Args:
        space: what to read.
        records: anybody's.
        encoder: the one whose axes the space has.
        keep_repeats: whether a record that repeats an earlier one has a row, too.

    Raises:
        InputError: the space needs another encoder.
    """
    distinct = records if keep_repeats else drop_repeats(records)
    sides = [_readings(record) for record in distinct]
    readings = list(dict.fromkeys(reading for pair in sides for reading in pair))
    found = dict(zip(readings, read_features(space, readings, encoder), strict=True))
    rows = []
    for record, pair in zip(distinct, sides, strict=True):
        own, *other = (found[reading] for reading in pair)
        shown, *beside = (comparable_features(space, reading.text) for reading in pair)
        if not other:
            # A text alone is held against the usual ones.
            values = own * shown
        else:
            # What is usual cancels between two texts of one language.
            values = (own - other[0]) * (1.0 if (shown == beside[0]).all() else shown * beside[0])
        rows.append(FeatureRow(record.id, kind_of(record), values, time=record.time, shares=fingerprint(record)))
    return rows


def observe(rows: Sequence[FeatureRow], dimensions: int) -> Observations:
    """What rows say of a person's weights.

    Args:
        rows: the person's.
        dimensions: of the feature space.
    """
    shares = weigh([row.shares for row in rows])
    rows = [replace(row, weight=row.weight * share) for row, share in zip(rows, shares, strict=True)]
    choices = [row for row in rows if row.kind == "choice"]
    written = {kind: [row for row in rows if row.kind == kind] for kind in ("text", "edit")}
    return Observations.of(
        np.array([row.values for row in choices]) if choices else None,
        {kind: np.array([row.values for row in found]) for kind, found in written.items() if found},
        dimensions=dimensions,
        choice_weights=np.array([row.weight for row in choices]),
        text_weights={kind: np.array([row.weight for row in found]) for kind, found in written.items() if found},
    )


@dataclass(frozen=True)
class RewardPopulation:
    """A feature space, and the prior of weights in it.

    Attributes:
        name: for a profile's provenance.
        space: the features.
        prior: of weights over these features.
        directions: of the dimensions of the shipped space; none without an encoder.
    """

    name: str
    space: FeatureSpace
    prior: Prior
    directions: Mapping[str, Direction] = field(default_factory=dict)

    def without_encoder(self) -> RewardPopulation:
        """The same population where there is no encoder: its features are left out of the prior."""
        space = self.space.without_encoder()
        kept = [self.space.names.index(name) for name in space.names]
        grid = np.ix_(kept, kept)
        prior = replace(
            self.prior,
            mean=self.prior.mean[kept],
            covariance=self.prior.covariance[grid],
            contexts={kind: context.select(kept) for kind, context in self.prior.contexts.items()},
        )
        return RewardPopulation(self.name, space, prior)

    def to_json(self) -> str:
        """Convert to JSON; numbers are rounded to five digits."""
        prior = self.prior
        return _File(
            name=self.name,
            space=self.space,
            mean=_listed(prior.mean),
            covariance=_rows(prior.covariance),
            contexts={
                kind: _FileContext(
                    mean=_listed(each.mean),
                    within=_rows(each.within),
                    shared=None if each.shared is None else _rows(each.shared),
                )
                for kind, each in prior.contexts.items()
            },
            scales=_listed(prior.scales),
            scale_weights=_listed(prior.scale_weights),
            temper=prior.temper,
            directions=dict(self.directions),
        ).model_dump_json()

    @classmethod
    def from_json(cls, text: str | bytes, *, where: str) -> RewardPopulation:
        """Load from ``to_json``.

        Args:
            text: the JSON.
            where: how error messages name it.

        Raises:
            InputError: it is not a population, or its sizes do not fit.
        """
        try:
            read = _File.model_validate_json(text)
        except ValidationError as error:
            raise InputError(
                f"{where}: {describe_invalid_field(error)}.", remedy="Make the file again, or use the default."
            ) from error
        size = len(read.space.names)
        contexts = {kind: each.as_context() for kind, each in read.contexts.items()}
        prior = Prior(
            np.array(read.mean),
            np.array(read.covariance),
            contexts,
            np.array(read.scales),
            np.array(read.scale_weights),
            read.temper,
        )
        shapes = {prior.mean.shape, *(each.mean.shape for each in contexts.values())}
        squares = {prior.covariance.shape, *(each.within.shape for each in contexts.values())}
        if shapes != {(size,)} or squares != {(size, size)}:
            raise InputError(f"{where}: its numbers do not fit its {size} features.", remedy="Make the file again.")
        return cls(read.name, read.space, prior, read.directions)


@cache
def load_population() -> RewardPopulation:
    """The population that ships."""
    content = files("hyperalign.programs.reward").joinpath("default.json").read_bytes()
    return RewardPopulation.from_json(content, where="the default population")


def adapt_to_encoder(base: RewardPopulation, encoder: Encoder) -> RewardPopulation:
    """A population whose features have an encoder that it does not know yet.

    The encoder's axes and the expected tastes are learned from the contrasts that ship; embeddings of these are read
    once.

    Args:
        base: has everything but the encoder.
        encoder: the new one.

    Raises:
        ModelServerError: the encoder could not be reached.
    """
    bare = base.without_encoder()
    sides = [(each.prompt, text) for each in load_contrasts() for text in (each.high, each.low)]
    raw = encoder.encode(sides).astype(np.float64)
    axes = principal_axes(encoder.name, raw, np.full(len(raw), 1 / len(raw)), ENCODER_COMPONENTS)
    space = bare.space.with_encoder(axes)
    differences = read_contrasts(space, encoder)
    size = len(space.names)
    scales = np.where([name.startswith("encoder") for name in space.names], _ENCODER_TASTES, 1.0)
    old = [space.names.index(name) for name in bare.space.names]
    contexts = {}
    for kind, context in bare.prior.contexts.items():
        mean, within, shared = np.zeros(size), np.eye(size), np.eye(size)
        mean[old] = context.mean
        within[np.ix_(old, old)] = context.within
        if context.shared is not None:
            shared[np.ix_(old, old)] = context.shared
        contexts[kind] = Context(mean, within, None if context.shared is None else shared)
    prior = replace(bare.prior, mean=np.zeros(size), covariance=expected_tastes(differences, scales), contexts=contexts)
    return RewardPopulation(base.name, space, prior, learn_directions(differences))


def expected_tastes(differences: Mapping[str, Array], scales: Array) -> Array:
    """The covariance of weights over people of whom nothing is known.

    Args:
        differences: of the contrasts, by dimension.
        scales: what each feature's weight is multiplied with, shape (d,).
    """
    tastes = _TASTES * contrast_covariance(differences) * np.outer(scales, scales)
    return np.asarray(tastes + _OTHER_TASTES * np.eye(len(tastes)), dtype=np.float64)


def _readings(record: Record) -> list[Reading]:
    prompt = prompt_of(record)
    match record:
        case Pair():
            return [Reading(prompt, record.chosen), Reading(prompt, record.rejected)]
        case Edit():
            return [Reading(prompt, record.edited, record.draft), Reading(prompt, record.draft, record.draft)]
        case _:
            return [Reading(prompt, record.text)]


def kind_of(record: Record) -> RowKind:
    """The kind of row that a record makes."""
    return "choice" if isinstance(record, Pair) else "edit" if isinstance(record, Edit) else "text"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class _FileContext(_Frozen):
    mean: list[float]
    within: list[list[float]]
    shared: list[list[float]] | None = None

    def as_context(self) -> Context:
        shared = None if self.shared is None else np.array(self.shared)
        return Context(np.array(self.mean), np.array(self.within), shared)


class _File(_Frozen):
    schema_version: Literal[1] = 1
    name: str
    space: FeatureSpace
    mean: list[float]
    covariance: list[list[float]]
    contexts: dict[str, _FileContext]
    scales: list[float]
    scale_weights: list[float]
    temper: float
    directions: dict[str, Direction] = {}


def _listed(values: Array) -> list[float]:
    return [float(f"{value:.{_SHORT}g}") for value in values]


def _rows(matrix: Array) -> list[list[float]]:
    return [_listed(row) for row in matrix]


def read_population(path: Path) -> RewardPopulation:
    """Read a population from a file that ``RewardPopulation.to_json`` made.

    Raises:
        InputError: there is no such file, or it is not a population.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}.", remedy="Name a file that exists.") from error
    return RewardPopulation.from_json(content, where=str(path))


def find_population(name: str) -> RewardPopulation:
    """The population of a profile: the one that ships, or that of a file.

    Args:
        name: as the profile has it; a population of a file has the file's path.

    Raises:
        InputError: there is no such file, or it is not a population.
    """
    shipped = load_population()
    return shipped if name == shipped.name else read_population(Path(name))
