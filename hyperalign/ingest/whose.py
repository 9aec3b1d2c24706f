"""Whose words are read: who is in the files, and which of them a name, an address or an id chooses.

Somebody is chosen by ``me``, by an id that is their name, or since the file says that it is their export. Of two people
whom one name fits, none is taken.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from hyperalign.errors import RecordError, UserIdError
from hyperalign.records import check_user

from .interface import Author, comparable_name

__all__ = [
    "KINDS",
    "Choice",
    "Present",
    "choose",
    "count_kinds",
    "group_people",
    "is_unnamed_owner",
    "key_of",
    "valid_user",
]

KINDS = {"texts": "text", "choices": "choice", "edits": "edit", "ratings": "rating"}
"""What is counted, in the plural and the singular."""

_SHOWN = 8
_UNNAMED_OWNERS = {"user", "me", "you", "owner", "human"}

Kinds = Counter[str]


@dataclass
class Present:
    """Who is in the files of one format.

    Attributes:
        title: of the format.
        authors: how many of what each wrote.
        unnamed: how many of what do not say whose they are.
        files: the names of the files.
    """

    title: str
    authors: dict[Author, Kinds] = field(default_factory=dict)
    unnamed: Kinds = field(default_factory=Counter)
    files: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Choice:
    """Whose words are taken.

    Attributes:
        user: the id under which they are kept; None if nothing says whose words they are.
        authors: by format, the authors that are this person.
        unmatched: one message for each kind of files in which nobody was chosen.
    """

    user: str | None
    authors: Mapping[str, frozenset[Author]]
    unmatched: tuple[str, ...] = ()


def choose(present: Mapping[str, Present], user: str | None, me: Sequence[str], where: str) -> Choice:
    """Choose one person among those in the files.

    Args:
        present: by format, who is in its files.
        user: the id to keep the records under, which also chooses people of that name.
        me: names, addresses or ids of the person.
        where: the files, for errors.

    Raises:
        RecordError: nobody is chosen, and the files hold several people or somebody else; or a name fits several.
    """
    chosen = {name: _choose_in(group, user, me) for name, group in present.items()}
    named = {name for name, group in present.items() if group.authors}
    if named and not any(chosen.values()):
        people = [(name, person) for name in sorted(named) for person in group_people(present[name].authors)]
        names = {comparable_name(person[0].name) for _, person in people}
        if user is not None or me or len(names) > 1 or len(people) > len(named):
            raise _nobody_chosen([present[name] for name in sorted(named)], user, me, where)
        chosen |= {name: frozenset(person) for name, person in people}
    elif user is None and not me:
        _check_one_person(present, chosen, where)
    unmatched = tuple(_say_unmatched(present[name]) for name in sorted(named) if not chosen[name])
    return Choice(user or _make_id(present, chosen, me, where), chosen, unmatched)


def _say_unmatched(group: Present) -> str:
    files = group.files[0] + (f" and {len(group.files) - 1} more" if len(group.files) > 1 else "")
    people = _count_people((name, kinds) for name, kinds, _ in _people_of([group]))
    return f"{files}: nobody in it is the person; there are {people}. A second --me takes somebody's words."


def _choose_in(group: Present, user: str | None, me: Sequence[str]) -> frozenset[Author]:
    picked: set[Author] = set()
    for name in me:
        picked |= _pick(group, name)
    if not picked and user is not None:
        picked = _pick(group, user)
    owners = {author for author in group.authors if author.is_owner}
    is_other = bool(me) and not all(comparable_name(each.name) in _UNNAMED_OWNERS for each in owners)
    if not picked and owners and not is_other:
        if len(people := group_people({each: group.authors[each] for each in owners})) > 1:
            raise _several(group, people, group.files[0], "Each of these is the export of somebody else: ")
        picked = owners
    return frozenset(picked)


def _pick(group: Present, name: str) -> set[Author]:
    """The authors whom a name fits: those written so exactly before others, and never two people."""
    found = [author for author in group.authors if author.is_called(name)]
    wanted = _composed(name)
    exact = [each for each in found if wanted in {_composed(other) for other in (each.name, *each.also)}]
    people = group_people({each: group.authors[each] for each in found})
    if len(people) > 1 and exact:
        people = [person for person in people if any(each in exact for each in person)]
    if len(people) > 1 and not _is_key(name):
        raise _several(group, people, group.files[0], f"{name!r} fits several: ")
    return {author for person in people for author in person}


def group_people(authors: Mapping[Author, Kinds]) -> list[list[Author]]:
    """The authors that are one person each: those who share an address or an id, or who have none but one name."""
    person: dict[str, int] = {}
    people: list[list[Author]] = []
    for author in authors:
        keys = (
            {comparable_name(each) for each in (author.name, *author.also) if _is_key(each)} if author.also else set()
        )
        keys = keys or {f"name {_composed(author.name)}"}
        known = sorted({person[key] for key in keys if key in person})
        at = known[0] if known else len(people)
        if not known:
            people.append([])
        for other in known[1:]:
            people[at] += people[other]
            people[other] = []
            person.update({key: at for key, place in person.items() if place == other})
        people[at].append(author)
        person.update(dict.fromkeys(keys, at))
    return _join_unkeyed([each for each in people if each])


def _join_unkeyed(people: list[list[Author]]) -> list[list[Author]]:
    """Add authors who have a name alone to the one person of that name, as rows may leave out an address."""
    keyed: dict[str, list[list[Author]]] = {}
    for person in people:
        if any(author.also for author in person):
            for name in {_composed(author.name) for author in person}:
                keyed.setdefault(name, []).append(person)
    joined = []
    for person in people:
        same = [] if any(author.also for author in person) else keyed.get(_composed(person[0].name), [])
        if len(same) == 1:
            same[0].extend(person)
        else:
            joined.append(person)
    return joined


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip()


def _is_key(name: str) -> bool:
    """Whether no two people have a name: addresses, telephone numbers and ids."""
    return "@" in name[1:] or any(letter.isdigit() for letter in name)


def count_kinds(kinds: Mapping[str, int]) -> str:
    """Counts in words: "41 texts, 2 choices"."""
    return ", ".join(f"{count} {kind if count != 1 else KINDS[kind]}" for kind, count in kinds.items() if count)


def _count_people(people: Iterable[tuple[str, Kinds]]) -> str:
    most = sorted(people, key=lambda person: (-person[1].total(), person[0]))
    shown = ", ".join(f"{name} ({count_kinds(kinds)})" for name, kinds in most[:_SHOWN])
    return shown + (f" and {len(most) - _SHOWN} more" if len(most) > _SHOWN else "")


def key_of(author: Author) -> str:
    """The address or else the number that tells somebody from others of the same name; empty if there is none."""
    return min((each for each in author.also if _is_key(each)), key=lambda each: ("@" not in each, each), default="")


def _shown(author: Author) -> str:
    """A name with the address or number that tells people of one name apart."""
    other = key_of(author)
    return f"{author.name} <{other}>" if other and other != author.name else author.name


def _people_of(groups: Iterable[Present]) -> Iterator[tuple[str, Kinds, Author]]:
    for group in groups:
        for person in group_people(group.authors):
            first = max(person, key=lambda each: group.authors[each].total())
            yield _shown(first), sum((group.authors[each] for each in person), Counter[str]()), first


def _nobody_chosen(groups: Sequence[Present], user: str | None, me: Sequence[str], where: str) -> RecordError:
    people = sorted(_people_of(groups), key=lambda person: (-person[1].total(), person[0]))
    asked = [*me, *([user] if user is not None and not me else [])]
    several = f"{len(people)} people are in it" if len(people) > 1 else "one person is in it"
    listed = f"{several}: {_count_people((name, kinds) for name, kinds, _ in people)}."
    near = _nearest(asked, [author for _, _, author in people])
    best = near or people[0][2]
    keep = f' --user "{user}"' if user is not None else ""
    how = f'--me "{_calling(best)}"{keep}'
    if any(group.title == "transcript" for group in groups):
        how += "; or, if it is all one text of theirs: --as text"
    remedy = f"Did you mean {best.name!r}? Say so: {how}" if near else f"Say who is meant, for example: {how}"
    if not asked:
        return RecordError(listed, path=where, remedy=f"Choose one: {how}")
    who = " or ".join(repr(each) for each in asked)
    return RecordError(f"nobody there is {who}; {listed}", path=where, remedy=remedy)


def _calling(author: Author) -> str:
    """What chooses somebody surely."""
    return min((each for each in author.also if "@" in each[1:]), default=author.name)


def _nearest(asked: Sequence[str], authors: Sequence[Author]) -> Author | None:
    """The author with the name nearest to one that chose nobody."""
    names = {comparable_name(name): author for author in authors for name in (*author.also, author.name)}
    for each in asked:
        wanted = comparable_name(each)
        near = difflib.get_close_matches(wanted, names, n=1, cutoff=0.7)
        near = near or [
            name for name in names if len(wanted) > 2 and (wanted in name.split() or name in wanted.split())
        ]
        if near:
            return names[near[0]]
    return None


def _several(group: Present, people: Sequence[Sequence[Author]], where: str, begin: str) -> RecordError:
    counted = [
        (_shown(person[0]), sum((group.authors[each] for each in person if each in group.authors), Counter[str]()))
        for person in people
    ]
    keys = [min((each for each in person[0].also if _is_key(each)), default=person[0].name) for person in people]
    return RecordError(
        f"{begin}{_count_people(counted)}.",
        path=where,
        remedy=f'Choose by what only one of them has, for example: --me "{keys[0]}". --me may be given several times.',
    )


def _check_one_person(present: Mapping[str, Present], chosen: dict[str, frozenset[Author]], where: str) -> None:
    """Without a name nobody else may be in the files: people who are owners of their exports may be one or two."""
    others = [present[name] for name, authors in chosen.items() if present[name].authors and not authors]
    if others:
        raise _nobody_chosen(others, None, (), where)


def _make_id(
    present: Mapping[str, Present], chosen: Mapping[str, frozenset[Author]], me: Sequence[str], where: str
) -> str | None:
    """The id of the person chosen: the name of the one who wrote most, if it is a valid id."""
    total = Counter[str]()
    for name, authors in chosen.items():
        for author in authors:
            total[author.name] += present[name].authors[author].total()
    names = [name for name, _ in total.most_common()]
    if not names or all(comparable_name(name) in _UNNAMED_OWNERS for name in names):
        # An export may not name its owner; two people's would become one.
        names = list(me)
    if not names and total:
        raise RecordError("nothing names whose export this is.", path=where, remedy="Add --user NAME.")
    if not names:
        return None
    try:
        return next((name for name in names if valid_user(name)), None) or check_user(names[0])
    except UserIdError as error:
        line = None
        raise RecordError(
            error.message, path=where, line=line, remedy=f"Name the person: --user NAME. {error.remedy}"
        ) from error


def is_unnamed_owner(author: Author) -> bool:
    """Whether somebody is the owner of an export that does not say who that is."""
    return author.is_owner and comparable_name(author.name) in _UNNAMED_OWNERS


def valid_user(name: str) -> bool:
    """Whether a name can be a user id as it is."""
    try:
        check_user(name)
    except UserIdError:
        return False
    return True
