"""What a person typed to an assistant: the turns of one conversation, its active branch, and what was only pasted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from .interface import Author, Entry, PassedOver, Utterance
from .source import Source
from .turns import (
    LINKS,
    MIN_WORDS,
    SHORT,
    bound_prompt,
    count_words,
    is_link,
    label,
    listed,
    mapped,
    own_words,
    read_time,
    string,
)

__all__ = [
    "OWNER",
    "PASTED",
    "PEEK",
    "Turn",
    "find_branch",
    "give_turns",
    "is_dialog",
    "is_json",
    "owners",
    "peek",
    "text_of",
    "typed_words",
    "without_reasoning",
]

PEEK = 50
OWNER = "user"
PASTED = "pasted texts"
MAX_TYPED_WORDS = 400
_MIN_PASTED_WORDS = 60
_TRIPLE = re.compile(r"(\"\"\"|''').*?(?:\1|\Z)", re.DOTALL)
_QUOTATION = re.compile(r"[\"“”„«][^\"“”„«»]{80,}[\"“”»]")
_TAG = re.compile(r"<([A-Za-z][\w-]{0,40})(?: [^<>\n]{0,200})?>")
_COLON = re.compile(r":[ \t]*\n")
_REASONING = re.compile(r"<details\b.*?(?:</details>|\Z)|<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL)
_TEXT_PARTS = frozenset(("text", "input_text", "output_text"))


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn of a conversation.

    Attributes:
        author: the person; None for the assistant.
        text: as it stands.
        passed_over: why a person's turn is not read; empty if it is.
        time: when.
        id: of the message in the file.
    """

    author: Author | None
    text: str
    passed_over: str = ""
    time: datetime | None = None
    id: str = ""


def give_turns(turns: Iterable[Turn], line: int | None = None, time: Any = None) -> Iterator[Entry]:
    """The person's turns as texts, each with the end of the answer that it follows as its prompt.

    Args:
        turns: of one conversation, in order.
        line: of the conversation in the file.
        time: of the conversation, as the file has it, for turns without one.
    """
    answer, begun = "", read_time(time)
    for turn in turns:
        if turn.author is None:
            answer = without_reasoning(turn.text) or answer
            continue
        if turn.passed_over:
            yield PassedOver(turn.passed_over, line)
            continue
        text, is_pasted = typed_words(turn.text)
        if is_pasted:
            yield PassedOver(PASTED, line)
        if is_link(text):
            yield PassedOver(LINKS, line)
        elif count_words(text) >= MIN_WORDS:
            yield Utterance(turn.author, text, bound_prompt(answer), turn.time or begun, turn.id, line)
        elif not is_pasted:
            yield PassedOver(SHORT, line)
        answer = ""


def typed_words(text: str) -> tuple[str, bool]:
    """What a person typed of a turn, and whether something was left out as pasted.

    Left out are code, quoted lines, long quotations, what stands between quotation marks of three or in tags, a text of
    60 words or more under a line that ends with a colon, and a turn of more than 400 words.
    """
    given = text.strip()
    kept = _drop_tagged(own_words(given))
    kept = _QUOTATION.sub("", _TRIPLE.sub("", kept)).strip()
    if colon := _COLON.search(kept):
        before, after = kept[: colon.start() + 1], kept[colon.end() :]
        if count_words(before) <= _MIN_PASTED_WORDS <= count_words(after):
            kept = before.strip()
    if count_words(kept) > MAX_TYPED_WORDS:
        return "", True
    return kept, len(kept) * 10 < len(given) * 9


def _drop_tagged(text: str) -> str:
    """A text without what stands in tags as ``<document>…</document>``."""
    if "</" not in text:
        return text
    parts, at, unclosed = [], 0, set[str]()
    for found in _TAG.finditer(text):
        if found.start() < at or found[1] in unclosed:
            continue
        closing = f"</{found[1]}>"
        end = text.find(closing, found.end())
        if end < 0:
            unclosed.add(found[1])
            continue
        parts.append(text[at : found.start()])
        at = end + len(closing)
    return "".join([*parts, text[at:]])


def without_reasoning(text: str) -> str:
    """An assistant's answer without what it thought before."""
    return _REASONING.sub("", text).strip() if "<" in text else text.strip()


def text_of(content: Any) -> str:
    """The text of a message's content, which is a string or a list of parts; pictures and files have none."""
    if isinstance(content, list):
        parts = [
            part if isinstance(part, str) else string(mapped(part).get("text"))
            for part in content
            if isinstance(part, str) or label(mapped(part).get("type", "text")) in _TEXT_PARTS
        ]
        return "\n".join(filter(None, parts))
    return string(content)


def owners(ids: Iterable[Any], names: Mapping[str, Iterable[str]] | None = None) -> dict[str, Author]:
    """The people of accounts by their ids; where there is but one, it is the owner of the export.

    Args:
        ids: of the accounts; what is no id stands for one without.
        names: other names by id.
    """
    keys = dict.fromkeys(label(id) for id in ids)
    known = [key for key in keys if key]
    others = {key: frozenset(filter(None, (names or {}).get(key, ()))) for key in known}
    if len(known) > 1:
        return {key: Author(key, others[key] - {key}) for key in known}
    also = frozenset({"me", *known, *(others[known[0]] if known else ())})
    return dict.fromkeys([*keys, ""], Author(OWNER, also - {OWNER}, is_owner=True))


def find_branch(nodes: Mapping[str, Any], parent_key: str, leaf: Any, time_key: str) -> list[str]:
    """The ids of the messages of the active branch, from the first on.

    Args:
        nodes: the messages by id.
        parent_key: the key that holds the id of the message before.
        leaf: the id of the last message; the newest message without a following one if it is no id.
        time_key: the key that holds a number or a string to tell the newest by.
    """
    at = label(leaf)
    if at not in nodes:
        parents = {label(mapped(node).get(parent_key)) for node in nodes.values()}
        ends = [id for id in nodes if id not in parents] or list(nodes)
        if not ends:
            return []
        # max takes the first of equals; the last is meant.
        at = max(reversed(ends), key=lambda id: _number(mapped(nodes[id]), time_key))
    branch: dict[str, None] = {}
    while at in nodes and at not in branch:
        branch[at] = None
        at = label(mapped(nodes[at]).get(parent_key))
    return list(reversed(branch))


def _number(node: dict[str, Any], key: str) -> float:
    value = node.get(key, mapped(node.get("message")).get(key))
    return float(value) if isinstance(value, int | float) else 0.0


def is_dialog(value: Any, role: str, content: str) -> bool:
    """Whether a value is a list of messages, each with these two keys."""
    turns = listed(value)
    return bool(turns) and all(isinstance(turn, dict) and role in turn and content in turn for turn in turns[:10])


def is_json(source: Source) -> bool:
    """Whether a file looks like JSON or JSON by lines."""
    return source.head.lstrip("\ufeff \t\n")[:1] in ("{", "[")


def peek(source: Source) -> list[tuple[int, Any]]:
    """The first rows of a file of JSON, by which its format is told."""
    return list(islice(source.rows(), PEEK)) if is_json(source) else []
