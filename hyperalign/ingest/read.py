"""Read the records of one person, or of everybody, from files of any format that is known.

Every file is opened, told by its content, and read into what people wrote; then one person is chosen, and only that
person's words become records. A bad line is reported with its file, its number and what was expected.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from hyperalign.errors import RecordError
from hyperalign.records import Rating, Record, check_user, make_pairs, merge_copies, parse_fields

from .gathering import FileReport, Gathered, ReadFile, gather_files, kind_of, list_present
from .interface import Author, Fields, Utterance
from .opening import describe
from .registry import family
from .rows import place
from .whose import Choice, Kinds, Present, choose, group_people, is_unnamed_owner, key_of

__all__ = ["Check", "FileReport", "Reading", "check_files", "read_everyone", "read_records"]


@dataclass(frozen=True)
class Reading:
    """Records read, and what was skipped.

    Attributes:
        records: in the order read, without repeats, of which the newest counts; pairs made of ratings come last.
        skipped: one message for each bad line or file skipped with ``skip_bad``.
        repeated: how many records were copies of an earlier one.
        ratings: how many ratings were read.
        rated_pairs: how many pairs were made of them.
        files: what each file holds, and what of it was taken.
        unmatched: one message for each kind of files in which nobody is the person, though others hold them.
    """

    records: list[Record]
    skipped: list[str]
    repeated: int
    ratings: int = 0
    rated_pairs: int = 0
    files: list[FileReport] = field(default_factory=list)
    unmatched: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Check:
    """What a fit would read.

    Attributes:
        files: what each file holds.
        reading: the records; None if a fit would refuse the files.
        problem: why it would; None if it would not.
    """

    files: list[FileReport]
    reading: Reading | None
    problem: RecordError | None


def read_records(
    paths: Any,
    *,
    user: str | None = None,
    me: str | Sequence[str] | None = None,
    format: str | None = None,
    columns: Mapping[str, str] | None = None,
    skip_bad: bool = False,
    stdin: BinaryIO | None = None,
) -> Reading:
    """Read all records of one person.

    Args:
        paths: files, folders (every file in them is looked at), ZIP archives, ``-`` for standard input, or dicts with
            the fields of a record; a sequence of these, one alone, a pandas ``DataFrame``, an Arrow ``Table`` or a
            Hugging Face ``Dataset``.
        user: the id to keep the records under. Text needs it; of several people it chooses the one of this name, and it
            is added to rows that do not say whose they are.
        me: the person's name, address or id in the files, or several; without ``user``, the id is made of the name.
        format: the name of the format; None to tell it by each file's content.
        columns: which column, or nested path such as ``data.answer.text``, holds which field.
        skip_bad: skip bad lines and files, and report them in ``skipped``.
        stdin: what ``-`` reads; ``sys.stdin.buffer`` if None.

    Raises:
        RecordError: a file is missing, empty, too large, of no known format, or has a bad line; two different records
            have the same id; the files hold several people and none is chosen; or nothing was read.
        UserIdError: ``user`` is not a valid user id.
    """
    paths, where = _listed(paths)
    user = check_user(user) if user is not None else None
    gathered = gather_files(paths, format, columns, stdin, skip_bad=skip_bad)
    return _read_one(gathered, user, [me] if isinstance(me, str) else list(me or ()), where)


def check_files(
    paths: Any,
    *,
    user: str | None = None,
    me: str | Sequence[str] | None = None,
    format: str | None = None,
    columns: Mapping[str, str] | None = None,
    skip_bad: bool = False,
    stdin: BinaryIO | None = None,
) -> Check:
    """What a fit of the same files would read: whose, how many of what, what is passed over, and why it would refuse.

    Args:
        paths: as for ``read_records``, as are all others.
        user: the id to keep the records under.
        me: the person's name, address or id.
        format: the name of the format.
        columns: which column holds which field.
        skip_bad: whether the fit would skip bad lines and files.
        stdin: what ``-`` reads.

    Raises:
        UserIdError: ``user`` is not a valid user id.
    """
    paths, where = _listed(paths)
    user = check_user(user) if user is not None else None
    gathered = gather_files(paths, format, columns, stdin, skip_bad=True)
    problem = gathered.problems[0] if gathered.problems and not skip_bad else None
    try:
        reading = _read_one(gathered, user, [me] if isinstance(me, str) else list(me or ()), where)
    except RecordError as error:
        nobody = Choice(None, {})
        reports = [*(_report(file, nobody) for file in gathered.files), *gathered.unread]
        return Check(reports, None, problem or error)
    return Check(reading.files, None if problem else reading, problem)


def read_everyone(
    paths: Any,
    *,
    unnamed: str | None = None,
    format: str | None = None,
    columns: Mapping[str, str] | None = None,
    skip_bad: bool = False,
    skipped: list[str] | None = None,
    stdin: BinaryIO | None = None,
) -> Iterator[tuple[str, list[Record]]]:
    """Read the records of everybody in the files, one person after the other, in the order in which they first appear.

    Args:
        paths: as for ``read_records``.
        unnamed: the id of what does not say whose it is; None to refuse it.
        format: the name of the format; None to tell it by each file's content.
        columns: which column holds which field.
        skip_bad: skip bad lines, files and people whose name is no user id.
        skipped: gets a message for each that was skipped.
        stdin: what ``-`` reads.

    Yields:
        Each user id with the records, pairs made of ratings last. Somebody without any record is left out.

    Raises:
        RecordError: as ``read_records``, and where a name is no user id.
    """
    paths, where = _listed(paths)
    gathered = gather_files(paths, format, columns, stdin, skip_bad=skip_bad)
    people: dict[str, list[tuple[ReadFile, Utterance | Fields]]] = {}
    for name, group in list_present(gathered.files).items():
        ids = _ids(group, gathered, where)
        for file in gathered.files:
            if family(file.format) != name:
                continue
            for entry in file.entries:
                is_unnamed = entry.author is None or is_unnamed_owner(entry.author)
                user = ids.get(entry.author) if entry.author is not None and not is_unnamed else unnamed
                if user is not None:
                    people.setdefault(user, []).append((file, entry))
                elif is_unnamed:
                    gathered.fail(_says_not_whose(file, entry))
            file.entries = []
    told = _tell_skipped(gathered, skipped, 0)
    for user in list(people):
        records = _to_records(_items(people.pop(user), user, gathered), gathered)[0]
        told = _tell_skipped(gathered, skipped, told)
        if records:
            yield user, records


def _tell_skipped(gathered: Gathered, skipped: list[str] | None, told: int) -> int:
    """Add the errors after the first ``told`` to a caller's list; how many there are now."""
    if skipped is not None:
        skipped += [str(problem) for problem in gathered.problems[told:]]
    return len(gathered.problems)


def _ids(group: Present, gathered: Gathered, where: str) -> dict[Author, str]:
    """By author, the user id: the name under which the person wrote most."""
    ids: dict[Author, str] = {}
    people = group_people(group.authors)
    firsts = [max(person, key=lambda each: group.authors[each].total()) for person in people]
    uses = Counter(each.name for each in firsts)
    for person, first in zip(people, firsts, strict=True):
        # Two people of one name go by it and by what only one has.
        key = key_of(first) if uses[first.name] > 1 else ""
        try:
            ids |= dict.fromkeys(person, check_user(f"{first.name} {key}" if key else first.name))
        except ValueError as error:
            gathered.fail(RecordError(str(error), path=where, remedy="Leave this person out, or give another name."))
    return ids


def _listed(paths: Any) -> tuple[Any, str]:
    if isinstance(paths, Iterator):
        paths = list(paths)
    return paths, describe(paths)


def _read_one(gathered: Gathered, user: str | None, me: Sequence[str], where: str) -> Reading:
    present = list_present(gathered.files)
    choice = choose(present, user, me, where)
    given: list[tuple[ReadFile, Utterance | Fields]] = []
    for file in gathered.files:
        ours = choice.authors.get(family(file.format), frozenset())
        takes_unnamed = _takes_unnamed(file, ours)
        for entry in file.entries:
            if entry.author is None and takes_unnamed:
                if choice.user is None or (not user and not me and ours):
                    gathered.fail(_says_not_whose(file, entry))
                    continue
                given.append((file, entry))
            elif entry.author in ours:
                given.append((file, entry))
    records, repeated, ratings, pairs = _to_records(_items(given, choice.user or "", gathered), gathered)
    reports = [*(_report(file, choice) for file in gathered.files), *gathered.unread]
    skipped = [str(problem) for problem in gathered.problems]
    if ratings and not records:
        raise RecordError(
            f"{ratings} rating(s) there, and no two that make a pair.",
            path=where,
            remedy="A pair is made of two texts under one prompt (or none) that were rated differently.",
        )
    if not records:
        raise _nothing(reports, skipped, where)
    return Reading(records, skipped, repeated, ratings, pairs, reports, list(choice.unmatched))


def _takes_unnamed(file: ReadFile, ours: frozenset[Author]) -> bool:
    """Whether what does not say whose it is can be the person's: not where others are named beside it."""
    return all(entry.author is None or entry.author in ours for entry in file.entries)


def _says_not_whose(file: ReadFile, entry: Utterance | Fields) -> RecordError:
    if isinstance(entry, Utterance) and entry.line is None:
        return RecordError("a text does not say who wrote it.", path=file.source.name, remedy="Add --user NAME.")
    return RecordError(
        "user: nothing says whose this is.",
        **place(file.source, entry.line),
        remedy="--user NAME says whose a record is.",
    )


def _items(
    given: Iterable[tuple[ReadFile, Utterance | Fields]], user: str, gathered: Gathered
) -> Iterator[tuple[dict[str, Any], Record | Rating]]:
    for file, entry in given:
        where = place(file.source, entry.line)
        if isinstance(entry, Utterance):
            # Ids of messages are their file's own; the content's is the same wherever the text is found again.
            data: Mapping[str, Any] = {"text": entry.text, "prompt": entry.prompt, "time": entry.time}
        else:
            data = entry.data
        try:
            yield where, parse_fields({**data, "user": user}, str(where["path"]), where["line"])
        except RecordError as error:
            gathered.fail(error)


def _to_records(
    found: Iterable[tuple[dict[str, Any], Record | Rating]], gathered: Gathered
) -> tuple[list[Record], int, int, int]:
    """Records without copies, pairs of ratings last; how many copies, ratings and pairs of them there were."""
    items: dict[str, Record | Rating] = {}
    repeated = 0
    for where, item in found:
        known = items.get(item.id)
        if known is None:
            items[item.id] = item
        # The same record at another time is a copy: it has the same id if that is made of the content.
        elif (newer := merge_copies(known, item)) is not None:
            items[item.id] = newer
            repeated += 1
        else:
            gathered.fail(
                RecordError(
                    f"the id {item.id!r} stands for two different records.",
                    **where,
                    remedy="Give each record an id of its own, or leave ids out.",
                )
            )
    ratings = [item for item in items.values() if isinstance(item, Rating)]
    pairs = make_pairs(ratings)
    records: dict[str, Record] = {key: item for key, item in items.items() if not isinstance(item, Rating)}
    for pair in pairs:
        records.setdefault(pair.id, pair)
    return list(records.values()), repeated, len(ratings), len(pairs)


def _report(file: ReadFile, choice: Choice) -> FileReport:
    ours = choice.authors.get(family(file.format), frozenset())
    takes_unnamed = choice.user is not None and _takes_unnamed(file, ours)
    authors: dict[str, Kinds] = {}
    taken, chosen, passed = Counter[str](), dict[str, None](), Counter(file.passed_over)
    for entry in file.entries:
        kind = kind_of(entry)
        authors.setdefault(entry.author.name if entry.author else "", Counter())[kind] += 1
        if entry.author in ours if entry.author else takes_unnamed:
            taken[kind] += 1
            if entry.author:
                chosen[entry.author.name] = None
    return FileReport(file.source.name, file.format.title, authors, tuple(chosen), taken, passed)


def _nothing(reports: Sequence[FileReport], skipped: Sequence[str], where: str) -> RecordError:
    reasons: Counter[str] = Counter()
    for report in reports:
        reasons.update(report.passed_over)
    shown = "; ".join(f"{reason} ({count})" for reason, count in reasons.most_common(4)) or "nothing usable"
    remedy = skipped[0] if skipped else "Check the files, or see each one with: hyperalign records check"
    return RecordError(f"no records there (found: {shown}).", path=where, remedy=remedy)
