"""Discord's messages: DiscordChatExporter's JSON, CSV and text, and the data package that Discord itself sends.

The data package holds the owner's messages alone; the others hold a whole channel.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from hyperalign.errors import RecordError

from .interface import Author, Columns, Entry, Format
from .source import Source
from .turns import (
    LINKS,
    Message,
    Roster,
    bound_prompt,
    broken,
    date_order,
    gather,
    is_cut,
    is_link,
    label,
    listed,
    make_time,
    mapped,
    own_words,
    read_time,
    string,
)

__all__ = ["FORMATS", "Discord"]

_PEEK = 200
_OWNER = "me"
_TABLE = frozenset(("AuthorID", "Author", "Date", "Content"))
_PACKAGE = frozenset(("ID", "Timestamp", "Contents"))
# Messages that a person wrote; every other type tells of joins, calls, pins and the like.
_WRITTEN = frozenset(("Default", "Reply", "0", "19", ""))
_PREAMBLE = re.compile(r"\s*=+\n(?:Guild|Server): .*\nChannel: ")
_HEADER = re.compile(r"\[(?P<date>[^\]\n]*\d[^\]\n]*)\] (?P<name>[^\n]{1,80}?)(?: \(pinned\))?")
_SECTION = re.compile(
    r"^\{(Attachments|Embeds?|Reactions|Stickers|Forwarded(?: Message)?|Inv[a-z]+|Poll)\}\s*$", re.MULTILINE
)
_DEED = re.compile(
    r"(?:Started a call\b.*|Joined the (?:server|group|thread)\.?|Left the (?:server|group|thread)\.?|"
    r"Pinned a message\.?|(?:Added|Removed) .* (?:to|from) the (?:group|thread)\.?|Changed the channel .*|"
    r"(?:Started|Created) a thread\b.*|Boosted the server.*)"
)
_MENTION = re.compile(r"<@!?(\d+)>")
_EMOJI = re.compile(r"<a?(:\w+:)\d+>")
_OTHER_MARKS = re.compile(r"<(?:@&|#|t:|/)[^>\n]*>")
_DATE = re.compile(
    r"(?P<a>\d{1,4})[-/. ](?P<b>\d{1,2}|[A-Za-z]{3})[-/. ](?P<c>\d{1,4}),?[ \u202f]+"
    r"(?P<hour>\d{1,2})[:.](?P<minute>\d{2})(?:[:.](?P<second>\d{2}))?(?:[.,]\d+)?[ \u202f]*(?P<half>[AaPp])?"
)
_MONTHS = ("", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


class Discord:
    """A channel of Discord as DiscordChatExporter writes it, or the messages of Discord's data package."""

    name = "discord"
    title = "Discord export"

    def match(self, source: Source) -> int:
        """By the head of the text, the columns of the table, or authors with ids in a channel."""
        if _PREAMBLE.match(source.head) or _columns(source) or is_cut(source, "guild", "channel", "messages"):
            return 3
        data = source.json
        if isinstance(data, list):
            rows = [row for row in data[:_PEEK] if isinstance(row, dict)]
            return 3 if rows and all(row.keys() >= _PACKAGE for row in rows) else 0
        data = mapped(data)
        messages = [mapped(message) for message in listed(data.get("messages"))[:_PEEK]]
        is_channel = bool(mapped(data.get("channel"))) or bool(mapped(data.get("guild")))
        if is_channel and ("messages" in data) and (not messages or any("content" in each for each in messages)):
            return 3
        return 2 if any({"author", "content", "timestamp"} <= each.keys() for each in messages) else 0

    def read(self, source: Source, columns: Columns) -> Iterator[Entry]:
        """What each person wrote at a stretch; in a data package, what its owner wrote."""
        if _PREAMBLE.match(source.head):
            yield from gather(_read_rows(list(_text_rows(source.text))))
        elif names := _columns(source):
            try:
                rows = list(_csv_rows(source.text))
            except csv.Error as error:
                yield RecordError(f"the table can't be read ({error}).", path=source.name, remedy="Export it again.")
                return
            yield from gather(_read_package(rows) if names >= _PACKAGE else _read_rows(rows))
        elif isinstance(data := source.json, list):
            yield from gather(_read_package(list(enumerate(map(mapped, data), start=1))))
        elif isinstance(data, dict):
            yield from gather(_read_channel(listed(data.get("messages"))))
        else:
            yield broken(source, self.title)


def _columns(source: Source) -> frozenset[str]:
    """The columns of a table of messages; empty if it is none."""
    first = source.head.split("\n", 1)[0]
    names = frozenset(name.strip(' "\ufeff') for name in re.split("[,;\t]", first))
    return names if names >= _TABLE or names >= _PACKAGE else frozenset()


def _csv_rows(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")), delimiter=delimiter)
    reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
    before = 1
    for row in reader:
        yield before + 1, row
        before = reader.line_num


def _text_rows(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The messages of the text form as rows of the table: a head with date and author, then lines of text."""
    row: dict[str, Any] = {}
    lines: list[str] = []
    begun, is_after_blank = 0, True
    for number, line in enumerate(text.split("\n"), start=1):
        found = _HEADER.fullmatch(line) if is_after_blank and line[:1] == "[" else None
        is_after_blank = not line.strip()
        if found:
            if row:
                yield begun, {**row, "Content": "\n".join(lines)}
            row, lines, begun = {"Author": found["name"], "Date": found["date"]}, [], number
        elif set(line) == {"="} and len(line) > 20:
            # The lines of the preamble, and the end with the number of messages.
            if row:
                yield begun, {**row, "Content": "\n".join(lines)}
            row = {}
        else:
            lines.append(line)
    if row:
        yield begun, {**row, "Content": "\n".join(lines)}


def _read_rows(rows: list[tuple[int, dict[str, Any]]]) -> Iterator[Message]:
    roster = Roster()
    for _, row in rows:
        if key := _row_author(row):
            name = label(row.get("Author"))
            # Until 2023 Discord put a number behind each name.
            roster.add(key, re.sub(r"(?<=.)#\d{4}$", "", name), name)
    authors = roster.authors()
    order = date_order([numbers for _, row in rows if (numbers := _date_numbers(string(row.get("Date"))))])
    for line, row in rows:
        key = _row_author(row)
        if not key:
            yield Message(None, "", "messages without an author", line=line)
            continue
        text, passed_over = _read_words(string(row.get("Content")), authors)
        yield Message(authors[key], text, passed_over, _read_date(string(row.get("Date")), order), line=line)


def _row_author(row: dict[str, Any]) -> str:
    return label(row.get("AuthorID")) or label(row.get("Author"))


def _date_numbers(text: str) -> tuple[int, int, int] | None:
    found = _DATE.match(text)
    return (int(found["a"]), int(found["b"]), int(found["c"])) if found and found["b"].isdigit() else None


def _read_date(text: str, order: str) -> datetime | None:
    """A date as DiscordChatExporter writes it: in ISO 8601, with the month's name, or in the order of a country."""
    if (time := read_time(text)) or not (found := _DATE.match(text)):
        return time
    hour = int(found["hour"])
    if half := found["half"]:
        hour = hour % 12 + (12 if half in "Pp" else 0)
    clock = hour, int(found["minute"]), int(found["second"] or 0)
    if found["b"].isdigit():
        return make_time((int(found["a"]), int(found["b"]), int(found["c"])), order, clock)
    month = found["b"].lower()
    return (
        make_time((int(found["a"]), _MONTHS.index(month), int(found["c"])), "dmy", clock) if month in _MONTHS else None
    )


def _read_package(rows: list[tuple[int, dict[str, Any]]]) -> Iterator[Message]:
    """The owner's messages; the newest come first."""
    owner = Author(_OWNER, is_owner=True)
    timed = [(read_time(row.get("Timestamp")), line, row) for line, row in rows]
    # Some packages give times with a zone and some without, but never both.
    timed.sort(key=lambda each: each[0].timestamp() if each[0] else 0.0)
    for time, line, row in timed:
        text, passed_over = _read_words(string(row.get("Contents")), {})
        yield Message(owner, text, passed_over, time, label(row.get("ID")), line)


def _read_channel(messages: list[Any]) -> Iterator[Message]:
    roster = Roster()
    for message in map(mapped, messages):
        author = mapped(message.get("author"))
        if key := label(author.get("id")) or label(author.get("name")):
            name, number = label(author.get("name")), label(author.get("discriminator"))
            full = f"{name}#{number}" if name and number.strip("0") else ""
            roster.add(key, label(author.get("nickname")) or name, name, full)
    authors = roster.authors()
    sent: dict[str, tuple[str, str]] = {}
    for line, message in enumerate(map(mapped, messages), start=1):
        yield _read_message(message, line, authors, sent)


def _read_message(
    message: dict[str, Any], line: int, authors: dict[str, Author], sent: dict[str, tuple[str, str]]
) -> Message:
    author, reference = mapped(message.get("author")), mapped(message.get("reference"))
    key, id = label(author.get("id")) or label(author.get("name")), label(message.get("id"))
    if author.get("isBot") is True or author.get("bot") is True:
        return Message(None, "", "bot messages", line=line)
    if label(message.get("type")) not in _WRITTEN:
        return Message(None, "", "system messages", line=line)
    if key not in authors:
        return Message(None, "", "messages without an author", line=line)
    if message.get("forwardedMessage") or string(reference.get("type")).lower() == "forward":
        text, passed_over = "", "forwarded messages"
    else:
        text, passed_over = _read_words(string(message.get("content")), authors)
    if id and text:
        sent[id] = key, text
    answered = sent.get(label(reference.get("messageId")) or label(reference.get("message_id")))
    answers = bound_prompt(answered[1]) if answered and answered[0] != key else None
    return Message(authors[key], text, passed_over, read_time(message.get("timestamp")), id, line, answers)


def _read_words(content: str, authors: dict[str, Author]) -> tuple[str, str]:
    """The own words of a message without Discord's marks, or why there are none."""
    if section := _SECTION.search(content):
        if section[1].startswith("Forwarded"):
            return "", "forwarded messages"
        content = content[: section.start()]
    if not content.strip():
        return "", "media"
    if _DEED.fullmatch(content.strip()):
        return "", "system messages"
    own = own_words(content, rest_quoted=True)
    own = _MENTION.sub(lambda found: f"@{authors[found[1]].name}" if found[1] in authors else "@someone", own)
    own = _OTHER_MARKS.sub("", _EMOJI.sub(r"\1", own)).strip()
    if is_link(own):
        return "", LINKS
    return own, "" if own else "quoted texts"


FORMATS: list[Format] = [Discord()]
