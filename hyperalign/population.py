"""Reference populations: the other people that a person is compared with.

They come from the store, from a folder, or from the example people that ship.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from importlib import resources
from itertools import chain, zip_longest
from pathlib import Path
from typing import Protocol

from .dependence import drop_repeats, fingerprint, group_dependent
from .errors import InputError, RecordError, UserIdError
from .ingest import parse_line, read_everyone, read_records
from .records import Record, add_rated_pairs, are_choices, check_user, prompt_of

__all__ = ["FolderPopulation", "Population", "ShippedPopulation", "StorePopulation", "choose_reference_records"]


_TABLES = {".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet"}


class Population(Protocol):
    """Other people's records."""

    @property
    def name(self) -> str:
        """A name for the profile's provenance."""
        ...

    def records(self, user: str) -> list[Record]:
        """All records of people other than ``user``, in a fixed order."""
        ...


class StorePopulation:
    """Other users of a store.

    Args:
        others: returns the records of everybody but the given user.
        name: a name for the profile's provenance.
    """

    def __init__(self, others: Callable[[str], Iterable[Record]], name: str = "other users of the store") -> None:
        self._others = others
        self.name = name

    def records(self, user: str) -> list[Record]:
        """All records of the store's other users."""
        return [record for record in self._others(user) if record.user != user]


class FolderPopulation:
    """A folder with a sub-folder or JSONL file for each person, or one JSONL file of many people.

    Args:
        path: the folder or file.

    Raises:
        InputError: it does not exist.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise InputError(f"{path}: no such folder.", remedy="--population takes a folder or a JSONL file.")
        self._path = path
        self.name = f"folder {path.name}"

    def records(self, user: str) -> list[Record]:
        """All records in the folder but the user's own.

        Raises:
            InputError: there is none.
        """
        entries = sorted(self._path.iterdir()) if self._path.is_dir() else [self._path]
        found = [record for each in entries if not each.name.startswith(".") for record in _read_entry(each)]
        others = [record for record in found if record.user != user]
        if not others:
            raise InputError(
                f"{self._path}: no records of other people there.",
                remedy="It should hold a sub-folder of texts, or a JSONL file, for each person.",
            )
        return others


class ShippedPopulation:
    """The example people that come with hyperalign."""

    name = "example people"

    def records(self, user: str) -> list[Record]:
        """The example people's samples and pairs, without those of ``user``."""
        people = resources.files("hyperalign").joinpath("people")
        files = sorted((file for file in people.iterdir() if file.name.endswith(".jsonl")), key=lambda file: file.name)
        lines = [(file.name, line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]
        records = add_rated_pairs(parse_line(line, where) for where, line in lines if line.strip())
        return [record for record in records if record.user != user]


def choose_reference_records(population: Population, user: str, like: Sequence[Record], count: int) -> list[Record]:
    """Choose other people's records to compare a person's records with.

    People take turns in the order of the hashes of their names, since the order of a file may depend on who they are.

    Args:
        population: other people's records.
        user: the person who is compared.
        like: the person's records.
        count: the most records to choose.

    Returns:
        Records of the kinds in ``like`` (any choices if those are choices and nobody has that kind), those that answer
        the same prompts first, spread evenly over people.
    """
    prompts = {prompt_of(record) for record in like} - {""}
    people: dict[str, list[Record]] = {}
    for record in _of_same_kind(population.records(user), like):
        people.setdefault(record.user, []).append(record)
    people = {name: _independent_first(people[name], prompts) for name in sorted(people, key=_hashed)}
    # Person 1 starts with prompt 1, person 2 with prompt 2, …, so that few records cover many prompts.
    turned = [theirs[i % len(theirs) :] + theirs[: i % len(theirs)] for i, theirs in enumerate(people.values())]
    in_turn = chain.from_iterable(zip_longest(*turned))
    return [record for record in in_turn if record is not None][:count]


def _independent_first(records: Sequence[Record], prompts: Collection[str]) -> list[Record]:
    """One person's distinct records: those that answer some prompts first, but one of each question before others."""
    distinct = drop_repeats(records)
    distinct.sort(key=lambda record: prompt_of(record) not in prompts)
    met, places = Counter[int](), dict[str, int]()
    for record, group in zip(distinct, group_dependent([fingerprint(each) for each in distinct]), strict=True):
        places[record.id] = met[group]
        met[group] += 1
    return sorted(distinct, key=lambda record: places[record.id])


def _hashed(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _of_same_kind(records: Sequence[Record], like: Sequence[Record]) -> list[Record]:
    kinds = {type(record) for record in like}
    same = [record for record in records if type(record) in kinds]
    # For pairs, other people's edits are a better reference than none, and the other way around.
    return same or [record for record in records if like and are_choices(like) and are_choices([record])]


def _read_entry(entry: Path) -> list[Record]:
    if entry.is_file() and entry.suffix.lower() in _TABLES:
        return [record for _, records in read_everyone([entry], unnamed=entry.stem) for record in records]
    if entry.is_dir():
        try:
            return read_records([entry], user=check_user(entry.name), skip_bad=True).records
        except (RecordError, UserIdError):
            return []
    return []
