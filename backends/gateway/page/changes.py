"""What a person changes on their page: each change is a new version, so that it can be undone, unless it forgets.

Notes of versions name ids and never repeat a statement: what is forgotten later must stand nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from hyperalign.backends.keeping import Forgotten
from hyperalign.backends.keeping import forget as forget_everywhere
from hyperalign.edits import silence
from hyperalign.errors import InputError, NotFoundError
from hyperalign.profile import SPACE_ID, Hypothesis, Profile
from hyperalign.programs.reward.edits import apply_edited_weights, has_feature, mark_edited, set_weight
from hyperalign.programs.reward.edits import flip as flip_name
from hyperalign.runs import lock_person
from hyperalign.store import Store
from hyperalign.text import printable

__all__ = ["BusyError", "Changes", "find_turned_off"]

_LONGEST: Final = 500
_BUSY: Final = "hyperalign is learning from you at this moment."


class BusyError(InputError):
    """Somebody else is at work on the person, and may be for minutes."""


class Changes:
    """Changes one person's profile in a store.

    Each method returns the number of the new version.

    Args:
        store: where.
        user: the person.
    """

    def __init__(self, store: Store, user: str) -> None:
        self._store = store
        self._user = user

    def turn_off(self, name: str) -> int:
        """Take a statement out of use; no later fit brings it back until it is turned on.

        Raises:
            NotFoundError: the newest version has no such statement.
        """
        return self._save(lambda profile: silence(profile, [self._kept(profile, name).id]), f"turned off {name}")

    def turn_on(self, name: str) -> int:
        """Bring a statement back that was turned off, as it last was.

        Raises:
            NotFoundError: no version has it.
        """

        def bring_back(profile: Profile) -> Profile:
            before = find_turned_off(self._store, profile)
            if name not in before:
                raise NotFoundError("That statement is not turned off.")
            found, old = before[name]
            axis = name.removeprefix(SPACE_ID)
            leaning = {axis: old.direction[axis]} if name.startswith(SPACE_ID) and axis in old.direction else {}
            return profile.model_copy(
                update={
                    "hypotheses": [*profile.hypotheses, found],
                    "silenced": [each for each in profile.silenced if each != name],
                    "direction": {**profile.direction, **leaning},
                }
            )

        return self._save(bring_back, f"turned on {name}")

    def flip(self, name: str) -> int:
        """Turn a statement, or a measured preference, into its opposite.

        Raises:
            NotFoundError: there is nothing of that name.
            InputError: the statement has no opposite.
        """
        return self._save(lambda profile: flip_name(profile, name), f"flipped {name}")

    def ignore(self, feature: str) -> int:
        """Let a measured preference decide nothing.

        Raises:
            InputError: there is no such preference.
        """

        def work(profile: Profile) -> Profile:
            if not has_feature(profile, feature):
                raise InputError("There is no such preference.")
            return set_weight(profile, feature, 0.0)

        return self._save(work, f"set {feature} to 0")

    def correct(self, name: str, statement: str) -> int:
        """Put a statement in the person's own words; it then counts as theirs, without a test.

        Raises:
            NotFoundError: there is no such statement.
            InputError: the new one is empty or too long.
        """
        said = _check(statement)

        def work(profile: Profile) -> Profile:
            old = self._kept(profile, name)
            new = [
                each.model_copy(update={"statement": said}) if each.id == old.id else each
                for each in profile.hypotheses
            ]
            return apply_edited_weights(profile, mark_edited(profile, profile.model_copy(update={"hypotheses": new})))

        return self._save(work, f"corrected {name}")

    def add(self, statement: str) -> int:
        """Add a statement of the person's own.

        Raises:
            InputError: it is empty or too long, or already there.
        """
        said = _check(statement)

        def work(profile: Profile) -> Profile:
            if said in profile.stated:
                raise InputError("You said that already.")
            return profile.model_copy(update={"stated": [*profile.stated, said]})

        return self._save(work, "added a statement of one's own")

    def take_back(self, statement: str) -> int:
        """Take out a statement of the person's own.

        Raises:
            NotFoundError: it is not there.
        """

        def work(profile: Profile) -> Profile:
            # A page shows, and a form brings back, what can be printed of it.
            left = [each for each in profile.stated if printable(each) != printable(statement)]
            if len(left) == len(profile.stated):
                raise NotFoundError("That is not among what you said.")
            return profile.model_copy(update={"stated": left})

        return self._save(work, "took back a statement of one's own")

    def restore(self, version: int) -> int:
        """Go back to an earlier version, as a new one.

        Raises:
            NotFoundError: there is no such version.
        """
        return self._save(lambda _: self._store.load(self._user, version), f"went back to version {version}")

    def forget(self, name: str) -> Forgotten:
        """Forget a record or a statement for good, in all versions. This can't be undone.

        Raises:
            NotFoundError: there is nothing of that name.
        """
        with _alone(self._user):
            return forget_everywhere(self._store, self._user, name)

    def _save(self, change: Callable[[Profile], Profile], note: str) -> int:
        with _alone(self._user):
            try:
                profile = self._store.load(self._user)
            except NotFoundError:
                profile = Profile(user=self._user)
            return self._store.save(change(profile).touched(), note)

    @staticmethod
    def _kept(profile: Profile, name: str) -> Hypothesis:
        found = next((each for each in profile.hypotheses if each.id == name), None)
        if found is None:
            raise NotFoundError("That statement is not in use any more.")
        return found


def find_turned_off(store: Store, profile: Profile) -> dict[str, tuple[Hypothesis, Profile]]:
    """By id, statements that the person turned off, as they last were, each with the version that had it.

    Args:
        store: has the versions; what was forgotten stands in none.
        profile: the newest version.
    """
    wanted = set(profile.silenced)
    found: dict[str, tuple[Hypothesis, Profile]] = {}
    for version in reversed(store.history(profile.user)) if wanted else ():
        old = store.load(profile.user, version.number)
        for each in old.hypotheses:
            if each.id in wanted and each.id not in found:
                found[each.id] = each, old
        if found.keys() == wanted:
            break
    return {name: found[name] for name in profile.silenced if name in found}


@contextmanager
def _alone(user: str) -> Iterator[None]:
    """Let nobody else change the person meanwhile; a fit may take minutes, for which no page waits."""

    def refuse() -> None:
        raise BusyError(_BUSY, remedy="Try again in a minute; nothing was changed.")

    with lock_person(user, waits=refuse):
        yield


def _check(statement: str) -> str:
    said = " ".join(statement.split())
    if not said:
        raise InputError("The statement is empty.", remedy="Write a sentence, such as: No emoji, please.")
    if len(said) > _LONGEST:
        raise InputError(f"The statement has {len(said)} characters.", remedy=f"Use at most {_LONGEST}.")
    return said
