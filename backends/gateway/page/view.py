"""What the page says: a profile in plain words, how many records support each statement, and what a version changed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from hyperalign.errors import InputError
from hyperalign.profile import BY_HAND, SPACE_ID, Evidence, Hypothesis, LearnedReward, Profile, RewardRow, TestResult
from hyperalign.programs.reward import find_population, say_feature
from hyperalign.programs.reward.features import is_named
from hyperalign.records import Edit, Pair, Record, Sample
from hyperalign.space import known_poles
from hyperalign.style.claims import load_statements
from hyperalign.text import plain, printable

__all__ = ["Belief", "Support", "View", "describe_changes", "describe_support", "list_beliefs", "show_profile"]

_UNITS: Final = {
    "choice": "share of choices",
    "direction": "contrasts (1 is as far as two opposite answers lie apart)",
    "likelihood": "nats",
    "measurement": "standard deviations",
}
_TESTS: Final = {
    "choice": "a model was asked which of two texts the statement fits",
    "direction": "features of the texts, without a model",
    "likelihood": "how much more likely a model finds the statement than its opposite after each text",
    "measurement": "counted in the texts, without a model",
}
_REASONS: Final = (
    ("fits other people at least as well", "It fits other people just as well."),
    ("may be chance", "It may be chance."),
    ("the choices do not point one way", "Your choices do not point one way."),
    ("may add nothing", "It may add nothing."),
)
_SURER: Final = re.compile(r"\d+ surer ones were kept")
_SAME: Final = re.compile(r"says much the same as '(.*)'", re.DOTALL)
_PREDICTS: Final = re.compile(r"picks (\d+) % of (\d+) held-out (choices|texts|corrections)")
_KINDS: Final = {"choice": ("choice", "choices"), "edit": ("correction", "corrections"), "text": ("text", "texts")}
_STRONG, _FAIR = 0.7, 0.4
_FEATURES_SHOWN: Final = 6
_LEAST_WEIGHT: Final = 0.05


@dataclass(frozen=True, slots=True)
class Support:
    """How many of a person's records support a statement.

    Attributes:
        kind: ``choice`` or ``edit``.
        supporting: how many do.
        of: of how many that it was tested on.
    """

    kind: str
    supporting: int
    of: int

    def __str__(self) -> str:
        return f"{self.supporting} of your {_count(self.of, self.kind)}"


@dataclass(frozen=True, slots=True)
class Belief:
    """One statement as the page shows it.

    Attributes:
        id: of its hypothesis.
        statement: what is believed.
        opposite: what the other way round would say; empty if there is none.
        support: what it rests on, in a sentence.
        strength: ``strong``, ``fair`` or ``slight``.
        tenths: its weight in tenths.
        quotes: what the records say for and against it.
        figures: names and values of all that was measured.
        scope: what it holds for; empty for all.
        reason: why it was dropped; empty if it is kept.
        is_example: whether it is a text of the person's.
    """

    id: str
    statement: str
    opposite: str = ""
    support: str = ""
    strength: str = "slight"
    tenths: int = 0
    quotes: tuple[Evidence, ...] = ()
    figures: tuple[tuple[str, str], ...] = ()
    scope: str = ""
    reason: str = ""
    is_example: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """A profile as the page shows it.

    Attributes:
        learned_from: how much it rests on, in words; empty if on nothing.
        guessed: how well choices that it had not seen were guessed, in sentences.
        beliefs: the statements in use, the strongest first.
        stated: what the person said of themselves.
        features: measured preferences that also decide between answers: name, words, and how much each counts.
        changed: those of them that were changed by hand.
        dropped: the statements that did not hold.
        examples: the ids of texts that are shown to the model.
        is_thin: whether there is little to go by.
    """

    learned_from: str = ""
    guessed: tuple[str, ...] = ()
    beliefs: tuple[Belief, ...] = ()
    stated: tuple[str, ...] = ()
    features: tuple[tuple[str, str, float], ...] = ()
    changed: tuple[str, ...] = ()
    dropped: tuple[Belief, ...] = ()
    examples: tuple[str, ...] = ()
    is_thin: bool = False
    figures: tuple[tuple[str, str], ...] = field(default=())


def show_profile(profile: Profile, records: Sequence[Record]) -> View:
    """A profile in plain words.

    Args:
        profile: the person's.
        records: all of theirs.
    """
    kinds = _kinds_of(records)
    counts = [(kind, sum(kinds.get(name) == kind for name in profile.provenance.records)) for kind in _KINDS]
    learned = _join([_count(number, kind) for kind, number in counts if number])
    reward = profile.reward
    return View(
        learned_from=learned or (_count(len(reward.rows), "record") if reward and reward.rows else ""),
        guessed=tuple(_say_guesses(reward)),
        beliefs=tuple(list_beliefs(profile, records)),
        stated=tuple(map(printable, profile.stated)),
        features=tuple(_list_features(reward)),
        changed=tuple(change.feature for change in reward.changes) if reward else (),
        dropped=tuple(_to_belief(each, profile, kinds, {}) for each in profile.dropped),
        examples=tuple(example.id for example in profile.examples),
        is_thin=bool(profile.thin),
        figures=tuple(_say_origin(profile)),
    )


def list_beliefs(profile: Profile, records: Sequence[Record]) -> list[Belief]:
    """The statements of a profile that are in use, the strongest first.

    Args:
        profile: the person's.
        records: all of theirs.
    """
    kinds, support = _kinds_of(records), describe_support(profile)
    return [_to_belief(each, profile, kinds, support) for each in sorted(profile.hypotheses, key=lambda h: -h.weight)]


def describe_support(profile: Profile) -> dict[str, list[Support]]:
    """By hypothesis, how many of the choices and corrections that it was tested on support it.

    What was chosen must have more of it than what was turned down. This follows from the rows that the reward keeps,
    for dimensions of the space and for what is measured; other statements are not counted.
    """
    reward = profile.reward
    if reward is None or not reward.rows:
        return {}
    names, axes = list(reward.weights), _directions(reward)
    poles = known_poles(profile)
    found: dict[str, list[Support]] = {}
    for each in profile.hypotheses:
        name = each.id.removeprefix(SPACE_ID)
        weights = axes.get(name) if each.source == "space" else None
        sign = 0
        if weights is not None and name in poles:
            sign = 1 if each.statement == poles[name].high else -1 if each.statement == poles[name].low else 0
        elif each.source == "measured":
            feature = each.id.partition("-")[2].removesuffix("-turned")
            sign = _measured_sign(feature, each.statement)
            weights = np.array([float(other == feature) for other in names]) if feature in names else None
        if sign and weights is not None and each.test is not None:
            found[each.id] = _count_rows(reward.rows, each.test, weights * sign)
    return {name: counted for name, counted in found.items() if counted}


def describe_changes(before: Profile | None, after: Profile) -> list[str]:
    """What a version changed, in plain words.

    Args:
        before: the version before; None for the first one.
        after: the version.
    """
    if before is None:
        return [f"The first profile: {_count(len(after.hypotheses), 'statement')} held."]
    was, now = ({each.id: each for each in profile.hypotheses} for profile in (before, after))
    said = [f"New: “{_short(now[key].statement)}”" for key in now if key not in was]
    said += [f"Gone: “{_short(was[key].statement)}”" for key in was if key not in now]
    for key in (key for key in now if key in was):
        if now[key].statement != was[key].statement:
            said.append(f"“{_short(was[key].statement)}” became “{_short(now[key].statement)}”")
        elif now[key].weight != was[key].weight:
            said.append(f"“{_short(now[key].statement)}” counts {'more' if _gained(was[key], now[key]) else 'less'}")
    said += [f"You added: “{_short(each)}”" for each in after.stated if each not in before.stated]
    said += [f"You took out: “{_short(each)}”" for each in before.stated if each not in after.stated]
    rows = [len(profile.reward.rows) if profile.reward else 0 for profile in (before, after)]
    if rows[0] != rows[1]:
        said.append(f"What predicts your choices was learned from {rows[1]} records; before, from {rows[0]}.")
    return said or ["Nothing that you would read here."]


def _to_belief(
    each: Hypothesis, profile: Profile, kinds: Mapping[str, str], support: Mapping[str, Sequence[Support]]
) -> Belief:
    strength = "strong" if each.weight >= _STRONG else "fair" if each.weight >= _FAIR else "slight"
    statement = each.statement
    if each.source == "measured":
        # Its figures stand among the figures.
        statement = statement.partition(":")[0].rstrip(".") + "."
    return Belief(
        id=each.id,
        statement=printable(statement),
        opposite=printable(each.opposite.partition(":")[0] if each.source == "measured" else each.opposite),
        support=_say_support(each, kinds, support.get(each.id, ())),
        strength=strength,
        tenths=round(each.weight * 10),
        quotes=tuple(quote.model_copy(update={"quote": printable(quote.quote)}) for quote in each.evidence),
        figures=tuple(_say_figures(each, profile)),
        scope=_join([part.strip() for part in plain(each.scope).split(",") if part.strip()], "or"),
        reason=_say_reason(each.dropped_because),
        is_example=each.kind == "example",
    )


def _say_support(each: Hypothesis, kinds: Mapping[str, str], support: Sequence[Support]) -> str:
    if each.source in BY_HAND:
        return "You said so." if each.source == "stated" else "You put it in these words."
    if support:
        return f"Supported by {_join([str(part) for part in support])}."
    return "Not tested." if each.test is None else _say_tested(each, each.test, kinds)


def _say_tested(each: Hypothesis, test: TestResult, kinds: Mapping[str, str]) -> str:
    """What a test rests on, where the records that support a statement are not counted."""
    tested = [kinds.get(name, "record") for name in test.records]
    counted = _join([_count(tested.count(kind), kind) for kind in (*_KINDS, "record") if kind in tested])
    if each.kind == "example":
        return "A text of yours: it makes your other texts more likely."
    if not counted:
        return "Tested on records that are gone."
    if all(kind == "text" for kind in tested) and test.reference_records:
        return f"It fits {counted} of yours better than {_count(test.reference_records, 'text')} of other people."
    return f"Your {counted} together support it."


def _say_figures(each: Hypothesis, profile: Profile) -> Iterator[tuple[str, str]]:
    if not each.dropped_because:
        yield "Weight", f"{each.weight:.2f} of 1"
    if each.source == "measured" and ":" in each.statement:
        yield "Measured", printable(each.statement)
    if (test := each.test) is not None:
        yield "Test", f"{test.test}: {_TESTS.get(test.test, 'a test of its own')}"
        unit = _UNITS.get(test.test, "")
        yield "Gain", f"{test.gain:+.2f} {unit}; 90 % interval {test.low:+.2f} to {test.high:+.2f}"
        yield "False discovery rate", f"{test.q:.2g}"
        yield "Compared with", f"{_count(test.reference_records, 'record')} of other people"
        yield "Scorer", plain(test.scorer)
    if each.dropped_because:
        yield "Reason", plain(each.dropped_because)
    if (name := each.id.removeprefix(SPACE_ID)) in profile.direction:
        leans = profile.direction[name]
        yield "Probability of this side", f"{max(leans, 1 - leans):.0%}"
    yield "Id", plain(each.id)


def _say_reason(reason: str) -> str:
    if not reason:
        return ""
    if _SURER.fullmatch(reason):
        return "Surer ones were kept in its place."
    if same := _SAME.fullmatch(reason):
        return f"It says much the same as “{_short(same[1])}”"
    for start, words in _REASONS:
        if reason.startswith(start):
            return words
    reason = plain(reason).replace("the person's", "your")
    return f"{reason[:1].upper()}{reason[1:].rstrip('.')}."


def _say_guesses(reward: LearnedReward | None) -> Iterator[str]:
    for part in reward.predicts.split("; ") if reward and reward.predicts else []:
        if found := _PREDICTS.match(part):
            right, count, what = round(int(found[1]) / 100 * int(found[2])), int(found[2]), found[3]
            told = f"guessed {right} right" if what == "choices" else f"told {right} from those of other people"
            yield f"Of {count} {what} of yours that it had not seen, it {told}."
        else:
            yield f"It {plain(part)}."


def _say_origin(profile: Profile) -> Iterator[tuple[str, str]]:
    origin = profile.provenance
    if origin.created:
        yield "Made", f"{origin.created:%Y-%m-%d %H:%M} UTC"
    for name, value in (("Model", origin.model), ("Scorer", origin.scorer), ("Compared with", origin.population)):
        if value:
            yield name, plain(value)
    if profile.reward is not None and profile.reward.predicts:
        yield "Prediction", plain(profile.reward.predicts)
    if profile.thin:
        yield "Note", plain(profile.thin)


def _list_features(reward: LearnedReward | None) -> Iterator[tuple[str, str, float]]:
    """Named features of the reward, the surest first: name, words, and the size of its weight."""
    if reward is None:
        return
    read = {name for at, name in enumerate(reward.weights) if any(row.values[at] for row in reward.rows)}
    read |= {change.feature for change in reward.changes}
    named = {n: w for n, w in reward.weights.items() if is_named(n) and abs(w) >= _LEAST_WEIGHT and n in read}
    surest = sorted(named, key=lambda name: (-abs(named[name]) / max(reward.spreads.get(name, 0.0), 1e-3), name))
    # Several features may be worded alike; the surest one stands for them.
    worded = {say_feature(name, named[name]): name for name in reversed(surest)}
    for name in [name for name in surest if worded[say_feature(name, named[name])] == name][:_FEATURES_SHOWN]:
        yield name, say_feature(name, named[name]), abs(named[name])


def _directions(reward: LearnedReward) -> dict[str, np.ndarray]:
    """The weights of each dimension on the reward's features; none where its population is not known here."""
    try:
        population = find_population(reward.population)
    except InputError:
        return {}
    if not reward.encoder or population.space.fingerprint != reward.space:
        return {}
    return {name: np.array(each.weights) for name, each in population.directions.items()}


def _count_rows(rows: Sequence[RewardRow], test: TestResult, weights: np.ndarray) -> list[Support]:
    tested, found = set(test.records), []
    for kind in ("choice", "edit"):
        read = [float(weights @ np.array(row.values)) for row in rows if row.kind == kind and row.record in tested]
        if read:
            found.append(Support(kind, sum(value > 0 for value in read), len(read)))
    return found


def _measured_sign(feature: str, statement: str) -> int:
    """+1 if a measured statement says that there is more of its feature, -1 if less, 0 if it says something else."""
    known = load_statements().get(feature, {})
    start = statement.partition(":")[0].rstrip(".")
    ends = {pole: text.partition(":")[0].rstrip(".") for pole, text in known.items()}
    return 1 if ends.get("high") == start else -1 if ends.get("low") == start else 0


def _kinds_of(records: Sequence[Record]) -> dict[str, str]:
    names = {Sample: "text", Pair: "choice", Edit: "edit"}
    return {record.id: names[type(record)] for record in records}


def _gained(was: Hypothesis, now: Hypothesis) -> bool:
    return now.weight > was.weight


def _count(number: int, kind: str) -> str:
    one, many = _KINDS.get(kind, (kind, f"{kind}s"))
    return f"{number} {one if number == 1 else many}"


def _join(parts: Sequence[str], word: str = "and") -> str:
    return f" {word} ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else "".join(parts)


def _short(text: str) -> str:
    return plain(text, 120)
