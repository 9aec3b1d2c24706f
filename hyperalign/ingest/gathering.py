"""Every file, opened, told by its format and read into what people wrote, before anybody is chosen."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from hyperalign.errors import RecordError

from .interface import Columns, Fields, Format, PassedOver, Utterance
from .opening import Opened, check_size, open_sources
from .registry import family, find_format
from .source import Source
from .turns import count_words
from .whose import Present

__all__ = ["FileReport", "Gathered", "ReadFile", "gather_files", "kind_of", "list_present"]

MIN_WORDS = 3
# Exports of chats, beside which lie the files that people sent, and notes of the service.
_EXPORTS = {"chatgpt", "claude", "openwebui", "whatsapp", "telegram", "slack", "discord"}
_NAMELESS = {"text", "transcript"}
_ATTACHED = "came with an export, and names nobody: give it by itself if the person wrote it"
# ChatGPT puts the id of an upload before its name.
_UPLOADED = re.compile(r"^file[-_][A-Za-z0-9]{8,}")


@dataclass(frozen=True)
class FileReport:
    """What one file holds, and what of it is taken.

    Attributes:
        name: the file.
        format: the title of its format; empty if it was not read.
        authors: by name, how many texts, choices, edits and ratings each has; what does not say whose it is has the
            name "".
        chosen: the names of those who are the person.
        taken: how many of what are the person's.
        passed_over: by reason, how many things are nobody's text, or how often the file has none.
        problem: why a fit refuses the file; empty if it does not.
    """

    name: str
    format: str = ""
    authors: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    chosen: tuple[str, ...] = ()
    taken: Mapping[str, int] = field(default_factory=dict)
    passed_over: Mapping[str, int] = field(default_factory=dict)
    problem: str = ""


@dataclass
class ReadFile:
    """One file that was read."""

    source: Source
    format: Format
    in_folder: bool = False
    entries: list[Utterance | Fields] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)


@dataclass
class Gathered:
    """All files, before anybody is chosen."""

    skip_bad: bool
    files: list[ReadFile] = field(default_factory=list)
    unread: list[FileReport] = field(default_factory=list)
    problems: list[RecordError] = field(default_factory=list)

    def fail(self, error: RecordError) -> None:
        """Raise an error, or keep it if bad lines and files are skipped."""
        if not self.skip_bad:
            raise error
        self.problems.append(error)


def gather_files(
    paths: Any, format: str | None, columns: Mapping[str, str] | None, stdin: BinaryIO | None, *, skip_bad: bool
) -> Gathered:
    """Read every file that was given.

    Args:
        paths: as for ``read_records``.
        format: the name of the format; None to tell it by each file's content.
        columns: which column holds which field.
        stdin: what ``-`` reads.
        skip_bad: keep errors instead of raising the first.

    Raises:
        RecordError: a file cannot be read, or has a bad line. What is found in a folder and is of no known format is
            no error, but is reported.
    """
    gathered = Gathered(skip_bad)
    for opened in open_sources(paths, stdin):
        if opened.reason:
            gathered.unread.append(FileReport(opened.name, passed_over={opened.reason: 1}))
            continue
        try:
            _gather_file(opened, format, Columns(columns or {}), gathered)
        except RecordError as error:
            if opened.in_folder and format is None and not _is_damaged(error):
                gathered.unread.append(FileReport(opened.name, passed_over={_reason(error): 1}))
                continue
            gathered.unread.append(FileReport(opened.name, problem=str(error)))
            gathered.fail(error)
    if format is None:
        _leave_out_attachments(gathered)
    return gathered


def _leave_out_attachments(gathered: Gathered) -> None:
    """Pass over texts that came with an export and name nobody: what was sent in a chat may be anybody's."""
    exports = [file for file in gathered.files if file.in_folder and file.format.name in _EXPORTS]
    kept = []
    for file in gathered.files if exports else ():
        names_nobody = file.format.name in _NAMELESS or all(entry.author is None for entry in file.entries)
        if (
            file.in_folder
            and file.entries
            and names_nobody
            and any(_came_with(file.source, each.source) for each in exports)
        ):
            gathered.unread.append(FileReport(file.source.name, passed_over={_ATTACHED: 1}))
        else:
            kept.append(file)
    if exports:
        gathered.files = kept


def _came_with(source: Source, export: Source) -> bool:
    """Whether a file came with an export: in its archive, as a note to it, or named in it as sent or uploaded."""
    if source is export:
        return False
    if source.archive is not None or export.archive is not None:
        return source.archive is export.archive
    if source.path is None or export.path is None:
        return False
    # The files of an export lie beside it or in folders there, and its notes above the folders of its chats.
    if source.path.parent not in export.path.parents and export.path.parent not in source.path.parents:
        return False
    if source.path.stem.casefold() == "readme":
        return True
    names = {source.path.name, *_UPLOADED.findall(source.path.name)}
    return any(
        json.dumps(name, ensure_ascii=escaped)[1:-1].encode() in export.data
        for name in names
        for escaped in (True, False)
    )


def _is_damaged(error: RecordError) -> bool:
    """Whether a file that was found in a folder has a bad line among good ones, so that it must not be passed over."""
    return error.line is not None


def _reason(error: RecordError) -> str:
    where = f"{error.path}:{error.line}: " if error.line else f"{error.path}: "
    return error.message.removeprefix(where).rstrip(".")


def _gather_file(opened: Opened, format: str | None, columns: Columns, gathered: Gathered) -> None:
    if opened.error is not None or opened.source is None:
        raise opened.error or RecordError("it could not be read.", path=opened.name)
    source = opened.source
    file = ReadFile(source, find_format(source, format), opened.in_folder)
    problems: list[RecordError] = []
    for entry in file.format.read(source, columns):
        if isinstance(entry, PassedOver):
            file.passed_over[entry.reason] += 1
        elif isinstance(entry, RecordError):
            if not (gathered.skip_bad or opened.in_folder):
                raise entry
            problems.append(entry)
        else:
            if isinstance(entry, Utterance):
                _check_text(entry, source)
            file.entries.append(entry)
    if problems and not file.entries and opened.in_folder:
        raise RecordError(_reason(problems[0]), path=None)
    for problem in problems:
        file.passed_over["bad lines"] += 1
        gathered.fail(problem)
    gathered.files.append(file)


def _check_text(entry: Utterance, source: Source) -> None:
    check_size(len(entry.text), source.name)
    if entry.author is None and (words := count_words(entry.text)) < MIN_WORDS:
        raise RecordError(
            f"{words} word(s) say too little about anybody (at least {MIN_WORDS}).",
            path=source.name,
            remedy="Leave it out, or give a longer piece.",
        )


def list_present(files: Iterable[ReadFile]) -> dict[str, Present]:
    """Who is in the files, by the family of their formats."""
    found: dict[str, Present] = {}
    for file in files:
        group = found.setdefault(family(file.format), Present(file.format.title))
        group.files.append(file.source.name)
        for entry in file.entries:
            counts = group.unnamed if entry.author is None else group.authors.get(entry.author)
            if counts is None and entry.author is not None:
                counts = group.authors[entry.author] = Counter()
            if counts is not None:
                counts[kind_of(entry)] += 1
    return found


def kind_of(entry: Utterance | Fields) -> str:
    """What an entry counts as: texts, choices, edits or ratings."""
    if isinstance(entry, Utterance) or not entry.data:
        return "texts"
    if "chosen" in entry.data or "rejected" in entry.data:
        return "choices"
    if "draft" in entry.data or "edited" in entry.data:
        return "edits"
    return "ratings" if "rating" in entry.data else "texts"
