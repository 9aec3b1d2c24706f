"""The profile of one person: tested hypotheses with their evidence, measured style, examples and stated preferences.

A profile is JSON that a human may edit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from .dependence import Fingerprint, group_dependent, weigh
from .errors import ProfileError
from .records import Record, Sample, check_user, quotable_text
from .text import describe_invalid_field

__all__ = [
    "BY_HAND",
    "EXAMPLE_ID",
    "SPACE_ID",
    "Aspect",
    "Evidence",
    "Hypothesis",
    "LearnedReward",
    "Measurement",
    "Poles",
    "Profile",
    "Provenance",
    "RewardChange",
    "RewardRow",
    "TestResult",
    "check_evidence",
]

SCHEMA_VERSION: Final = 1
BY_HAND = ("stated", "edited")
"""Sources of hypotheses that a person stated or edited; they were not tested."""
SPACE_ID: Final = "space-"
EXAMPLE_ID: Final = "example-"
"""Prefixes of the ids of hypotheses that are a pole of a dimension, and of those that are an example."""
_SURE: Final = 0.75
_ENOUGH: Final = 8
_ONE: Final = {"texts": "text", "choices": "choice", "questions with choices": "question with choices"}
_USUAL_ALPHA: Final = 0.05
_SHOWN_CHANGE: Final = 0.05
"""A weight of the reward that moved by less, in nats, is no difference worth a line."""
# The key is JSON's own: inside a string its quotes would be escaped.
_NUMBERS: Final = re.compile(r'"(?:values|shares)": \[[^\]]*\]')

Aspect = Literal["communication", "personality", "style", "preference", "background"]


class _Noun(BaseModel):
    # extra="forbid": a misspelled key in a hand-edited profile must not pass silently. NaN and infinity have no JSON:
    # written as null, they would make a profile that no longer loads.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _whole_characters(cls, value: object) -> object:
        # Half an emoji, from a model's answer cut inside a JSON escape, can't be written as UTF-8.
        return value.encode(errors="replace").decode() if isinstance(value, str) else value


class Evidence(_Noun):
    """A verbatim quote from a record, for or against a hypothesis."""

    quote: str
    record: Annotated[str, Field(description="the id of the record that the quote is from")]
    supports: bool = True
    turned_down: Annotated[bool, Field(description="whether the quote is from a text that the person turned down")] = (
        False
    )
    checked: Annotated[
        float | None,
        Field(ge=0, le=1, description="how sure a checker is that the quote bears the statement out; null: not asked"),
    ] = None

    @property
    def holds_up(self) -> bool:
        """Whether a checker confirmed that the quote supports the statement and not its opposite."""
        return self.supports and self.checked is not None and self.checked > _SURE


class TestResult(_Noun):
    """The result of a test of one hypothesis.

    Gains are in the unit of the test: nats per token (likelihood), share of choices (choice), contrasts (direction), or
    within-person standard deviations (measurement).
    """

    __test__ = False  # not a pytest class, whatever its name

    test: Annotated[str, Field(description="likelihood, choice, direction, measurement, or a test of your own")]
    gain: Annotated[float, Field(description="on the person's records, minus the reference population's")]
    low: Annotated[float, Field(description="lower end of the 90 % interval of the gain")]
    high: Annotated[float, Field(description="upper end of the 90 % interval of the gain")]
    p: Annotated[float, Field(ge=0, le=1, description="one-sided p of no gain, before correction")]
    q: Annotated[float, Field(ge=0, le=1, description="false-discovery rate at which it is kept")]
    records: Annotated[list[str], Field(description="ids of the person's records it was tested on")]
    reference_records: Annotated[int, Field(ge=0, description="records of other people it was tested on")]
    scorer: Annotated[str, Field(description="the model, with its weights' hash, or 'measured'")]


class Hypothesis(_Noun):
    """One falsifiable statement about a person."""

    id: str
    statement: str
    aspect: Aspect
    opposite: str = ""
    kind: Literal["statement", "example"] = "statement"
    source: Annotated[str, Field(description="inferred, measured, example, stated, or edited")] = "inferred"
    evidence: list[Evidence] = []
    test: TestResult | None = None
    weight: Annotated[float, Field(ge=0, le=1)] = 0.0
    scope: Annotated[
        str,
        Field(description="beginnings of words, with commas between: it holds for prompts with one; empty for all"),
    ] = ""
    dropped_because: str = ""

    @field_validator("statement")
    @classmethod
    def _says_something(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("a statement must say something")
        return value


class Measurement(_Noun):
    """One measured feature of the person's texts, and the reference population's mean."""

    value: float
    reference: float
    z: Annotated[float, Field(description="distance from the reference, in spreads between people, shrunken")]


class Poles(_Noun):
    """The statements at the two ends of a dimension."""

    high: str
    low: str


class RewardRow(_Noun):
    """One record as features: of a choice the chosen text's minus the other's, of a correction the change made."""

    record: Annotated[str, Field(description="the id of the record")]
    kind: Literal["choice", "edit", "text"]
    time: Annotated[datetime | None, Field(description="when the record came to be; null: not known")] = None
    shares: Annotated[
        Fingerprint | None,
        Field(description="hashes of its texts, equal where it shares what it teaches with other records"),
    ] = None
    values: Annotated[list[float], Field(description="in standard deviations, in the order of the weights")]


class RewardChange(_Noun):
    """A weight that the person changed by hand."""

    feature: str
    weight: Annotated[float | None, Field(description="the weight that it was set to; null: turned around")] = None

    def __str__(self) -> str:
        return f"{self.feature} turned around" if self.weight is None else f"{self.feature} set to {self.weight:g}"


class LearnedReward(_Noun):
    """What was learned to predict choices: a weight on each feature of a text, and the rows that they follow from."""

    population: Annotated[str, Field(description="the prior population")]
    space: Annotated[str, Field(description="a hash of the features")]
    encoder: Annotated[str, Field(description="the encoder with a hash of its weights; empty: none")] = ""
    weights: Annotated[dict[str, float], Field(description="nats per standard deviation, by feature")]
    spreads: Annotated[dict[str, float], Field(description="standard deviations of the weights")]
    rows: list[RewardRow] = []
    half_life: Annotated[float | None, Field(gt=0, description="newer records after which one counts half")] = None
    changes: list[RewardChange] = []
    predicts: Annotated[str, Field(description="how well held-out choices were predicted; empty: too few")] = ""


class Provenance(_Noun):
    """What a profile was made from."""

    records: Annotated[list[str], Field(description="ids of the records it rests on")] = []
    choices: Annotated[int, Field(ge=0, description="how many of them are choices: pairs, edits or ratings")] = 0
    null_alpha: Annotated[
        float | None,
        Field(
            ge=0,
            le=1,
            description="probability that random choices in place of these would keep a hypothesis; null: none",
        ),
    ] = None
    model: str = ""
    scorer: str = ""
    population: Annotated[str, Field(description="where other people's records came from")] = ""
    program: Annotated[str, Field(description="version of the programs that made it")] = ""
    seed: int = 0
    invented_quotes: Annotated[int, Field(ge=0, description="hypotheses dropped for quotes no record holds")] = 0
    created: datetime | None = None


class Profile(_Noun):
    """One person's tested profile.

    ``hypotheses``, ``examples`` and ``stated`` change answers. ``dropped`` holds the hypotheses that did not pass, each
    with the reason.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    user: str
    hypotheses: list[Hypothesis] = []
    examples: list[Sample] = []
    stated: Annotated[list[str], Field(description="preferences in the person's own words; never dropped")] = []
    style: dict[str, Measurement] = {}
    dropped: list[Hypothesis] = []
    silenced: Annotated[
        list[str], Field(description="ids of hypotheses that the person took out; no later fit brings them back")
    ] = []
    direction: Annotated[dict[str, float], Field(description="preference space: dimension to probability")] = {}
    poles: Annotated[dict[str, Poles], Field(description="of dimensions of one's own: what their ends say")] = {}
    reward: Annotated[LearnedReward | None, Field(description="predicts choices; null: not learned")] = None
    provenance: Provenance = Provenance()

    @field_validator("user")
    @classmethod
    def _is_user(cls, value: str) -> str:
        return check_user(value)

    @property
    def is_empty(self) -> bool:
        """Whether nothing in the profile changes an answer."""
        return not (self.hypotheses or self.examples or self.stated)

    @property
    def thin(self) -> str:
        """Why the profile may rest on chance, in plain words; empty if there were enough records."""
        origin = self.provenance
        texts, choices = len(origin.records) - origin.choices, self._count_questions()
        about = "choices" if choices == origin.choices else "questions with choices"
        counts = [
            f"{number} {what if number > 1 else _ONE[what]}"
            for number, what in ((texts, "texts"), (choices, about))
            if 0 < number < _ENOUGH
        ]
        said = f"Little was given to go by: {' and '.join(counts)}, where {_ENOUGH} say more." if counts else ""
        if origin.null_alpha is not None and origin.null_alpha > _USUAL_ALPHA:
            open_gate = (
                f"With {choices} {about}, random ones in their place would get a profile in up to "
                f"{origin.null_alpha:.0%} of cases; from 8 on it is {_USUAL_ALPHA:.0%}."
            )
            said = f"{said} {open_gate}".strip()
        return said

    def _count_questions(self) -> int:
        """How many of the choices are independent: those that share what they teach count as one."""
        known = self.provenance.choices
        shares = [row.shares for row in self.reward.rows if row.kind != "text"] if self.reward else []
        counted = [share for share, weight in zip(shares, weigh(shares), strict=True) if weight > 0]
        return min(known, len(set(group_dependent(counted)))) if shares else known

    def to_json(self) -> str:
        """The profile as indented JSON that ends in a newline; the numbers of a record stand on one line."""
        text = self.model_dump_json(indent=2) + "\n"
        if self.reward is None:
            return text
        return _NUMBERS.sub(lambda found: " ".join(found[0].split()).replace("[ ", "[").replace(" ]", "]"), text)

    @classmethod
    def from_json(cls, text: str | bytes, *, where: str = "profile") -> Profile:
        """Read a profile, which a human may have edited.

        Args:
            text: JSON.
            where: the file's name, for the error.

        Raises:
            ProfileError: it is not JSON, or a field is wrong; the message has the field's path.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            more = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
            raise ProfileError(
                f"{where}: {describe_invalid_field(error)}{more}.",
                remedy="Mend that field, or print the last good version with: hyperalign profile history USER",
            ) from error

    def touched(self) -> Profile:
        """A copy whose ``created`` is now."""
        stamp = self.provenance.model_copy(update={"created": datetime.now(UTC).replace(microsecond=0)})
        return self.model_copy(update={"provenance": stamp})

    def diff(self, other: Profile) -> list[str]:
        """The changes from this profile to another, one line each that starts with ``+``, ``-`` or ``~``."""
        return [
            *_diff_hypotheses("", self.hypotheses, other.hypotheses),
            *_diff_hypotheses("dropped: ", self.dropped, other.dropped),
            *_diff_examples(self.examples, other.examples),
            *_diff_plain("stated: ", self.stated, other.stated),
            *_diff_plain("silenced: ", self.silenced, other.silenced),
            *_diff_numbers("style", _values(self.style), _values(other.style)),
            *_diff_numbers("direction", self.direction, other.direction),
            *_diff_poles(self.poles, other.poles),
            *_diff_rewards(self.reward, other.reward),
        ]

    def merge(self, other: Profile) -> Profile:
        """Merge two profiles of one person; where they disagree, ``other`` wins.

        Raises:
            ProfileError: they belong to two people.
        """
        if other.user != self.user:
            raise ProfileError(
                f"Cannot merge profiles of two people ({self.user!r} and {other.user!r}).",
                remedy="Change the 'user' field of one of them if they are the same person.",
            )
        kept = _by_id([*self.hypotheses, *other.hypotheses])
        examples = {e.id: e for e in [*self.examples, *other.examples]}
        dropped = _by_id([*self.dropped, *other.dropped])
        for gone in other.dropped:
            kept.pop(gone.id, None)
        back = _by_id(other.hypotheses)
        kept |= back
        records = dict.fromkeys([*self.provenance.records, *other.provenance.records])
        return other.model_copy(
            update={
                "hypotheses": list(kept.values()),
                "examples": list(examples.values()),
                "stated": list(dict.fromkeys([*self.stated, *other.stated])),
                "style": {**self.style, **other.style},
                "dropped": [h for h in dropped.values() if h.id not in kept],
                "silenced": list(dict.fromkeys([*(n for n in self.silenced if n not in back), *other.silenced])),
                "direction": {**self.direction, **other.direction},
                "poles": {**self.poles, **other.poles},
                "reward": other.reward or self.reward,
                "provenance": other.provenance.model_copy(update={"records": list(records)}),
            }
        ).without_silenced()

    def without_silenced(self) -> Profile:
        """A copy without hypotheses, examples and dimensions that are silenced."""
        gone = set(self.silenced)
        return self.model_copy(
            update={
                "hypotheses": [each for each in self.hypotheses if each.id not in gone],
                "dropped": [each for each in self.dropped if each.id not in gone],
                "examples": [each for each in self.examples if EXAMPLE_ID + each.id not in gone],
                "direction": {name: p for name, p in self.direction.items() if SPACE_ID + name not in gone},
            }
        )


def check_evidence(evidence: Iterable[Evidence], records: Sequence[Record]) -> bool:
    """Whether every quote is a verbatim substring of its record."""
    texts = {record.id: quotable_text(record) for record in records}
    return all(item.quote.strip() and item.quote in texts.get(item.record, "") for item in evidence)


def _by_id(hypotheses: Iterable[Hypothesis]) -> dict[str, Hypothesis]:
    return {hypothesis.id: hypothesis for hypothesis in hypotheses}


def _diff_hypotheses(label: str, old: list[Hypothesis], new: list[Hypothesis]) -> Iterable[str]:
    before, after = _by_id(old), _by_id(new)
    yield from (f"- {label}{gone.statement}" for key, gone in before.items() if key not in after)
    for key, hypothesis in after.items():
        if key not in before:
            yield f"+ {label}{hypothesis.statement}"
        elif hypothesis != before[key]:
            changed = ", ".join(_changed_fields(before[key], hypothesis))
            yield f"~ {label}{hypothesis.statement} ({changed})"


def _changed_fields(old: BaseModel, new: BaseModel) -> list[str]:
    return [name for name in type(old).model_fields if getattr(old, name) != getattr(new, name)]


def _diff_plain(label: str, old: list[str], new: list[str]) -> Iterable[str]:
    yield from (f"- {label}{item}" for item in old if item not in new)
    yield from (f"+ {label}{item}" for item in new if item not in old)


def _diff_examples(old: list[Sample], new: list[Sample]) -> Iterable[str]:
    before, after = {e.id: e for e in old}, {e.id: e for e in new}
    yield from _diff_plain("example: ", list(before), list(after))
    yield from (f"~ example: {key}" for key in before if key in after and before[key] != after[key])


def _values(style: dict[str, Measurement]) -> dict[str, float]:
    return {name: measurement.value for name, measurement in style.items()}


def _diff_numbers(label: str, old: dict[str, float], new: dict[str, float]) -> Iterable[str]:
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        if before != after:
            yield f"~ {label} {name}: {_number(before)} -> {_number(after)}"


def _diff_poles(old: dict[str, Poles], new: dict[str, Poles]) -> Iterable[str]:
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            said = new.get(name)
            yield f"~ poles {name}: " + (f"{said.high} / {said.low}" if said else "none")


def _diff_rewards(old: LearnedReward | None, new: LearnedReward | None) -> Iterable[str]:
    if old is None or new is None:
        if old is not new:
            yield "- reward" if new is None else f"+ reward, of {len(new.rows)} records"
        return
    before, after = ({row.record for row in each.rows} for each in (old, new))
    for sign, records in (("-", before - after), ("+", after - before)):
        if records:
            yield f"{sign} reward: {len(records)} record{'s' if len(records) > 1 else ''}"
    yield from _diff_plain("reward: ", [str(each) for each in old.changes], [str(each) for each in new.changes])
    if old.predicts != new.predicts:
        yield f"~ reward: {old.predicts or 'untested'} -> {new.predicts or 'untested'}"
    moved = {
        name
        for name in old.weights.keys() | new.weights.keys()
        if abs(old.weights.get(name, 0.0) - new.weights.get(name, 0.0)) >= _SHOWN_CHANGE
    }
    yield from _diff_numbers("reward", *({name: each.weights.get(name, 0.0) for name in moved} for each in (old, new)))


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"
