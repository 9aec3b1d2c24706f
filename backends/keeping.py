"""Keeps what a person gives and learns from it at once, and forgets a record or a hypothesis wherever it left traces.

The command line, the person's page and the tools for agents share it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hyperalign.edits import Cleaned, Traces, clean_runs, forget_hypothesis, silence
from hyperalign.errors import DownloadError, HyperalignError, InputError, MissingExtraError, NotFoundError
from hyperalign.privacy import find_redactor, redact_texts
from hyperalign.profile import SPACE_ID, Profile
from hyperalign.records import Record
from hyperalign.runs import remove_runs
from hyperalign.store import Store

if TYPE_CHECKING:
    from hyperalign.programs.reward import Reward

__all__ = ["OTHERS_COMPARED", "Forgotten", "Kept", "forget", "keep", "open_reward_of", "without_others"]

OTHERS_COMPARED: Final = 1_000
"""So many records of each kind of other people say which words give nobody away."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What came of records that a person gave.

    Attributes:
        records: their ids as the store has them.
        new: those that the store did not have.
        version: the version that has learned from them; None where nothing was learned.
        why_not: why nothing was learned; empty if it was, or if nothing is new.
    """

    records: tuple[str, ...]
    new: tuple[str, ...]
    version: int | None = None
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was forgotten.

    Attributes:
        is_record: whether it was a record; else it was a hypothesis.
        versions: the versions of the profile that were changed.
        statements: what none of them says any more.
        runs: the number of the person's runs that were removed.
        cleaned: what was removed from the runs of others.
        cached: the number of cached numbers of its texts that were deleted.
        traces_left: whether another process kept the store open; see ``hyperalign.store.Removed``.
    """

    is_record: bool
    versions: tuple[int, ...]
    statements: frozenset[str]
    runs: int
    cleaned: Cleaned
    cached: int
    traces_left: bool


def keep(
    store: Store, records: Sequence[Record], *, encoder: str | None = None, redact: bool | None = None, note: str = ""
) -> Kept:
    """Keep records of one person and let their reward learn from them; statements are tested by the next update.

    Args:
        store: where.
        records: one person's, at least one.
        encoder: what a new reward reads texts with; see ``open_reward_of``.
        redact: whether to remove names, addresses and numbers; None does where the extra is installed.
        note: of the new version.

    Raises:
        RecordError: an id stands for another record; nothing was kept.
        StorageError: the store failed.
    """
    redactor = find_redactor(redact)
    given = list(records) if redactor is None else redact_texts(records, redactor)
    user = given[0].user
    known = {record.id for record in store.records(user, skip_damaged=True)}
    store.add_records(given)
    ids = tuple(record.id for record in given)
    new = tuple(name for name in dict.fromkeys(ids) if name not in known)
    if not new:
        return Kept(ids, new)
    try:
        profile, reward = open_reward_of(store, user, encoder=encoder)
    except HyperalignError as error:
        # What was given is kept all the same, and the next update learns from it.
        return Kept(ids, new, why_not=error.message)
    learned = profile.model_copy(update={"reward": reward.to_profile()}).touched()
    return Kept(ids, new, store.save(learned, note=note or f"{len(new)} new record(s)"))


def open_reward_of(store: Store, user: str, *, encoder: str | None = None) -> tuple[Profile, Reward]:
    """A person's profile, or an empty one, and their reward with all records of the store.

    Args:
        store: where.
        user: the person.
        encoder: what a new reward reads texts with, ``none`` for measured features alone; None for the embedded one
            where it can be had. A reward that is there keeps its own.

    Raises:
        InputError: the reward's population or encoder is not known here.
        ModelError: the encoder can't be used.
        MissingExtraError: the part that runs the reward's encoder is not installed.
    """
    from hyperalign.programs.reward import Reward

    from .models.encoders import DEFAULT_ENCODER, NO_ENCODER, open_encoder, open_population, reopen_encoder

    try:
        profile = store.load(user)
    except NotFoundError:
        profile = Profile(user=user)
    records = store.records(user, skip_damaged=True)
    if profile.reward is not None:
        reads = reopen_encoder(profile.reward, encoder=encoder)
        return profile, Reward.from_profile(profile.reward, encoder=reads).update(records)
    opened = None
    if encoder != NO_ENCODER:
        try:
            opened = open_encoder(encoder or DEFAULT_ENCODER)
        except (MissingExtraError, DownloadError):
            if encoder is not None:
                raise
    return profile, Reward.fit(records, population=open_population(opened), encoder=opened)


def forget(store: Store, user: str, name: str) -> Forgotten:
    """Delete a record or hypothesis from every version, with what rests on it alone and the runs that read it.

    A later fit does not find a forgotten hypothesis again.

    Args:
        store: where.
        user: the person.
        name: the id of a record or hypothesis, or the name of a dimension.

    Raises:
        NotFoundError: the person has nothing of that name.
        ProfileError: a version no longer loads; nothing was changed.
    """
    from hyperalign.programs.reward.edits import forget_record

    from .gateway.outcomes import forget_in
    from .models.number_cache import forget_texts

    records = store.records(user, skip_damaged=True)
    found = next((record for record in records if record.id == name), None)
    rest = [record for record in records if record.id != name]
    before = _statements(store, user)
    runs = remove_runs(user, record=name) if found else 0
    if found:
        # Before the amendment, after which the database's files are wiped.
        forget_in(store.address, user, record=name)
    amended = store.amend(
        user,
        lambda profile: forget_record(profile, found, rest) if found else forget_hypothesis(profile, name),
        record=name if found else None,
        without=without_others(user, name) if found else None,
    )
    cleaned, cached = Cleaned(), 0
    if found:
        others = [*rest, *store.other_records(user, OTHERS_COMPARED)]
        cleaned, cached = clean_runs(Traces(None, [found], others)), forget_texts([found])
    elif amended.versions:
        _keep_silent(store, user, name)
    else:
        store.records(user)  # a damaged one is named
        raise NotFoundError(
            f"{user} has no record and no hypothesis {name!r}.", remedy=f"See: hyperalign profile show {user} --all"
        )
    gone = frozenset(before - _statements(store, user))
    return Forgotten(found is not None, amended.versions, gone, runs, cleaned, cached, amended.traces_left)


def without_others(user: str, record: str | None = None) -> Callable[[str], str | None]:
    """A function that removes a person, or one record of theirs, from the memory of somebody else's fit."""
    from hyperalign.programs.fit_result import Memory

    def without(memory: str) -> str | None:
        try:
            return Memory.from_json(memory, where="what is remembered of somebody else").without(user, record).to_json()
        except InputError:
            return None  # Of another version: it must not prevent the removal.

    return without


def _keep_silent(store: Store, user: str, name: str) -> None:
    """Silence the hypothesis in the newest version too, because fits start from it."""
    newest = store.load(user)
    ids = {each for version in store.history(user) for each in store.load(user, version.number).silenced}
    missing = [each for each in (name, f"{SPACE_ID}{name}") if each in ids and each not in newest.silenced]
    if missing:
        store.save(silence(newest, missing).touched(), note="took a hypothesis out")


def _statements(store: Store, user: str) -> set[str]:
    """The statements of all versions."""
    try:
        profiles = [store.load(user, version.number) for version in store.history(user)]
    except NotFoundError:
        return set()
    return {each.statement for profile in profiles for each in [*profile.hypotheses, *profile.dropped]}
