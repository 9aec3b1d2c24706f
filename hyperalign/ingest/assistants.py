"""Chats with assistants: ChatGPT's and Claude's exports, OpenAI's ``messages``, ShareGPT; Open WebUI in its own module.

The person's turns are the person's words, and what the assistant said before is what they answer. Of a conversation
with branches only the one that it ended in is read. In files of ``messages`` the turns of the role ``user`` are the
person's, also where a model is to be trained on the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from hyperalign.errors import RecordError

from . import openwebui
from .interface import Author, Columns, Entry, Format, PassedOver
from .row_authors import find_columns
from .source import Source
from .turns import broken, is_cut, label, listed, mapped, read_time, string
from .typed import PEEK, Turn, find_branch, give_turns, is_dialog, is_json, owners, peek, text_of

__all__ = ["FORMATS", "ChatGPT", "Claude", "Messages", "ShareGPT"]

_HUMAN = frozenset(("user", "human"))
_LISTS = ("messages", "conversations", "conversation", "items")
# Columns that say whose a dialog is; published logs of chats have a hash of the address.
_USERS = (
    *("user", "user_id", "userid", "author", "author_id", "username", "user_name", "account_id", "hashed_ip", "ip"),
    *("annotator", "annotator_id", "worker", "worker_id", "participant", "participant_id", "email", "user_email"),
)
_ABOUT = ("metadata", "meta")
_TIMES = ("time", "timestamp", "created_at", "create_time", "created")
# A row with one of these is a choice or a rating, in which nobody need have written the dialog.
_CHOICES = frozenset(("chosen", "rejected", "rating", "score", "winner"))
_BRANCHES = "turns of other branches"


class ChatGPT:
    """ChatGPT's ``conversations.json``."""

    name = "chatgpt"
    title = "ChatGPT export"

    def match(self, source: Source) -> int:
        """By conversations with a ``mapping`` of messages."""
        return (
            3 if is_cut(source, "mapping") or any(isinstance(row.get("mapping"), dict) for row in _first(source)) else 0
        )

    def read(self, source: Source, columns: Columns) -> Iterator[Entry]:
        """The owner's turns of the active branches."""
        if is_cut(source, "mapping"):
            yield broken(source, self.title)
            return
        owner = owners(())[""]
        for line, conversation in _conversations(source):
            if isinstance(conversation, RecordError):
                yield conversation
                continue
            nodes = mapped(mapped(conversation).get("mapping"))
            branch = find_branch(nodes, "parent", mapped(conversation).get("current_node"), "create_time")
            on_branch = set(branch)
            begun = mapped(conversation).get("create_time")
            yield from give_turns(filter(None, (_chatgpt_turn(nodes[id], owner) for id in branch)), line, begun)
            for id, node in nodes.items():
                turn = None if id in on_branch else _chatgpt_turn(node, owner)
                if turn and turn.author and not turn.passed_over:
                    yield PassedOver(_BRANCHES, line)


def _chatgpt_turn(node: Any, owner: Author) -> Turn | None:
    """A turn that the two said; None for what the system and tools said, and for what tools were told."""
    message = mapped(mapped(node).get("message"))
    role = string(mapped(message.get("author")).get("role"))
    content, metadata = mapped(message.get("content")), mapped(message.get("metadata"))
    kind = string(content.get("content_type")) or "text"
    is_plain = kind in ("text", "multimodal_text")
    parts = [part if isinstance(part, str) else _spoken(part) for part in listed(content.get("parts"))]
    text = "\n".join(filter(None, parts))
    if role == "assistant":
        return Turn(None, text) if is_plain and message.get("recipient") in (None, "all") else None
    if role != "user":
        return None
    if kind == "user_editable_context" or metadata.get("is_user_system_message"):
        passed_over = "custom instructions"
    elif metadata.get("is_visually_hidden_from_conversation"):
        passed_over = "hidden messages"
    elif not is_plain or not text.strip():
        passed_over = "pictures, voice and files"
    else:
        passed_over = ""
    return Turn(owner, text, passed_over, read_time(message.get("create_time")), label(message.get("id")))


def _spoken(part: Any) -> str:
    """What was said in a conversation by voice; pictures and recordings have no text."""
    return string(mapped(part).get("text")) if mapped(part).get("content_type") == "audio_transcription" else ""


class Claude:
    """Claude's ``conversations.json``."""

    name = "claude"
    title = "Claude export"

    def match(self, source: Source) -> int:
        """By conversations with ``chat_messages``."""
        is_cut_off = is_cut(source, "chat_messages")
        return 3 if is_cut_off or any(isinstance(row.get("chat_messages"), list) for row in _first(source)) else 0

    def read(self, source: Source, columns: Columns) -> Iterator[Entry]:
        """The owner's turns of the active branches, without what was attached."""
        if is_cut(source, "chat_messages"):
            yield broken(source, self.title)
            return
        rows = list(_conversations(source))
        accounts = owners(mapped(mapped(row).get("account")).get("uuid") for _, row in rows)
        for line, conversation in rows:
            if isinstance(conversation, RecordError):
                yield conversation
                continue
            row = mapped(conversation)
            author = accounts.get(label(mapped(row.get("account")).get("uuid")))
            messages = list(map(mapped, listed(row.get("chat_messages"))))
            branch = _claude_branch(messages, row.get("current_leaf_message_uuid"))
            yield from give_turns((_claude_turn(message, author) for message in branch), line, row.get("created_at"))
            on_branch = {id(message) for message in branch}
            for message in messages:
                if id(message) not in on_branch and string(message.get("sender")) in _HUMAN:
                    yield PassedOver(_BRANCHES, line)


def _claude_branch(messages: list[dict[str, Any]], leaf: Any) -> list[dict[str, Any]]:
    """The messages of the active branch; all where the export does not say which follows which."""
    nodes = {key: message for message in messages if (key := label(message.get("uuid")))}
    follows = [label(message.get("parent_message_uuid")) for message in messages]
    if len(nodes) < len(messages) or not all(follows) or not any(each in nodes for each in follows):
        return messages
    # They stand in the order they were sent in, so that the last one ends the active branch.
    last = label(leaf) if label(leaf) in nodes else next(reversed(nodes))
    return [nodes[key] for key in find_branch(nodes, "parent_message_uuid", last, "index")]


def _claude_turn(message: dict[str, Any], author: Author | None) -> Turn:
    text = text_of(message.get("content")) or string(message.get("text"))
    if string(message.get("sender")) not in _HUMAN:
        return Turn(None, text)
    if author is None:
        return Turn(Author(""), "", "turns without an author")
    passed_over = "" if text.strip() else "pictures, voice and files"
    return Turn(author, text, passed_over, read_time(message.get("created_at")), label(message.get("uuid")))


class Messages:
    """Dialogs as OpenAI's interface has them: lists of messages, each with a role and a content."""

    name = "messages"
    title = "list of messages with roles"
    _keys = ("role", "content")

    def match(self, source: Source) -> int:
        """By rows that hold a dialog and no choice between answers."""
        rows = [row for _, row in peek(source) if not isinstance(row, RecordError)]
        if not rows:
            return 0
        role, content = self._keys
        if is_dialog(rows, role, content) and all(_is_role(row[role]) for row in rows[:10]):
            return 3
        dialogs = [dialog for row in rows if (dialog := self._find_dialog(row, Columns()))]
        if len(dialogs) * 2 < len(rows):
            return 0
        return 3 if _is_role(mapped(dialogs[0][0]).get(role)) else 0

    def read(self, source: Source, columns: Columns) -> Iterator[Entry]:
        """The turns of the role ``user``, of the row's user or the name in the message if there is one."""
        rows = list(source.rows())
        role, content = self._keys
        bare = [row for _, row in rows if isinstance(row, dict)]
        if not columns.names.get("messages") and is_dialog(bare, role, content):
            rows = [(rows[0][0], bare)]
        users = {self._find_user(row, columns) for _, row in rows if not isinstance(row, RecordError)}
        # Rows that name nobody beside rows that do are of nobody known.
        unnamed = None if users - {""} else owners(())[""]
        for line, row in rows:
            if isinstance(row, RecordError):
                yield row
            elif dialog := self._find_dialog(row, columns):
                user = self._find_user(row, columns)
                author = Author(user) if user else unnamed
                begun = next((mapped(row)[key] for key in _TIMES if mapped(row).get(key)), None)
                yield from give_turns((self._read_turn(mapped(turn), author) for turn in dialog), line, begun)
            else:
                yield PassedOver("rows without a dialog", line)

    def _find_user(self, row: Any, columns: Columns) -> str:
        row = mapped(row)
        if path := columns.names.get("user"):
            return label(_find_path(row, path))
        for about in (row, *(mapped(row.get(key)) for key in _ABOUT)):
            for column in find_columns(tuple(about), _USERS):
                value = about[column]
                if name := label(mapped(value).get("id") or mapped(value).get("name") or value):
                    return name
        return ""

    def _find_dialog(self, row: Any, columns: Columns) -> list[Any] | None:
        if isinstance(row, list):
            return row if is_dialog(row, *self._keys) else None
        row = mapped(row)
        # Requests of OpenAI's batches have the dialog in their body.
        row = row if "messages" in row else {**row, **mapped(row.get("body"))}
        if path := columns.names.get("messages"):
            return listed(_find_path(row, path)) or None
        if row.keys() & _CHOICES:
            return None
        return next((listed(row[key]) for key in _LISTS if key in row and is_dialog(row[key], *self._keys)), None)

    def _read_turn(self, turn: dict[str, Any], author: Author | None) -> Turn:
        role, content = self._keys
        text = text_of(turn.get(content))
        if label(turn.get(role)).lower() not in _HUMAN:
            # Instructions and results of tools are no answers.
            return Turn(None, text if label(turn.get(role)).lower() not in ("system", "developer", "tool") else "")
        if name := label(turn.get("name")):
            author = Author(name)
        if author is None:
            return Turn(Author(""), "", "turns without an author")
        time = read_time(turn.get("timestamp", turn.get("created_at")))
        return Turn(author, text, "" if text.strip() else "pictures, voice and files", time, label(turn.get("id")))


def _is_role(value: Any) -> bool:
    known = (*_HUMAN, "assistant", "system", "developer", "tool", "function", "gpt", "chatgpt", "model", "bot")
    return label(value).lower() in known


def _find_path(row: Mapping[str, Any], path: str) -> Any:
    """The value of a column, or of a nested path such as ``data.turns``."""
    if path in row:
        return row[path]
    value: Any = row
    for part in path.split("."):
        value = mapped(value).get(part)
    return value


class ShareGPT(Messages):
    """Dialogs in the form of ShareGPT: ``conversations`` of ``from`` and ``value``."""

    name = "sharegpt"
    title = "ShareGPT dialogs"
    _keys = ("from", "value")


def _first(source: Source) -> Iterator[dict[str, Any]]:
    return (mapped(row) for _, row in islice(_conversations(source), PEEK)) if is_json(source) else iter(())


def _conversations(source: Source) -> Iterator[tuple[int, Any]]:
    """The conversations of an export: a list, one alone, or a list under a key."""
    if isinstance(source.json, dict):
        inner = source.json.get("conversations")
        if isinstance(inner, list) and all(isinstance(each, dict) for each in inner[:PEEK]):
            yield from enumerate(inner, start=1)
            return
    yield from source.rows()


FORMATS: list[Format] = [ChatGPT(), Claude(), Messages(), ShareGPT(), *openwebui.FORMATS]
