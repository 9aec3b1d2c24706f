"""Which requests are answered with the profile: dealt at random by person and conversation, the same every time.

A keyed hash of the person and the conversation stands for the random number, so that all requests of a conversation
share one arm, no caller can choose it, and every process deals alike.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from hyperalign.errors import InputError

__all__ = ["check_holdout", "conversation_of", "deal", "text_of", "turns_of", "user_texts"]

_CONVERSATION_HEADERS = ("x-hyperalign-conversation", "x-openwebui-chat-id")
_CONVERSATION_KEYS = ("conversation_id", "conversation", "chat_id", "session_id", "thread_id")


def check_holdout(holdout: float) -> float:
    """Return the share of conversations without the profile if it is a share below 1.

    Raises:
        InputError: it is not.
    """
    if not 0 <= holdout < 1:
        raise InputError(
            f"A holdout of {holdout:g} is no share of conversations.", remedy="Give a number from 0 to below 1."
        )
    return holdout


def deal(key: bytes, user: str, conversation: str, holdout: float) -> Literal["on", "off"]:
    """Deal a conversation to the profile on or off.

    Args:
        key: secret, the same for all processes.
        user: the person.
        conversation: as ``conversation_of`` names it.
        holdout: the share of conversations without the profile, from 0 to 1.
    """
    # The length keeps a person's id from running into the conversation's.
    said = f"{len(user)}:{user}{conversation}".encode("utf-8", "surrogatepass")
    number = int.from_bytes(hashlib.blake2b(said, key=key, digest_size=8).digest(), "big")
    return "off" if number < holdout * 2**64 else "on"


def conversation_of(request: Mapping[str, Any], headers: Mapping[str, str]) -> str:
    """A name for a request's conversation: a hash of its id, or of its first user turn where it has none.

    Args:
        request: the body.
        headers: names in lower case.
    """
    metadata = request.get("metadata")
    given = [headers.get(name) for name in _CONVERSATION_HEADERS]
    given += [request.get("litellm_session_id"), *_ids_in(metadata if isinstance(metadata, Mapping) else {})]
    # Of the Responses interface: an id, or an object that has one.
    named = request.get("conversation")
    given.append(named.get("id") if isinstance(named, Mapping) else named)
    for name in given:
        if isinstance(name, str) and name:
            return _hash("id", name)
    return _hash("turn", next(iter(user_texts(turns_of(request))), ""))


def _ids_in(metadata: Mapping[str, Any]) -> list[Any]:
    return [metadata.get(name) for name in _CONVERSATION_KEYS]


def _hash(kind: str, text: str) -> str:
    return hashlib.sha256(f"{kind}:{text}".encode("utf-8", "surrogatepass")).hexdigest()[:32]


def turns_of(request: Mapping[str, Any]) -> Any:
    """The turns of a request: its messages, or the input of OpenAI's Responses interface, where a text is one turn."""
    given = request["input"] if "input" in request else request.get("messages")
    return [{"role": "user", "content": given}] if isinstance(given, str) else given


def user_texts(messages: Any) -> list[str]:
    """The texts of a conversation's user turns, in order; of pictures and files nothing."""
    if not isinstance(messages, Sequence) or isinstance(messages, str | bytes):
        return []
    return [
        text_of(turn.get("content")) for turn in messages if isinstance(turn, Mapping) and turn.get("role") == "user"
    ]


def text_of(content: Any) -> str:
    """The text of a turn's content, which is a text or a list of parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence):
        return ""
    parts = (part.get("text") for part in content if isinstance(part, Mapping))
    return "\n".join(part for part in parts if isinstance(part, str))
