"""Edits that people make to their own profile: set or flip a dimension, forget a hypothesis or a record.

Every function returns a new profile. What a person sets is marked as stated, what they take out is silenced, and
``carry_over`` keeps both when the person is fitted again. What a person or a record left in the runs of others is found
by ``Traces`` and removed by ``clean_runs``.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from hyperalign.space import Space, known_poles, load_space
from hyperalign.style.reference import measure_style

from .errors import InputError, NotFoundError, StorageError
from .files import data_folder, lock_folder, storage_error, write_whole
from .profile import BY_HAND, SPACE_ID, Aspect, Hypothesis, Profile, TestResult
from .records import Record, Sample, other_text, own_text, quotable_text
from .text import longest_copied_run

__all__ = [
    "Cleaned",
    "Traces",
    "carry_over",
    "clean_runs",
    "flip",
    "forget_hypothesis",
    "forget_record",
    "set_leaning",
    "silence",
]

_STATED, _EDITED = BY_HAND
_REPEATED_WORDS = 5
"""A statement that repeats so many words of a record in a row gives the record away."""
_SHORTEST_ID: Final = 8
_SHORTEST_WORD: Final = 5


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


class Traces:
    """Finds in files of runs what a person or a record left there.

    That is the person's id; ids of records that were made from their content; five words in a row of the person's own
    texts, or a whole shorter text; and words of theirs that nobody else in the store uses.

    Args:
        user: the person's id; None to look for the records alone.
        records: what is removed.
        others: records of other people: what they use too gives nobody away.
    """

    def __init__(self, user: str | None, records: Iterable[Record], others: Iterable[Record] = ()) -> None:
        given = list(records)
        common = {word for other in others for word in _words(quotable_text(other))}
        texts = [_words(own_text(record)) for record in given]
        self._user = user
        self._ids = {record.id for record in given if len(record.id) >= _SHORTEST_ID}
        self._rare = {word for words in texts for word in words if len(word) >= _SHORTEST_WORD} - common
        self._runs = {run for words in texts for run in _runs(words)}
        self._short = {tuple(words) for words in texts if 1 < len(words) < _REPEATED_WORDS}

    def found_in(self, text: str) -> bool:
        """Whether a text, or any string in it where it is JSON, holds a trace."""
        strings = list(_strings(text))
        if self._user is not None and self._user in strings:
            return True
        whole = "\n".join(strings)
        tokens = set(re.findall(r"[\w.@+-]+", whole))
        if self._ids & tokens or (self._user is not None and _stands_in(self._user, whole)):
            return True
        words = _words(whole)
        if not self._rare.isdisjoint(words) or not self._runs.isdisjoint(_runs(words)):
            return True
        return any(short in zip(*(words[n:] for n in range(len(short))), strict=False) for short in self._short)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def _runs(words: Sequence[str]) -> Iterator[tuple[str, ...]]:
    yield from zip(*(words[n:] for n in range(_REPEATED_WORDS)), strict=False)


def _stands_in(user: str, text: str) -> bool:
    # Two letters are a part of too much else.
    return len(user) > 2 and re.search(rf"(?<!\w){re.escape(user)}(?!\w)", text) is not None


def _strings(text: str) -> Iterator[str]:
    """All strings in JSON, names of fields too; a text that is no JSON is one."""
    try:
        todo: list[Any] = [json.loads(text)]
    except ValueError:
        yield text
        return
    while todo:
        match todo.pop():
            case str() as string:
                yield string
            case dict() as fields:
                todo += [*fields, *fields.values()]
            case list() as items:
                todo += items


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What was removed from runs that are not the person's own.

    Attributes:
        folders: the runs that something was removed from.
        lines: lines of journals and results.
        files: whole files, such as reports.
        busy: runs that another process is at work in, and that were left as they are.
    """

    folders: tuple[str, ...] = ()
    lines: int = 0
    files: int = 0
    busy: tuple[str, ...] = ()


# What is made of the lines of an eval; the same command makes it again.
_DERIVED = ("summary.json", "report.md", "report.html")


def clean_runs(traces: Traces, root: Path | None = None) -> Cleaned:
    """Remove what a person or a record left in the runs of others: lines and files that hold a trace.

    Where the file that says what a run is holds one, the whole run is removed.

    Args:
        traces: what to look for.
        root: the folder of runs; ``runs`` in the data folder if None.

    Raises:
        StorageError: a file can't be read or written.
    """
    folders: list[str] = []
    busy: list[str] = []
    lines = files = 0
    for folder in sorted(path for path in (root or data_folder() / "runs").glob("*") if path.is_dir()):
        try:
            if not any(_holds(traces, path) for path in _files_of(folder)):
                continue
        except OSError as error:
            raise storage_error(error, folder) from error
        try:
            with lock_folder(folder):
                cut, gone = _clean_run(traces, folder)
        except StorageError:
            busy.append(str(folder))
            continue
        if gone < 0:
            shutil.rmtree(folder, ignore_errors=True)
        lines, files = lines + cut, files + abs(gone)
        folders.append(str(folder))
    return Cleaned(tuple(folders), lines, files, tuple(busy))


def _files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")


def _holds(traces: Traces, path: Path) -> bool:
    text = path.read_text(encoding="utf-8", errors="replace")
    parts = text.split("\n") if path.suffix == ".jsonl" else [text]
    return any(map(traces.found_in, parts))


def _clean_run(traces: Traces, folder: Path) -> tuple[int, int]:
    """Clean one run; returns how many lines and files are gone, the files below zero where all must go."""
    cut = gone = 0
    for path in _files_of(folder):
        if path.suffix == ".jsonl":
            kept = path.read_text(encoding="utf-8", errors="replace").split("\n")
            left = [line for line in kept if not traces.found_in(line)]
            if len(left) < len(kept):
                cut += len(kept) - len(left)
                write_whole(path, "\n".join(left))
        elif _holds(traces, path):
            if path.name in ("run.json", "eval.json"):
                return cut, -len(_files_of(folder))
            path.unlink()
            gone += 1
    if cut and (folder / "eval.json").exists():
        # What sums up lines that are gone says something of them.
        for derived in [folder / name for name in _DERIVED if (folder / name).exists()]:
            derived.unlink()
            gone += 1
    return cut, gone
