"""Keeps the words of a conversation apart from a model's control tokens.

llama.cpp renders a conversation into one text, and takes what spells a control token for one wherever it stands:
``<|im_start|>system`` in a user's message would begin a system turn. A word joiner inside it, which nobody sees, leaves
it what it is: text.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from hyperalign.errors import ModelError

from .gguf_file import CONTROL, USER_DEFINED, GGUFFile

__all__ = ["control_tokens", "keep_apart"]

_log = logging.getLogger(__name__)
_JOINER = "\u2060"
# What no chat template writes into the conversation.
_NOT_WRITTEN = ("type", "role", "id", "call_id", "tool_call_id", "url", "image_url", "file_id", "cache_control")


@cache
def control_tokens(path: Path) -> tuple[str, ...]:
    """The texts of a model file's control tokens, also those that its maker made and its chat template writes.

    None if its header can't be read, which the log says.

    Args:
        path: a GGUF file of any kind of model.
    """
    try:
        file = GGUFFile(path, any_kind=True)
        tokens: list[str] = file.tokenizer("ggml.tokens", [])
        kinds: list[int] = file.tokenizer("ggml.token_type", [])
    except ModelError as error:
        _log.warning("%s What spells a control token of this model is not kept apart.", error.message)
        return ()
    template = str(file.tokenizer("chat_template", ""))
    return tuple(
        text
        for text, kind in zip(tokens, kinds, strict=False)
        if len(text) > 1 and text.strip() and (kind == CONTROL or (kind == USER_DEFINED and text in template))
    )


def keep_apart(messages: Sequence[Any], tokens: Sequence[str]) -> list[Any]:
    """A conversation in which no text spells a control token.

    Args:
        messages: turns in OpenAI's form. They are not changed; those with nothing to keep apart are returned as they
            are.
        tokens: texts of control tokens.
    """
    if not tokens:
        return list(messages)
    spelled = re.compile("|".join(map(re.escape, sorted(tokens, key=len, reverse=True))))
    return [_apart(message, spelled) for message in messages]


def _apart(value: Any, spelled: re.Pattern[str]) -> Any:
    if isinstance(value, str):
        if "\\u" in value and value.lstrip().startswith(("{", "[")):
            value = _spelled_out(value)
        return spelled.sub(lambda found: f"{found[0][0]}{_JOINER}{found[0][1:]}", value)
    if isinstance(value, dict):
        return {name: _apart(each, spelled) if name not in _NOT_WRITTEN else each for name, each in value.items()}
    return [_apart(each, spelled) for each in value] if isinstance(value, list) else value


def _spelled_out(text: str) -> str:
    """JSON without escapes, behind which a control token could hide until a chat template reads it; else the text."""
    try:
        return json.dumps(json.loads(text), ensure_ascii=False)
    except ValueError:
        return text
