"""What an eval is made of: cases about people, and the tasks that read them from benchmarks."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, Protocol, TypeVar, runtime_checkable

from hyperalign.errors import InputError
from hyperalign.records import Record, other_text, own_text

__all__ = [
    "Case",
    "CaseKind",
    "PeopleTask",
    "Split",
    "Task",
    "WritingTask",
    "case_id",
    "choose_people",
    "choose_users",
    "divergent",
    "fingerprint",
    "fold_people",
    "hash_text",
    "records_id",
    "split_of",
    "texts_in",
]

CaseKind = Literal["choice", "writing", "request"]
Split = Literal["dev", "test"]
_Value = TypeVar("_Value")
_FOLDS = 5
_MANY_PEOPLE = 60


@dataclass(frozen=True, slots=True)
class Case:
    """One question about one person.

    Attributes:
        id: unique in its task, and the same in every run.
        user: whose preferences or style the case tests.
        cluster: the unit that figures are averaged over.
        prompt: what is to be answered.
        records: what a profile may be fitted on; none of them holds an answer of this case.
        chosen: in a choice case, the answer that this person prefers.
        rejected: the other answer; in a rewriting case, another person's.
        draft: what both answers correct; empty where they correct nothing.
        reference: in a writing case, what the person wrote.
        stated: a description that comes with the person, and that every strategy may use.
        gold: the benchmark's own description of the person; only the condition ``gold`` uses it.
        agreement: in a choice between statements, a question with ``{text}`` in it that is asked of each statement
            (would they say it?), instead of scoring the statements themselves.
        persona: people with the same persona have the same preferences, so their profiles are no controls for each
            other; empty where every user is their own.
        dev: whether this person is of the split ``dev``; None to decide by the cluster's name.
        safe: in a request case, whether helping is harmless; None elsewhere.
        direction: the benchmark's value for each dimension of AlignX's space (1, 0, or 0.5 for neither); hidden from
            strategies.
    """

    id: str
    user: str
    cluster: str
    prompt: str
    records: tuple[Record, ...]
    chosen: str = ""
    rejected: str = ""
    draft: str = ""
    reference: str = ""
    stated: str = ""
    gold: str = ""
    agreement: str = ""
    persona: str = ""
    dev: bool | None = None
    safe: bool | None = None
    direction: tuple[float, ...] = ()

    @property
    def split(self) -> Split:
        """``dev`` to choose settings on, ``test`` to report on; stable for a cluster, about half of them each."""
        if self.dev is None:
            return split_of(self.cluster)
        return "dev" if self.dev else "test"

    @property
    def person(self) -> str:
        """The persona, or the user where there is none."""
        return self.persona or self.user

    @property
    def answers(self) -> set[str]:
        """All answers to it that are known."""
        return {self.chosen, self.rejected, self.reference} - {""}


class Task(Protocol):
    """A benchmark.

    A task may also have ``primary``, the metric that strategies are compared by; by default that is ``accuracy`` for
    choices, ``author_logprob`` for writing, and ``handled`` for requests.

    Attributes:
        name: its name on the command line.
        kind: of its cases.
        unit: what a cluster is, in a word or two.
    """

    name: str
    kind: CaseKind
    unit: str

    def cases(self, *, seed: int = 0) -> list[Case]:
        """All cases; one person's do not depend on who else there is.

        Args:
            seed: of all sampling.

        Raises:
            InputError: the data are missing or malformed.
        """
        ...

    def note(self) -> str:
        """What a reader of the results must know, in a sentence or two; may be empty."""
        ...


@runtime_checkable
class WritingTask(Task, Protocol):
    """A writing task; authorship metrics are trained on its texts."""

    def texts(self) -> Mapping[str, Sequence[str]]:
        """Texts by user, without the references of cases; records may be among them."""
        ...


@runtime_checkable
class PeopleTask(Task, Protocol):
    """A task whose people have records of one kind, so that a prior can be estimated on some people for others."""

    def people(self, *, split: Split | None = None) -> Mapping[str, Sequence[Record]]:
        """All records of each person, by the name that ``Case.person`` has, also of people without a case.

        They hold answers of these people's own cases, and may hold a rejected answer of somebody else's.

        Args:
            split: only people of this one, as their cases are split; everybody if None.

        Raises:
            InputError: the data are missing or malformed.
        """
        ...


def split_of(cluster: str) -> Split:
    """The split of a cluster by the hash of its name."""
    return "dev" if hash_text(cluster) % 2 == 0 else "test"


def hash_text(text: str) -> int:
    """A number that looks random, and is the same in every process."""
    return int(hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest(), 16)


def choose_people(people: Mapping[str, _Value], split: Split | None) -> dict[str, _Value]:
    """The people of a split, where each person is a cluster; everybody if ``split`` is None."""
    return {person: theirs for person, theirs in people.items() if split in {None, split_of(person)}}


def fold_people(people: Iterable[str]) -> dict[str, int]:
    """Parts of people of nearly equal size for cross-fitting: five, two of many people, and one a person of few."""
    ranked = sorted(people, key=hash_text)
    parts = 2 if len(ranked) >= _MANY_PEOPLE else _FOLDS if len(ranked) >= 2 * _FOLDS else max(1, len(ranked))
    return {person: rank % parts for rank, person in enumerate(ranked)}


def texts_in(records: Iterable[Record]) -> set[str]:
    """All texts in some records, preferred and rejected."""
    return {text for record in records for text in (own_text(record), other_text(record)) if text}


def case_id(*parts: str) -> str:
    """A short hash of some strings."""
    return hashlib.sha256("\x1f".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:12]


def records_id(records: Sequence[Record]) -> str:
    """A short hash of records, by all their content and not by their ids."""
    return case_id(*(json.dumps(record.model_dump(mode="json"), sort_keys=True) for record in records))


def fingerprint(cases: Iterable[Case]) -> str:
    """A short hash of cases, by all their content."""
    whole = [asdict(case) | {"records": records_id(case.records)} for case in cases]
    return case_id(*(json.dumps(case, sort_keys=True) for case in whole))


def divergent(cases: Sequence[Case]) -> list[str]:
    """Ids of the cases whose answers different people prefer differently (WikiPersona's divergent questions)."""
    sides: dict[tuple[str, frozenset[str]], set[str]] = {}
    for case in cases:
        sides.setdefault(_question(case), set()).add(case.chosen)
    return [case.id for case in cases if len(sides[_question(case)]) > 1]


def _question(case: Case) -> tuple[str, frozenset[str]]:
    return case.prompt, frozenset((case.chosen, case.rejected))


def choose_users(cases: Iterable[Case], users: int | None, seed: int) -> list[Case]:
    """The cases of a random sample of users, in their original order.

    Args:
        cases: of all users.
        users: the sample's size; all users if None.
        seed: of the sample.

    Raises:
        InputError: ``users`` is below one.
    """
    everything = list(cases)
    names: Sequence[str] = sorted({case.user for case in everything})
    if users is None or users >= len(names):
        return everything
    if users < 1:
        raise InputError(f"{users} users were asked for.", remedy="Ask for at least one.")
    sampled = set(random.Random(seed).sample(names, users))
    return [case for case in everything if case.user in sampled]
