"""Mails in mbox files and single messages (EML): each sender's own words, and what they answer.

Quotes, forwards, signatures, attachments and what machines send are passed over. The prompt of a mail is what it
quotes, or the mail it replies to where the file has that, or its subject.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from email.parser import BytesHeaderParser, BytesParser
from email.utils import getaddresses, parsedate_to_datetime
from functools import lru_cache

from hyperalign.text import excerpt

from .body import decode_text, read_body
from .interface import Author, Columns, Entry, Format, PassedOver, Utterance
from .phrases import FIELD, says_wrote
from .quotes import OwnWords, split_own_words
from .source import Source
from .turns import MIN_WORDS, SHORT, count_words, label

__all__ = ["FORMATS"]

PROMPT_WORDS = 300
"""The most words of what is answered that become the prompt."""

_OWN_SHARE = 0.8

_HEAD_BYTES = 64_000
# A separator has a date in it and a header under it, and stands at the top or after a blank line.
_SEPARATOR = re.compile(
    rb"From (?=[^\n]*(?:19|20)\d\d)[^\n]{0,200}?"
    rb"(?:\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)\b[^\n]{1,24}?\d{1,2}:\d\d|\d{4}-\d\d-\d\d)[^\n]*\n(?=[!-9;-~]+:|>From )"
)
_BLANK_BEFORE = (b"\n\n", b"\n\r\n")
_ESCAPED = re.compile(rb">+From ")
_HEADER_LINE = re.compile(r"([A-Za-z][\w-]*):|>From ")
_OF_SERVERS = {"message-id", "mime-version", "received", "return-path", "delivered-to", "x-mozilla-status"}
_OF_PEOPLE = {"to", "subject", "date", "cc"}

_AUTOMATIC = re.compile(
    r"(?:automatic reply|auto(?:matic)?[- ]?(?:reply|response)|out of (?:the )?office|automatische antwort|abwesenheit"
    r"|réponse automatique|absence du bureau|respuesta automática|fuera de la oficina|risposta automatica|fuori ufficio"
    r"|automatisch antwoord|afwezig|resposta automática|自动回复|自動回覆|自動返信|不在通知)",
    re.IGNORECASE,
)
_DAEMON = re.compile(r"^(?:mailer-daemon|postmaster|mail-daemon)\b", re.IGNORECASE)
# A comma in a name is often not quoted.
_SENDER = re.compile(r"\s*([^<]*)<\s*([^<>\s]+@[^<>\s]+)")
_REPLY = re.compile(
    r"\s*(?:re|aw|fw|fwd|wg|tr|rv|sv|vs|vb|antw|res|enc|rif|ref|odp|ynt|回复|答复|回覆|转发|轉寄|返信)"
    r"(?:\s?[\[(]\d+[\])])?\s*[:：]\s*",
    re.IGNORECASE,
)
_SENT_LABELS = {"sent", "gesendet", "messages envoyés", "enviados", "inviati", "posta inviata", "verzonden", "已发邮件"}
_SENT_LABELS |= {"送信済みメール", "送信済み", "enviadas", "skickat", "wysłane", "отправленные", "已發送郵件"}


class Mbox:
    """A mailbox of many messages, each under a line that begins with ``From``."""

    name = "mbox"
    title = "mailbox (mbox)"

    def match(self, source: Source) -> int:
        """By the first separator."""
        if _SEPARATOR.match(source.data[:_HEAD_BYTES].removeprefix(b"\xef\xbb\xbf").lstrip()):
            return 3
        return int(source.suffix in (".mbox", ".mbx"))

    def read(self, source: Source, columns: Columns) -> Iterator[Entry]:
        """The messages, in the file's order."""
        del columns
        return _Mailbox(list(_split(source.data))).entries()


class Eml:
    """One message, as mail programs save it."""

    name = "eml"
    title = "mail (EML)"

    def match(self, source: Source) -> int:
        """By its header."""
        sure = _match_header(source)
        return sure if sure > 1 else max(sure, 2 * (_read_printed(source) is not None))

    def read(self, source: Source, columns: Columns) -> Iterator[Entry]:
        """The message."""
        del columns
        printed = _read_printed(source) if _match_header(source) < 2 else None
        return _Mailbox([(1, printed or _without_size(source.data, source).lstrip())]).entries()


def _match_header(source: Source) -> int:
    named = int(source.suffix in (".eml", ".emlx"))
    head = _without_size(source.data[:_HEAD_BYTES], source).lstrip().decode("latin-1").replace("\r\n", "\n")
    head = re.sub(r"\n[ \t]+", " ", head.partition("\n\n")[0])
    found = [_HEADER_LINE.match(line) for line in head.split("\n")]
    if not all(found):
        return named
    names = {each[1].lower() for each in found if each and each[1]}
    if "from" in names and names & _OF_SERVERS:
        return 3
    sender = re.search(r"^From:.*@", head, re.MULTILINE | re.IGNORECASE)
    return 2 if sender and names & _OF_PEOPLE else named


def _read_printed(source: Source) -> bytes | None:
    """A mail that a program saved as text, with its fields in the user's language, as a message; None if it is none."""
    lines = source.head.lstrip("\ufeff \n").split("\n")
    if not FIELD.match(lines[0]):
        return None
    end = next((at for at, line in enumerate(lines) if not line.strip()), len(lines))
    fields: dict[str, str] = {}
    for line in lines[:end]:
        if found := FIELD.match(line):
            fields.setdefault(found.lastgroup or "", line[found.end() :].strip(" *"))
    if not {"from", "date"} <= fields.keys() or not {"to", "subject"} & fields.keys():
        return None
    head = "".join(f"{name}: {value}\n" for name, value in fields.items())
    body = source.text.lstrip("\ufeff \n").split("\n", end)[end:]
    return f"{head}Content-Type: text/plain; charset=utf-8\n\n{''.join(body)}".encode()


FORMATS: list[Format] = [Mbox(), Eml()]


def _without_size(data: bytes, source: Source) -> bytes:
    """A message of Apple Mail without the length before it and the property list after it."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    size, line_end, rest = data.partition(b"\n")
    if source.suffix == ".emlx" and line_end and size.strip().isdigit():
        return rest[: int(size)]
    return data


def _split(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The messages of a mailbox, each with the line of its separator."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    marks = list(_find_separators(data))
    if not marks:
        yield 1, data
        return
    line, counted = 1, 0
    for (start, end), (after, _) in zip(marks, [*marks[1:], (len(data), 0)], strict=True):
        line += data.count(b"\n", counted, start)
        counted = start
        yield line, _unescape(data[end:after])


def _find_separators(data: bytes) -> Iterator[tuple[int, int]]:
    at = top = len(data) - len(data.lstrip())
    while at >= 0:
        is_after_blank = at == top or data[max(at - 3, 0) : at].endswith(_BLANK_BEFORE)
        if is_after_blank and (found := _SEPARATOR.match(data, at)):
            yield found.span()
        at = data.find(b"\nFrom ", at)
        at = at + 1 if at >= 0 else at


def _unescape(message: bytes) -> bytes:
    """Take off the ``>`` that mailboxes put before lines that begin with ``From``."""
    if b">From " not in message:
        return message
    lines = message.split(b"\n")
    for at, line in enumerate(lines):
        if _ESCAPED.match(line) and (line.startswith(b">>") or not _is_in_quote(lines, at)):
            lines[at] = line[1:]
    return b"\n".join(lines)


def _is_in_quote(lines: list[bytes], at: int) -> bool:
    # A mailbox may escape such lines or not: between quoted lines one is quoted.
    beside = lines[max(at - 1, 0) : at] + lines[at + 1 : at + 2]
    return any(line.startswith(b">") and not _ESCAPED.match(line) for line in beside)


@dataclass(frozen=True)
class _Head:
    """What the header of a message says."""

    address: str
    name: str
    id: str
    parents: tuple[str, ...]
    is_sent: bool


class _Mailbox:
    def __init__(self, messages: list[tuple[int, bytes]]) -> None:
        self._messages = messages
        self._heads = [_read_head(data) for _, data in messages]
        self._authors = _name_authors(self._heads)
        self._at = {head.id: at for at, head in reversed(list(enumerate(self._heads))) if head.id}
        self._own = lru_cache(maxsize=2_000)(self._read_own)

    def entries(self) -> Iterator[Entry]:
        for at, (line, _) in enumerate(self._messages):
            try:
                yield from self._read(at, line)
            except Exception:
                # Python's parser fails in many ways on mails that no program should have sent.
                yield PassedOver("damaged messages", line)

    def _read(self, at: int, line: int) -> Iterator[Entry]:
        head = self._heads[at]
        message = _parse(self._messages[at][1])
        if head.id and self._at[head.id] != at:
            yield PassedOver("copies of a message", line)
            return
        if not head.address and not head.name:
            yield PassedOver("messages without a sender", line)
            return
        reason, own, passed = self._own(at)
        if reason:
            yield PassedOver(reason, line)
            return
        for each in (*passed, *(why for why, _ in own.passed)):
            yield PassedOver(each, line)
        words = count_words(own.text)
        if words < MIN_WORDS:
            yield PassedOver(SHORT if words else "messages without words of their own", line)
            return
        prompt = self._find_prompt(head, own, _header(message, "subject"))
        yield Utterance(self._authors[head.address, head.name], own.text, prompt, _read_time(message), head.id, line)

    def _read_own(self, at: int) -> tuple[str, OwnWords, tuple[str, ...]]:
        message = _parse(self._messages[at][1])
        reason = _find_machine(message, self._heads[at])
        body = read_body(message)
        if reason or body.reason:
            return reason or body.reason, OwnWords(""), ()
        own = split_own_words(body.text, is_mail=True)
        return "", _cut_at_names(own, message), tuple(body.passed)

    def _find_prompt(self, head: _Head, own: OwnWords, subject: str) -> str | None:
        answered = own.answered
        if not answered:
            parent = next((self._at[each] for each in head.parents if each in self._at), None)
            if parent is not None and self._heads[parent].id != head.id:
                answered = self._own(parent)[1].text
        if answered.strip():
            return excerpt(answered, PROMPT_WORDS)
        while (shorter := _REPLY.sub("", subject, count=1)) != subject:
            subject = shorter
        return f"Subject: {subject.strip()}" if subject.strip() else None


def _cut_at_names(own: OwnWords, message: Message[str, str]) -> OwnWords:
    """End the writer's words at a line such as "Tom wrote:", if the mail is to Tom: what follows has no marks."""
    sent = ", ".join(_unfold(str(value), message) for key, value in message.raw_items() if key.lower() in ("to", "cc"))
    names = {label(_decode_words(name)).strip("\"' ") for name, _ in getaddresses([sent])} - {""}
    for name in sorted(name for name in names if name in own.text):
        for found in re.finditer(rf"^\W{{0,3}}{re.escape(name)}\b.{{0,80}}[:：]\s*$", own.text, re.MULTILINE):
            if says_wrote(found[0]):
                answered = own.answered or own.text[found.end() :].strip()
                passed = (*own.passed, ("quoted passages", own.text.count("\n", 0, found.start()) + 1))
                return replace(own, text=own.text[: found.start()].rstrip(), answered=answered, passed=passed)
    return own


def _parse(data: bytes) -> Message[str, str]:
    # The older policy: the newer one raises errors on headers that real mails have. Headers are decoded below.
    return BytesParser().parsebytes(data)


def _header(message: Message[str, str], name: str) -> str:
    """A header of a message on one line, decoded; empty if it has none."""
    for key, value in message.raw_items():
        if key.lower() == name:
            return label(_decode_words(_unfold(str(value), message)))
    return ""


def _unfold(value: str, message: Message[str, str]) -> str:
    """A header on one line; what is not encoded is in UTF-8, in the encoding of the body, or in that of Windows."""
    raw = value.encode("utf-8", "surrogateescape")
    return re.sub(r"\s*[\r\n]+\s*", " ", decode_text(raw, message.get_content_charset() or "cp1252"))


def _decode_words(value: str) -> str:
    """Encoded words of a header as text (RFC 2047)."""
    if "=?" not in value:
        return value
    try:
        parts = decode_header(value)
    except (HeaderParseError, ValueError):
        return value
    return "".join(part if isinstance(part, str) else decode_text(part, charset) or " " for part, charset in parts)


def _read_head(data: bytes) -> _Head:
    try:
        message = BytesHeaderParser().parsebytes(data[:_HEAD_BYTES])
        raw = {key.lower(): _unfold(str(value), message) for key, value in reversed(list(message.raw_items()))}
        name, address = _read_sender(raw)
        labels = {each.strip().strip('"').lower() for each in _decode_words(raw.get("x-gmail-labels", "")).split(",")}
        replied = re.findall(r"<([^<>\s]+)>", raw.get("in-reply-to", ""))
        parents = (*replied, *reversed(re.findall(r"<([^<>\s]+)>", raw.get("references", ""))))
        identity = label(raw.get("message-id", "")).strip("<> ")[:256]
        return _Head(address, name, identity, parents, bool(labels & _SENT_LABELS))
    except Exception:  # as above: what the parser makes of a damaged header
        return _Head("", "", "", (), False)


def _read_sender(raw: dict[str, str]) -> tuple[str, str]:
    sender = raw.get("from", "")
    if found := _SENDER.match(sender):
        name, address = re.sub(r"\\(.)", r"\1", found[1]), found[2]
    else:
        name, address = next((pair for pair in getaddresses([sender]) if "@" in pair[1]), (sender, ""))
    name = label(_decode_words(name)).strip("\"'<> ")
    # Mailing lists put their own address in place of the writer's.
    if " via " in name and (
        real := re.search(r"[^\s<>]+@[^\s<>]+", raw.get("x-original-from") or raw.get("reply-to", ""))
    ):
        name, address = name.partition(" via ")[0].strip("'\" "), real[0]
    address = label(address).strip("<> ").lower()
    return ("" if name.lower() == address else name), address


def _name_authors(heads: list[_Head]) -> dict[tuple[str, str], Author]:
    """The senders by address and name.

    Spellings of one name at one address ("Mira", "M. Kern") are one person. Of unlike names at one address, as of a
    notifying service or a family, each is a person, and the address is that of the one who wrote nearly all.
    """
    names: dict[str, Counter[str]] = {}
    for head in heads:
        names.setdefault(head.address, Counter())[head.name] += 1
    sent = {(head.address, head.name) for head in heads if head.is_sent}
    found: dict[tuple[str, str], Author] = {}
    for address, called in names.items():
        if not address:
            found |= {("", name): Author(name, is_owner=("", name) in sent) for name in called}
            continue
        main = max((name for name in called if name), key=lambda name: (called[name], len(name)), default="")
        same = {name for name in called if _are_like(name, main)}
        is_theirs = sum(called[name] for name in same) >= _OWN_SHARE * called.total()
        for name in called:
            also = {address, *same} if name in same and is_theirs else {name, f"{name} <{address}>"}
            shown = (main if name in same and is_theirs else name) or address
            is_owner = any((address, each) in sent for each in also | {name})
            found[address, name] = Author(shown, frozenset(also - {"", shown}), is_owner)
    return found


def _are_like(name: str, other: str) -> bool:
    """Whether two names are spellings of one: each word of the shorter is one of the longer, or its initial."""
    short, long = sorted((re.findall(r"\w+", each.casefold()) for each in (name, other)), key=len)
    return all(
        any(word == each or (min(len(word), len(each)) == 1 and word[0] == each[0]) for each in long) for word in short
    )


def _find_machine(message: Message[str, str], head: _Head) -> str:
    """What a program sent by itself: the reason to pass it over; empty if a person sent it."""
    if _DAEMON.match(head.address) or _header(message, "x-failed-recipients"):
        return "delivery reports"
    submitted = _header(message, "auto-submitted").lower()
    answers = _header(message, "x-autoreply") or _header(message, "x-autorespond")
    if (submitted and not submitted.startswith("no")) or answers or _AUTOMATIC.match(_header(message, "subject")):
        return "automatic replies"
    return ""


def _read_time(message: Message[str, str]) -> datetime | None:
    # When it was sent; else when the last server had it.
    said = _header(message, "date") or _header(message, "received").rpartition(";")[2]
    try:
        time = parsedate_to_datetime(said.strip())
        time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return time if time.year >= 1970 else None
