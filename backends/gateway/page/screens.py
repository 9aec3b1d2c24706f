"""What each screen of the page shows of one person, and what each of its forms does. It knows nothing of HTTP."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from hyperalign.backends.gateway.outcomes import Outcomes, is_used
from hyperalign.errors import InputError, NotFoundError
from hyperalign.profile import Profile
from hyperalign.programs.reward.asking import Question
from hyperalign.records import Edit, Pair, Record, Sample, prompt_of
from hyperalign.store import Store, Version
from hyperalign.text import plain, printable

from .background import Background, WriteBoth
from .changes import Changes, find_turned_off
from .questions import Answers, answer_question, find_question
from .view import describe_changes, list_beliefs, show_profile

__all__ = ["Done", "Notices", "Screen", "Screens", "say_switched_off"]

Notices = Callable[[str], Sequence[str]]
"""Sentences to show at the top of a person's page, such as that the profile is switched off: gets the user's id."""

Form = Mapping[str, str]

_SHOWN: Final = 20
_LONGEST_PROMPT: Final = 4_000
_PATIENCE: Final = 1.5
_AGAIN: Final = 2
"""Seconds after which a page that waits for work loads itself again."""
_MOST_SKIPPED: Final = 200
_MOST_PEOPLE: Final = 1_000
_ABOUT_ONE: Final = ("turned off", "turned on", "flipped", "corrected")
"""How notes begin that end in the id of one statement."""


@dataclass(frozen=True, slots=True)
class Screen:
    """A template with its values.

    Attributes:
        template: its name.
        values: by name.
        refresh: seconds after which the page loads itself again; None if it is done.
    """

    template: str
    values: dict[str, Any] = field(default_factory=dict)
    refresh: int | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """What a form did.

    Attributes:
        screen: the one to show next, with its query.
        said: names what to say of it.
        version: the version that it made; 0 if none, so that there is nothing to undo.
    """

    screen: str
    said: str = ""
    version: int = 0


@dataclass(frozen=True, slots=True)
class _Text:
    """A record as the page shows it."""

    id: str
    kind: str
    prompt: str
    parts: tuple[tuple[str, str], ...]
    when: str
    is_used: bool
    is_example: bool


def say_switched_off(store: str | Path | None) -> Notices:
    """Says on a person's page that the gateway answers them without their profile, and why.

    Args:
        store: as ``Screens`` takes it.
    """

    def notices(user: str) -> list[str]:
        if not is_used(store):
            return []
        with closing(Outcomes(store)) as outcomes:
            reason = outcomes.switched_off().get(user, "")
        return [f"Your profile is switched off: the gateway answers you without it. Reason: {reason}"] if reason else []

    return notices


class Screens:
    """The screens of all people of a store.

    Args:
        store: where people are; None for the store in the data folder.
        answers: by prompt, the answers to ask about; those that ship if None.
        compare: answers a prompt without the profile and with it; None where no model is configured.
        notices: what to say at the top of a person's page.
        encoder: what a new reward reads texts with.
    """

    def __init__(
        self,
        store: str | Path | None = None,
        *,
        answers: Answers | None = None,
        compare: WriteBoth | None = None,
        notices: Notices | None = None,
        encoder: str | None = None,
    ) -> None:
        self._store = store
        self._answers = answers
        self._compare = compare
        self._notices = notices
        self._encoder = encoder
        self._background = Background()
        self._skipped: dict[str, set[str]] = {}

    def close(self) -> None:
        """Start no more work."""
        self._background.close()

    def beliefs(self, user: str, query: Form) -> Screen:
        """What is believed, on what evidence, with what weight, and what was dropped."""
        del query
        with self._open(user) as (store, profile, records):
            off = find_turned_off(store, profile)
            gone = profile.model_copy(update={"hypotheses": [found for found, _ in off.values()]})
            turned_off = list_beliefs(gone, records)
        values = {
            "view": show_profile(profile, records),
            "turned_off": turned_off,
            "notices": [printable(each) for each in self._notices(user)] if self._notices else [],
        }
        return Screen("beliefs.html", values)

    def texts(self, user: str, query: Form) -> Screen:
        """The person's records, the newest first."""
        with self._open(user) as (_, profile, records):
            pass
        used = {name for each in profile.hypotheses for name in (each.test.records if each.test else ())}
        used |= set(profile.provenance.records) | {
            row.record for row in (profile.reward.rows if profile.reward else ())
        }
        shown = {example.id for example in profile.examples}
        newest = records[::-1]
        first = _number(query.get("from", ""), len(newest))
        part = [_show_record(each, each.id in used, each.id in shown) for each in newest[first : first + _SHOWN]]
        later = first + _SHOWN if first + _SHOWN < len(newest) else None
        earlier = max(0, first - _SHOWN) if first else None
        return Screen("texts.html", {"texts": part, "count": len(newest), "later": later, "earlier": earlier})

    def question(self, user: str, query: Form) -> Screen:
        """One question, or why there is none."""
        del query
        with self._open(user) as (_, _, records):
            pass
        skipped = self._skipped.get(user, set())
        key = ("question", user, len(records), len(skipped))
        self._background.start(key, lambda: self._find_question(user, frozenset(skipped)))
        found = self._background.look(key, _PATIENCE)
        if not found.is_done:
            return Screen("question.html", {"question": None, "why": "", "waits": True}, _AGAIN)
        if found.problem:
            self._background.drop(key)
        why = found.problem or ("" if found.result else "There is nothing left to ask that would teach much.")
        return Screen("question.html", {"question": found.result, "why": why, "waits": False})

    def compare(self, user: str, query: Form) -> Screen:
        """A prompt answered without the profile and with it."""
        values: dict[str, Any] = {"can": self._compare is not None, "waits": False, "problem": "", "found": None}
        job = query.get("job", "")
        if not job:
            return Screen("compare.html", values)
        # The key has the user's id: nobody is shown what was written for somebody else.
        found = self._background.look(("compare", user, job), _PATIENCE)
        if not found.is_known:
            return Screen("compare.html", {**values, "problem": "That answer is too old to be kept. Ask again."})
        if not found.is_done:
            return Screen("compare.html", {**values, "waits": True}, _AGAIN)
        return Screen("compare.html", {**values, "problem": found.problem, "found": found.result})

    def history(self, user: str, query: Form) -> Screen:
        """All versions, the newest first, each with what it changed."""
        try:
            with Store(self._store) as store:
                versions = store.history(user)[::-1]
                first = _number(query.get("from", ""), len(versions))
                part = versions[first : first + _SHOWN]
                profiles = {each.number: store.load(user, each.number) for each in versions[first : first + _SHOWN + 1]}
        except NotFoundError:
            return Screen("history.html", {"versions": [], "later": None, "earlier": None})
        older = [*(each.number for each in versions[first + 1 : first + 1 + len(part)]), 0]
        shown = [
            {
                "number": each.number,
                "when": f"{each.time:%Y-%m-%d %H:%M} UTC",
                "note": _say_note(each, profiles),
                "kept": each.kept,
                "changes": describe_changes(profiles.get(before), profiles[each.number]),
                "is_newest": each == versions[0],
            }
            for each, before in zip(part, older, strict=False)
        ]
        later = first + _SHOWN if first + _SHOWN < len(versions) else None
        earlier = max(0, first - _SHOWN) if first else None
        return Screen("history.html", {"versions": shown, "later": later, "earlier": earlier})

    def forget(self, user: str, query: Form) -> Screen:
        """Asks whether to forget a record or a statement for good."""
        name = query.get("id", "")
        with self._open(user) as (store, profile, records):
            off = {key: found for key, (found, _) in find_turned_off(store, profile).items()}
        for each in records:
            if each.id == name:
                return Screen("forget.html", {"id": name, "record": _show_record(each, False, False), "statement": ""})
        known = off | {each.id: each for each in [*profile.dropped, *profile.hypotheses]}
        if name not in known:
            raise NotFoundError("There is nothing of that name.")
        return Screen("forget.html", {"id": name, "record": None, "statement": printable(known[name].statement)})

    def undo_of(self, user: str, version: int) -> int | None:
        """The version to go back to, if the change that made a version is still the last one."""
        try:
            with Store(self._store) as store:
                newest = store.history(user)[-1].number
        except NotFoundError:
            return None
        return version - 1 if version == newest and version > 1 else None

    def act(self, user: str, action: str, form: Form, question: Question | None) -> Done:
        """Do what a form asks for.

        Args:
            user: whose page it is on.
            action: the form's.
            form: its fields.
            question: the one that it answers.

        Raises:
            NotFoundError: there is no such action, or what it is about is gone.
            InputError: a field is wrong.
        """
        name, text = form.get("id", ""), form.get("text", "")
        if action == "ask":
            return self._begin_comparison(user, text)
        if action in ("answer", "skip"):
            return self._take_answer(user, form.get("takes", "") if action == "answer" else "", question)
        with Store(self._store) as store:
            changes = Changes(store, user)
            if action == "forget":
                gone = changes.forget(name)
                return Done("texts" if gone.is_record else "", "forget")
            work: dict[str, Callable[[], int]] = {
                "off": lambda: changes.turn_off(name),
                "on": lambda: changes.turn_on(name),
                "flip": lambda: changes.flip(name),
                "ignore": lambda: changes.ignore(name),
                "correct": lambda: changes.correct(name, text),
                "add": lambda: changes.add(text),
                "take": lambda: changes.take_back(text),
                "restore": lambda: changes.restore(_number(form.get("version", ""))),
            }
            if action not in work:
                raise NotFoundError("There is no such form.")
            return Done("history" if form.get("from") == "history" else "", action, work[action]())

    def _begin_comparison(self, user: str, prompt: str) -> Done:
        compare, asked = self._compare, prompt.strip()
        if compare is None:
            raise InputError("No model is configured.")
        if not asked:
            raise InputError("The prompt is empty.", remedy="Write what you want to have answered.")
        if len(asked) > _LONGEST_PROMPT:
            raise InputError(f"The prompt has {len(asked)} characters.", remedy=f"Use at most {_LONGEST_PROMPT}.")
        job = secrets.token_urlsafe(12)
        self._background.start(("compare", user, job), lambda: compare(user, asked))
        return Done(f"compare?job={job}")

    def _take_answer(self, user: str, takes: str, question: Question | None) -> Done:
        if question is None:
            raise InputError("That question is too old.", remedy="Answer the one that is shown now.")
        if takes not in ("first", "second"):
            kept = self._skipped.setdefault(user, set())
            if len(kept) < _MOST_SKIPPED:
                kept.add(question.prompt)
            while len(self._skipped) > _MOST_PEOPLE:
                self._skipped.pop(next(iter(self._skipped)))
            return Done("question", "skip")
        with Store(self._store) as store:
            kept_answer = answer_question(store, user, question, takes_first=takes == "first", encoder=self._encoder)
        # Nothing to undo: the record stays, and is learned from again. It can be forgotten.
        return Done("question", "answer" if kept_answer.version else "kept")

    def _find_question(self, user: str, skipped: frozenset[str]) -> Question | None:
        with Store(self._store) as store:
            return find_question(store, user, self._answers, skipped=skipped, encoder=self._encoder)

    @contextmanager
    def _open(self, user: str) -> Iterator[tuple[Store, Profile, list[Record]]]:
        """The store, and a person's profile and records in it; an empty profile where there is none yet."""
        with Store(self._store) as store:
            try:
                profile = store.load(user)
            except NotFoundError:
                profile = Profile(user=user)
            yield store, profile, store.records(user, skip_damaged=True)


def _show_record(record: Record, is_used: bool, is_example: bool) -> _Text:
    match record:
        case Sample():
            kind, parts = "You wrote", [("", record.text)]
        case Pair():
            kind, parts = "You chose", [("Chosen", record.chosen), ("Turned down", record.rejected)]
        case Edit():
            kind, parts = "You corrected", [("Draft", record.draft), ("Your version", record.edited)]
    return _Text(
        id=record.id,
        kind=kind,
        prompt=printable(prompt_of(record)),
        parts=tuple((name, printable(text)) for name, text in parts),
        when=f"{record.time:%Y-%m-%d}" if record.time else "",
        is_used=is_used,
        is_example=is_example,
    )


def _say_note(version: Version, profiles: Mapping[int, Profile]) -> str:
    """A version's note, with the statement in place of an id where one of the versions at hand has it."""
    note = plain(version.note, 200) or "saved"
    said = {each.id: each.statement for each in (h for p in profiles.values() for h in [*p.hypotheses, *p.dropped])}
    for words in _ABOUT_ONE:
        if note.startswith(f"{words} "):
            name = note.removeprefix(f"{words} ")
            note = f"{words} “{plain(said[name], 80)}”" if name in said else f"{words} a statement"
    return note[:1].upper() + note[1:]


def _number(text: str, most: int | None = None) -> int:
    """A number of a query or form; 0 for anything else."""
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        return 0
    return int(text) if most is None or int(text) < most else 0
