"""Transcripts: texts in which a name stands before what each person says, as pasted chats and interviews have it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from .dialogs import MODEL_NAMES
from .interface import Author, Columns, Entry, Format, PassedOver, Utterance
from .source import Source
from .turns import Message, gather, own_words

__all__ = ["FORMATS", "Transcript"]

_NAME = r"[^\W\d_](?:[\w.'’()+@-]|[ ](?=\S)){0,39}"
# Dates of East Asia have a sign for each part, and one for the half of the day.
_TIME = r"(?:\[?\(?\d[\d:./, 年月日时時分년월일오전후上下午前後-]*(?:[AaPp]\.?[Mm]\.?)?\)?\]?[ \t]*[-–,]?[ \t]*)?"
# [Mira] [10:00] text, 10:00<tab>Mira<tab>text
_APP_TURN = re.compile(
    r"(?:(?P<tabbed>\d{1,2}:\d\d(?::\d\d)?\t)|\[)"
    rf"(?P<name>{_NAME})(?(tabbed)\t|\] \[[^\]\n]{{0,12}}\d{{1,2}}:\d\d[^\]\n]{{0,6}}\] )(?P<text>.*)"
)
_TURNS = (
    # Mira: text, **Mira:** text, [10:00] Mira: text
    re.compile(
        rf"[ \t]*{_TIME}(?P<bold>\*\*|__)?(?P<name>{_NAME})"
        r"[ ]?(?:(?P=bold)[ ]?)?:(?(bold)(?:\*\*|__)?)(?=\s|$)(?P<text>.*)"
    ),
    # [10:00] <mira> text, <v Mira>text</v>
    re.compile(rf"[ \t]*{_TIME}<(?:v )?[@+ ]?(?P<name>{_NAME})>(?P<text>.*)"),
    _APP_TURN,
    # Mira  10:00 AM, the text below it
    re.compile(
        rf"[ \t]*(?P<name>{_NAME})[ \t]+\[?\d{{1,2}}[:.]\d\d(?::\d\d)?(?:[ \t]?[AaPp]\.?[Mm]\.?)?\]?(?P<text>)[ \t]*$"
    ),
    # ## You, the text below it
    re.compile(
        r"#{1,6}[ \t]+(?P<name>You|Me|User|Human|Assistant|ChatGPT|Claude|Gemini|Copilot|AI)[ \t]*:?(?P<text>)[ \t]*$"
    ),
)
# A line with the time, one with the name, and the text below them.
_STAMPED = re.compile(
    r"^[^\n:]{0,20}(?:\d{4}|\d[./-]\d)[^\n:]{0,12}\b\d{1,2}:\d\d[^\n]{0,40}\n"
    rf"(?P<name>{_NAME}(?<![.,;]))[ ]?$(?!\Z)",
    re.MULTILINE,
)
_OWNERS = {"you", "me", "user", "human", "myself", "i"}
_MODELS = MODEL_NAMES | {"gemini", "copilot", "gpt-4", "system"}
_CUE = re.compile(r"\d{1,2}:\d\d.*-->.*|WEBVTT.*|\d+")
_MOST_WORDS = 4
_FEWEST_TURNS = 3
_OTHERS = {".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".eml", ".mbox"}


class Transcript:
    """A text of several voices, each turn after a name."""

    name = "transcript"
    title = "transcript"

    def match(self, source: Source) -> int:
        """By at least three turns of two names, the first at the top; a text whose lines have labels once has none."""
        if source.suffix in _OTHERS:
            return 0
        lines = [
            line for line in _name_turns(source.head).split("\n") if line.strip() and not _CUE.fullmatch(line.strip())
        ]
        names = Counter(turn[0].casefold() for line in lines if (turn := _read_turn(line)) is not None)
        # Some apps put their name and the day above the first turn.
        begins = any(_read_turn(line) is not None for line in lines[:2]) or any(map(_APP_TURN.match, lines[:6]))
        are_roles = bool(names.keys() & _OWNERS) and bool(names.keys() & _MODELS)
        is_talk = len(names) > 1 and names.total() >= _FEWEST_TURNS and max(names.values(), default=0) > 1
        return 2 if begins and (is_talk or are_roles) else 0

    def read(self, source: Source, columns: Columns) -> Iterator[Entry]:
        """Each turn as its speaker's."""
        del columns
        authors: dict[str, Author] = {}
        for entry in gather(_messages(source, authors)):
            if isinstance(entry, Utterance) and entry.author and entry.author.name.casefold() in _MODELS:
                yield PassedOver("turns of a model or system", entry.line)
            else:
                yield entry


def _name_turns(text: str) -> str:
    """A text in which names that stand alone under the time end with a colon; its lines stay as many."""
    return _STAMPED.sub(r"\n\g<name>:", text)


def _read_turn(line: str) -> tuple[str, str] | None:
    """The name that a line begins with, and what follows it; None if it begins no turn."""
    for turn in _TURNS:
        if (found := turn.match(line)) is not None:
            # What is copied from ChatGPT's page has "You said:" and "ChatGPT said:".
            name = found["name"].strip().removesuffix(" said")
            return (name, found["text"].strip()) if len(name.split()) <= _MOST_WORDS else None
    return None


def _messages(source: Source, authors: dict[str, Author]) -> Iterator[Message]:
    author, begin, said = None, 1, list[str]()
    for number, line in enumerate(_name_turns(source.text).split("\n"), start=1):
        turn = _read_turn(line)
        if turn is None:
            if not _CUE.fullmatch(line.strip()):
                said.append(line)
            continue
        yield from _close(author, said, begin)
        name, text = turn
        author = authors.setdefault(name.casefold(), Author(name, is_owner=name.casefold() in _OWNERS))
        begin, said = number, [text]
    yield from _close(author, said, begin)


def _close(author: Author | None, said: list[str], begin: int) -> Iterator[Message]:
    text = own_words(re.sub(r"</?v[^>]*>", "", "\n".join(said))).strip()
    if text:
        yield Message(author, text if author else "", "" if author else "lines before the first name", line=begin)


FORMATS: list[Format] = [Transcript()]
