"""Messages of a chat as what each person wrote at a stretch and what it answered; names, times, and whose words.

Every format of chats gives its messages to ``gather`` and takes its authors from a ``Roster``.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from pydantic_core import from_json

from hyperalign.errors import RecordError
from hyperalign.text import UNSPACED

from .interface import Author, Entry, PassedOver, Utterance, comparable_name
from .source import Source

__all__ = [
    "LINKS",
    "PROMPT_CHARS",
    "SHORT",
    "Message",
    "Roster",
    "bound_prompt",
    "broken",
    "count_words",
    "date_order",
    "gather",
    "is_cut",
    "is_link",
    "label",
    "listed",
    "make_time",
    "mapped",
    "own_words",
    "read_time",
    "string",
    "without_marks",
]

MIN_WORDS = 3
PROMPT_CHARS = 600
LINKS = "links alone"
SHORT = f"texts of under {MIN_WORDS} words"
# Messages of one person that follow each other within this time are one text.
_STRETCH = timedelta(minutes=10)
# What was said longer ago is not what a message answers.
_ANSWERED_WITHIN = timedelta(days=1)
_FENCED = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_QUOTED = re.compile(r"^[ \t]*(?:>|&gt;).*$", re.MULTILINE)
_QUOTED_REST = re.compile(r"^[ \t]*(?:>>>|&gt;&gt;&gt;).*\Z", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE)
_UNSPACED = re.compile(f"[{UNSPACED}]")
# Not joiners, which are part of names in Persian and Hindi.
_UNSEEN = re.compile("[\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# Seconds, milliseconds, microseconds since 1970: the first is below this until the year 5138.
_SECONDS_END = 1e11


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a chat, before those that belong together are joined.

    Attributes:
        author: who sent it; None for a message of the system.
        text: the author's own words; empty if there are none.
        passed_over: why there are none, such as "media".
        time: when.
        id: of the message in the file.
        line: where it is, from 1.
        answers: the text of somebody else that it replies to, if the file says so.
        thread: what tells apart threads that run beside each other.
    """

    author: Author | None
    text: str
    passed_over: str = ""
    time: datetime | None = None
    id: str = ""
    line: int | None = None
    answers: str | None = None
    thread: str = ""


@dataclass(slots=True)
class _Thread:
    run: list[Message] = field(default_factory=list)
    prompt: str | None = None
    heard: Message | None = None
    showed: Author | None = None
    """Who sent the last thing that was no text, since the run before."""


def gather(messages: Iterable[Message]) -> Iterator[Entry]:
    """Join what each person wrote at a stretch, and give it with what it answers.

    Messages of one author are one text until somebody else speaks, ten minutes pass, or one replies to somebody. The
    prompt is the message replied to, or what somebody else wrote right before within a day; what was no text (a
    picture, a call) is no prompt. Texts of under three words are passed over.

    Args:
        messages: in their order.
    """
    threads: dict[str, _Thread] = {}
    for message in messages:
        if message.author is None:
            yield PassedOver(message.passed_over or "system messages", message.line)
            continue
        thread = threads.setdefault(message.thread, _Thread())
        if thread.run and _is_another_run(thread.run, message):
            yield _close(thread)
        if not message.text:
            thread.showed = message.author
            yield PassedOver(message.passed_over or SHORT, message.line)
            continue
        if not thread.run:
            thread.prompt = message.answers or _prompt(thread, message)
            thread.showed = None
        thread.run.append(message)
    for thread in threads.values():
        if thread.run:
            yield _close(thread)


def _is_another_run(run: list[Message], message: Message) -> bool:
    if run[-1].author is not message.author:
        return True
    if not message.text:
        return False
    return message.answers is not None or _apart(run[-1].time, message.time) > _STRETCH


def _apart(first: datetime | None, second: datetime | None) -> timedelta:
    if first is None or second is None or (first.tzinfo is None) != (second.tzinfo is None):
        return timedelta()
    return abs(second - first)


def _close(thread: _Thread) -> Entry:
    run, thread.run = thread.run, []
    first, text = run[0], "\n".join(message.text for message in run)
    thread.heard = Message(first.author, text, time=run[-1].time)
    if count_words(text) < MIN_WORDS:
        return PassedOver(SHORT, first.line)
    return Utterance(first.author, text, thread.prompt, first.time, first.id, first.line)


def _prompt(thread: _Thread, message: Message) -> str | None:
    heard = thread.heard
    if heard is None or heard.author is message.author or thread.showed not in (None, message.author, heard.author):
        return None
    if _apart(heard.time, message.time) > _ANSWERED_WITHIN:
        return None
    return bound_prompt(heard.text)


def bound_prompt(text: str) -> str | None:
    """The end of a text as a prompt, at most ``PROMPT_CHARS`` characters from a word on; None if it is empty."""
    text = text.strip()
    if len(text) <= PROMPT_CHARS:
        return text or None
    end = text[-PROMPT_CHARS:]
    cut = re.search(r"\s", end[: PROMPT_CHARS // 4])
    return "…" + end[cut.end() if cut else 0 :]


def own_words(text: str, *, rest_quoted: bool = False) -> str:
    """A text without what its author quotes or pastes: fenced code and lines that begin with ``>``.

    Args:
        text: as it stands.
        rest_quoted: whether ``>>>`` quotes all that follows, as in Slack and Discord.
    """
    if rest_quoted and (">>>" in text or "&gt;&gt;&gt;" in text):
        text = _QUOTED_REST.sub("", text)
    if "```" in text:
        text = _FENCED.sub("", text)
    if ">" in text or "&gt;" in text:
        text = _QUOTED.sub("", text)
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def is_link(text: str) -> bool:
    """Whether a text has links and no words."""
    rest, found = _LINK.subn("", text)
    return found > 0 and not any(letter.isalnum() for letter in rest)


def count_words(text: str) -> int:
    """How many words a text has; a character counts as one in scripts without spaces, and emoji count as none."""
    unspaced = len(_UNSPACED.findall(text)) if not text.isascii() else 0
    if unspaced:
        text = _UNSPACED.sub(" ", text)
    return unspaced + sum(any(letter.isalnum() for letter in word) for word in text.split())


def read_time(value: Any) -> datetime | None:
    """A time in ISO 8601 or in seconds, milliseconds or microseconds since 1970; None if it is none of these."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, str):
        text = value.strip()
        try:
            value = float(text)
        except ValueError:
            return _read_iso(text)
    if not isinstance(value, int | float) or not 0 < value < _SECONDS_END * 1e6 or not math.isfinite(value):
        return None
    while value >= _SECONDS_END:
        value /= 1000
    return datetime.fromtimestamp(value, UTC)


def _read_iso(text: str) -> datetime | None:
    # Python reads at most six digits of a second; .NET writes seven.
    text = re.sub(r"(\.\d{6})\d+", r"\1", re.sub(r" UTC$", "+00:00", text))
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def date_order(dates: Sequence[tuple[int, int, int]]) -> str:
    """Whether dates are ``ymd``, ``dmy`` or ``mdy``, from all of them: days over 12, else the order that goes on.

    Args:
        dates: the three numbers of each date, as they stand, in the order of the file.
    """
    if not dates or sum(first > 31 for first, _, _ in dates) * 2 > len(dates):
        return "ymd"
    firsts, seconds = sum(first > 12 for first, _, _ in dates), sum(second > 12 for _, second, _ in dates)
    if firsts or seconds:
        return "dmy" if firsts >= seconds else "mdy"
    back_dmy = sum((a[2], a[1], a[0]) > (b[2], b[1], b[0]) for a, b in pairwise(dates))
    back_mdy = sum((a[2], a[0], a[1]) > (b[2], b[0], b[1]) for a, b in pairwise(dates))
    return "mdy" if back_mdy < back_dmy else "dmy"


def make_time(date: tuple[int, int, int], order: str, clock: tuple[int, int, int]) -> datetime | None:
    """A time without a zone of a date's numbers; None if they are none.

    Args:
        date: the three numbers as they stand.
        order: as ``date_order`` says.
        clock: hour from 0 to 23, minute, second.
    """
    # A date that is none in the order of the file may be one in another: files are put together of several.
    for each in (order, "dmy", "mdy", "ymd"):
        year, month, day = (date[each.index(part)] for part in "ymd")
        try:
            return datetime(year + 2000 if year < 100 else year, month, day, *clock)
        except ValueError:
            continue
    return None


class Roster:
    """Who is in a file, by the id that the file has for each, so that two people of one name stay two."""

    def __init__(self) -> None:
        self._names: dict[str, Counter[str]] = {}
        self._others: dict[str, set[str]] = {}

    def add(self, key: str, name: str = "", *others: str) -> None:
        """Note a name.

        Args:
            key: the id.
            name: as the file shows it; empty if it does not.
            others: user names, addresses and ids that the person also goes by.
        """
        names = self._names.setdefault(key, Counter())
        if name := label(name):
            names[name] += 1
        self._others.setdefault(key, set()).update(filter(None, map(label, others)))

    def authors(self, owner: str | None = None) -> dict[str, Author]:
        """The people by id. Each goes by the name seen most; one whose name another has, too, by name and id.

        Args:
            owner: the id of the one whose export it is.
        """
        shown = {key: names.most_common(1)[0][0] if names else label(key) for key, names in self._names.items()}
        uses: dict[str, set[str]] = {}
        for key, names in self._names.items():
            for name in {shown[key], *names, *self._others[key], key}:
                uses.setdefault(comparable_name(name), set()).add(key)
        found = {}
        for key, names in self._names.items():
            alone = {name for name in (*names, *self._others[key], label(key)) if len(uses[comparable_name(name)]) == 1}
            is_shared = len(uses[comparable_name(shown[key])]) > 1
            name = f"{shown[key]} {label(key)}" if is_shared else shown[key]
            found[key] = Author(name, frozenset(alone - {name, ""}), key == owner)
        return found


def label(name: Any) -> str:
    """A name on one line, without marks of direction and other invisible characters; a number as its digits."""
    if isinstance(name, bool) or not isinstance(name, str | int):
        return ""
    text = without_marks(str(name))
    return " ".join((text if text.isprintable() else _CONTROL.sub(" ", text)).split())


def without_marks(text: str) -> str:
    """A text without marks of direction and of the byte order."""
    return text if text.isascii() else _UNSEEN.sub("", text)


def broken(source: Source, title: str) -> RecordError:
    """The error for a file that is no JSON as a whole: cut off, or of another format."""
    return RecordError(
        f"this is no {title}: it is no JSON, or was cut off.",
        path=source.name,
        remedy="Export it again, or name another format with --as.",
    )


def is_cut(source: Source, *keys: str) -> bool:
    """Whether a file is JSON with these keys that was cut off, as a download that ended early."""
    head = source.head
    if source.json is not None or head.lstrip()[:1] not in ("{", "["):
        return False
    if not all(f'"{key}"' in head for key in keys):
        return False
    try:
        from_json(head.lstrip().split("\n", 1)[0])
    except ValueError:
        return True
    return False


def mapped(value: Any) -> dict[str, Any]:
    """The value if it is a JSON object, else an empty one: exports leave out keys or hold null."""
    return value if isinstance(value, dict) else {}


def listed(value: Any) -> list[Any]:
    """The value if it is a JSON array, else an empty one."""
    return value if isinstance(value, list) else []


def string(value: Any) -> str:
    """The value if it is a string, else an empty one."""
    return value if isinstance(value, str) else ""
