"""Open WebUI's exports: chats, and the feedback that people gave to answers: thumbs, comparisons and comments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hyperalign.errors import RecordError

from .interface import Author, Columns, Entry, Fields, Format, PassedOver, Utterance
from .source import Source
from .turns import MIN_WORDS, SHORT, bound_prompt, broken, count_words, is_cut, label, listed, mapped, read_time, string
from .typed import Turn, find_branch, give_turns, owners, peek, text_of, without_reasoning

__all__ = ["FORMATS", "Chats", "Feedback"]

# Feedback that was cut off has these keys, too, and is refused in the same words.
_CUT = ("chat", "history", "childrenIds")
_NO_TEXTS = "ratings without their texts"


class Chats:
    """Open WebUI's exported chats."""

    name = "openwebui"
    title = "Open WebUI export"

    def match(self, source: Source) -> int:
        """By a ``chat`` with a history or messages."""
        return (
            3
            if is_cut(source, *_CUT) or any(_find_chat(row) and "data" not in mapped(row) for _, row in peek(source))
            else 0
        )

    def read(self, source: Source, columns: Columns) -> Iterator[Entry]:
        """The turns of each account in the active branches, and the thumbs it gave to answers."""
        if is_cut(source, *_CUT):
            yield broken(source, self.title)
            return
        rows = list(source.rows())
        accounts = owners(mapped(row).get("user_id") for _, row in rows)
        for line, row in rows:
            if isinstance(row, RecordError):
                yield row
                continue
            author, chat = accounts.get(label(mapped(row).get("user_id"))), _find_chat(row)
            if author is None or not chat:
                yield PassedOver("chats without messages" if author else "turns without an author", line)
                continue
            nodes = _nodes(chat)
            leaf = mapped(chat.get("history")).get("currentId")
            branch = find_branch(nodes, "parentId", leaf, "timestamp")
            yield from give_turns((_read_turn(id, mapped(nodes[id]), author) for id in branch), line)
            on_branch = set(branch)
            for id, node in nodes.items():
                if id not in on_branch and mapped(node).get("role") == "user":
                    yield PassedOver("turns of other branches", line)
                note = mapped(mapped(node).get("annotation"))
                if _sign(note.get("rating")):
                    yield from _read_rating(_Rating(author, note, nodes, id, _time(note, mapped(row)), line))


class Feedback:
    """Open WebUI's exported feedback."""

    name = "openwebui-feedback"
    title = "Open WebUI feedback"

    def match(self, source: Source) -> int:
        """By ratings with their ``data`` and the place or the snapshot of the chat."""
        return 3 if any(_is_feedback(row) for _, row in peek(source)) else 0

    def read(self, source: Source, columns: Columns) -> Iterator[Entry]:
        """A choice where the other answers are there, else the thumb; and comments of three words or more."""
        rows = list(source.rows())
        names: dict[str, set[str]] = {}
        for _, row in rows:
            user = mapped(mapped(row).get("user"))
            found = names.setdefault(_account(mapped(row)), set())
            found.update(label(user.get(key)) for key in ("name", "email"))
        accounts = owners(names, names)
        for line, row in rows:
            if isinstance(row, RecordError):
                yield row
                continue
            given = mapped(row)
            author = accounts.get(_account(given))
            chat, data = _find_chat(given.get("snapshot")), mapped(given.get("data"))
            id = label(mapped(given.get("meta")).get("message_id"))
            if author is None or not _sign(data.get("rating")):
                yield PassedOver("feedback without a rating" if author else "feedback without an author", line)
                continue
            yield from _read_rating(_Rating(author, data, _nodes(chat), id, _time(data, given), line))


def _is_feedback(given: Any) -> bool:
    row = mapped(given)
    data = mapped(row.get("data"))
    return "rating" in data and ("snapshot" in row or "message_id" in mapped(row.get("meta")) or "model_id" in data)


def _find_chat(row: Any) -> dict[str, Any]:
    """The chat in a row or a snapshot, which may be wrapped twice; empty if there is none."""
    chat = mapped(mapped(row).get("chat"))
    inner = mapped(chat.get("chat"))
    found = inner or chat
    is_chat = bool(mapped(mapped(found.get("history")).get("messages"))) or bool(listed(found.get("messages")))
    return found if is_chat else {}


def _nodes(chat: dict[str, Any]) -> dict[str, Any]:
    """The messages by id; those of a plain list follow each other."""
    nodes = mapped(mapped(chat.get("history")).get("messages"))
    if nodes:
        return nodes
    made: dict[str, Any] = {}
    before = ""
    for at, message in enumerate(map(mapped, listed(chat.get("messages")))):
        id = label(message.get("id")) or f"message {at}"
        made[id] = {"parentId": before, **message}
        before = id
    return made


def _read_turn(id: str, node: dict[str, Any], author: Author) -> Turn:
    text = text_of(node.get("content"))
    if node.get("role") != "user":
        return Turn(None, text if node.get("role") == "assistant" else "")
    passed_over = "" if text.strip() else "pictures, voice and files"
    return Turn(author, text, passed_over, read_time(node.get("timestamp")), id)


def _sign(rating: Any) -> int:
    """1 for a thumb up, -1 for one down, 0 for neither."""
    return {"1": 1, "-1": -1, "1.0": 1, "-1.0": -1}.get(str(rating), 0)


@dataclass(frozen=True, slots=True)
class _Rating:
    """A thumb: who gave it, what it says, the messages of the chat, the answer's id among them, when, and the row."""

    author: Author
    data: dict[str, Any]
    nodes: Mapping[str, Any]
    id: str
    time: datetime | None
    line: int


def _account(row: dict[str, Any]) -> str:
    return label(row.get("user_id")) or label(mapped(row.get("user")).get("id"))


def _time(data: dict[str, Any], row: dict[str, Any]) -> datetime | None:
    return read_time(data.get("updated_at") or row.get("updated_at") or row.get("created_at"))


def _read_rating(given: _Rating) -> Iterator[Entry]:
    """Choices between the answer and those that it was compared with, else a rating; and the comment."""
    author, line, sign = given.author, given.line, _sign(given.data.get("rating"))
    answer = mapped(given.nodes.get(given.id))
    text = without_reasoning(text_of(answer.get("content")))
    parent = label(answer.get("parentId"))
    prompt = text_of(mapped(given.nodes.get(parent)).get("content")).strip()
    when = {"time": given.time.isoformat()} if given.time else {}
    if comment := string(given.data.get("comment")).strip():
        if count_words(comment) >= MIN_WORDS:
            yield Utterance(author, comment, bound_prompt(text), given.time, line=line)
        else:
            yield PassedOver(SHORT, line)
    if not text or not prompt:
        yield PassedOver(_NO_TEXTS, line)
        return
    others = _find_others(given, parent, text)
    for other in others:
        chosen, rejected = (text, other) if sign > 0 else (other, text)
        yield Fields(author, {"prompt": prompt, "chosen": chosen, "rejected": rejected, **when}, line)
    if not others:
        yield Fields(author, {"prompt": prompt, "text": text, "rating": sign, **when}, line)


def _find_others(given: _Rating, parent: str, own: str) -> list[str]:
    """The other answers to the same question, of the models that the answer was compared with."""
    models = {label(model) for model in listed(given.data.get("sibling_model_ids"))}
    if not models:
        return []
    beside = [
        mapped(given.nodes.get(label(child)))
        for child in listed(mapped(given.nodes.get(parent)).get("childrenIds"))
        if label(child) != given.id
    ]
    named = [each for each in beside if {label(each.get("model")), label(each.get("selectedModelId"))} & models]
    # In the arena the message keeps the name of the arena, so that the models are known by their number alone.
    found = named or (beside if len(beside) == len(models) else [])
    texts = dict.fromkeys(without_reasoning(text_of(each.get("content"))) for each in found)
    return [text for text in texts if text and text != own]


FORMATS: list[Format] = [Chats(), Feedback()]
