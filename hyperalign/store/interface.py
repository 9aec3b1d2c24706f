"""The protocol of stores, and what they return: people, versions, bundles and what a removal took away."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from hyperalign.errors import InputError
from hyperalign.profile import Profile
from hyperalign.records import Record, check_user
from hyperalign.text import describe_invalid_field

if TYPE_CHECKING:
    from sqlalchemy import URL

__all__ = ["Bundle", "BundledVersion", "Person", "Removed", "StoreLike", "Version", "describe_place"]


@dataclass(frozen=True, slots=True)
class Person:
    """A person in a store, with the number of their records and of the versions of their profile."""

    user: str
    records: int
    versions: int


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a profile, without the profile itself.

    Attributes:
        number: counts from 1 for each person, and is not reused as long as the person is in the store.
        time: when it was saved, in UTC.
        note: why it was saved, in a few words; may be empty.
        kept: the number of kept hypotheses.
        dropped: the number of dropped hypotheses.
    """

    number: int
    time: datetime
    note: str
    kept: int
    dropped: int


@dataclass(frozen=True, slots=True)
class Amended:
    """The versions of a profile that were changed in place.

    Attributes:
        versions: their numbers, oldest first.
        traces_left: as in ``Removed``.
    """

    versions: tuple[int, ...]
    traces_left: bool = False


@dataclass(frozen=True, slots=True)
class Removed:
    """What the removal of a person deleted.

    Attributes:
        records: the number of records.
        versions: the number of versions of the profile.
        traces_left: whether another process kept the database open, so that deleted text may still be in its files;
            ``Store.scrub`` wipes it once that process has ended.
    """

    records: int
    versions: int
    traces_left: bool


class BundledVersion(BaseModel):
    """One version of a profile, in a bundle."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: Annotated[int, Field(ge=1)]
    time: datetime
    note: str = ""
    profile: Profile


class Bundle(BaseModel):
    """All that a store holds of one person: records and every version of the profile."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bundle_version: Literal[1] = 1
    user: str
    records: list[Record] = []
    versions: list[BundledVersion] = []

    @field_validator("user")
    @classmethod
    def _is_user(cls, value: str) -> str:
        return check_user(value)

    @model_validator(mode="after")
    def _is_of_one_person(self) -> Bundle:
        others = {record.user for record in self.records} | {version.profile.user for version in self.versions}
        if others - {self.user}:
            raise ValueError(f"a bundle of {self.user!r} holds records or profiles of somebody else")
        return self

    def to_json(self) -> str:
        """The bundle as indented JSON that ends in a newline."""
        return self.model_dump_json(indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, *, where: str = "bundle") -> Bundle:
        """Read what ``to_json`` wrote.

        Args:
            text: JSON.
            where: the file's name, for the error.

        Raises:
            InputError: it is not a bundle; the message has the first wrong field.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise InputError(
                f"{where}: {describe_invalid_field(error)}.",
                remedy="Give a file that 'hyperalign profile export' wrote; 'hyperalign profile edit' takes a profile.",
            ) from error


@runtime_checkable
class StoreLike(Protocol):
    """Whatever keeps people's records and profiles."""

    def add_records(self, records: Iterable[Record]) -> int:
        """Add records; returns how many are new."""
        ...

    def records(self, user: str) -> list[Record]:
        """A person's records, in the order they were added."""
        ...

    def other_records(self, user: str, limit: int) -> list[Record]:
        """At most ``limit`` records of each kind of everybody else, people taking turns."""
        ...

    def users(self) -> list[Person]:
        """Everybody in the store, sorted by id."""
        ...

    def save(self, profile: Profile, note: str = "") -> int:
        """Append a version of a profile; returns its number."""
        ...

    def load(self, user: str, version: int | None = None) -> Profile:
        """A person's profile: a version, or the newest if None."""
        ...

    def history(self, user: str) -> list[Version]:
        """A person's versions, oldest first."""
        ...

    def remove(self, user: str) -> Removed:
        """Delete a person's records and all versions of their profile."""
        ...


def describe_place(url: URL) -> str:
    """The place of a store for messages: a path, or a URL without its password."""
    if url.get_backend_name() == "sqlite" and url.database:
        return url.database
    # The query may hold a password too.
    return url.set(query={}).render_as_string(hide_password=True)
