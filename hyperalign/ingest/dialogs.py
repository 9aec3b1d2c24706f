"""Dialogs in the shapes that preference sets have, and the prompt and two answers that a choice between them is."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .turns import string

__all__ = ["MODEL_NAMES", "Turn", "as_turns", "holds_a_dialog", "render", "split_choice", "to_text"]

MODEL_NAMES = frozenset(
    ("assistant", "gpt", "chatgpt", "claude", "bot", "ai", "model", "chatbot", "llm", "bing", "bard")
)
_USER_NAMES = frozenset(("user", "human", "prompter", "person"))
_SYSTEM_NAMES = frozenset(("system", "developer", "tool", "function", "ipython"))
# Anthropic's HH-RLHF writes a dialog as one string.
_MARKED = re.compile(r"(?:\A|\n\n)(Human|Assistant): ?")
# Marks of turns in texts that models are trained on.
_SPOKEN_BY = (
    re.compile(r"<\|(?:im_start\|>)?user|^(?:###\s*)?(?:Human|User):|\[INST\]", re.MULTILINE),
    re.compile(r"<\|(?:im_start\|>)?assistant|^(?:###\s*)?Assistant:|\[/INST\]", re.MULTILINE),
)
_ROLES = ("role", "from", "speaker", "author", "type")
_CONTENTS = ("content", "value", "text", "message", "parts")


class Turn(NamedTuple):
    """One turn of a dialog; ``role`` is ``user``, ``assistant`` or ``system``."""

    role: str
    text: str


def to_text(value: Any) -> str | None:
    """The text of a value: a string, parts of a message, or an object that holds one; None if it is none of these."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return next((found for key in _CONTENTS if (found := to_text(value.get(key))) is not None), None)
    if isinstance(value, list):
        parts = [to_text(each) for each in value]
        return "\n".join(part for part in parts if part) if any(parts) else None
    return None


def holds_a_dialog(text: str) -> bool:
    """Whether a text holds turns of somebody and of a model, in one of the forms that models are trained on."""
    return all(found.search(text) for found in _SPOKEN_BY)


def as_turns(value: Any) -> list[Turn] | None:
    """The turns of a dialog; None if a value is none.

    Args:
        value: a list of messages, one message, an object of lists as datasets keep messages, or a string in which turns
            begin with ``Human:`` and ``Assistant:``.
    """
    if isinstance(value, str) and value.lstrip()[:1] == "[":
        # Tables of text keep lists as JSON, or as Python shows them.
        value = _read_list(value)
    if isinstance(value, str):
        pieces = _MARKED.split(value)
        # What stands before the first mark is of no turn.
        if len(pieces) < 3 or pieces[0].strip():
            return None
        named = zip(pieces[1::2], pieces[2::2], strict=True)
        return [Turn("user" if name == "Human" else "assistant", text.strip()) for name, text in named]
    if isinstance(value, Mapping):
        lists = [value.get(key) for key in ("role", "content")]
        if all(isinstance(each, list) for each in lists):
            value = [{"role": role, "content": text} for role, text in zip(*lists, strict=False)]
        else:
            value = [value]
    if not isinstance(value, list) or not value:
        return None
    turns = [_as_turn(each) for each in value]
    return [turn for turn in turns if turn] if all(turns) else None


def _read_list(text: str) -> Any:
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        return found if isinstance(found, list) else text
    return text


def _as_turn(message: Any) -> Turn | None:
    if not isinstance(message, Mapping):
        return None
    role = next((known for key in _ROLES if (known := _role(message.get(key)))), None)
    text = next((text for key in _CONTENTS if (text := to_text(message.get(key))) is not None), "")
    return Turn(role, text.strip()) if role else None


def _role(value: Any) -> str | None:
    name = string(value.get("role") if isinstance(value, Mapping) else value).strip().lower()
    for role, names in (("user", _USER_NAMES), ("assistant", MODEL_NAMES), ("system", _SYSTEM_NAMES)):
        if name in names:
            return role
    return None


def render(turns: Sequence[Turn]) -> str:
    """The turns before an answer as one prompt: the text of a single turn of the user, else each with its name."""
    said = [turn for turn in turns if turn.role != "system" and turn.text]
    if len(said) == 1 and said[0].role == "user":
        return said[0].text
    return "\n\n".join(f"{turn.role.title()}: {turn.text}" for turn in said)


def split_choice(prompt: Any, chosen: Any, rejected: Any) -> dict[str, Any]:
    """The fields of a pair, where each of its three may be a text or a dialog.

    The prompt is what both dialogs begin with, up to the last turn of the user before they differ. Answers are the
    turns of the assistant after it.

    Args:
        prompt: the prompt, or None if it is the beginning of both dialogs.
        chosen: the answer that was chosen, or the dialog that ends with it.
        rejected: the other.

    Returns:
        ``prompt``, ``chosen`` and ``rejected``; what could not be read stays as it was given.
    """
    begins = as_turns(prompt)
    one, other = as_turns(chosen), as_turns(rejected)
    if one is None or other is None:
        shown = render(begins) if begins else to_text(prompt)
        # Of a dialog's answers the space after "Assistant:" is no part.
        texts = [text.strip() if begins and text else text for text in map(to_text, (chosen, rejected))]
        return _without_none(prompt=shown, chosen=texts[0], rejected=texts[1])
    first, second = ([turn for turn in side if turn.role != "system"] for side in (one, other))
    same = 0
    while same < min(len(first), len(second)) and first[same] == second[same]:
        same += 1
    # Equal dialogs are a tie, which the records tell: their last answers are the two texts.
    while same and (same >= min(len(first), len(second)) or first[same].role != "assistant"):
        same -= 1
    shared, answers = first[:same], (first[same:], second[same:])
    # Later turns of the user, where dialogs went on after they differed, are no answer but a prompt.
    asked = [turn for turn in answers[0] if turn.role == "user"]
    before = [turn for turn in begins or [] if turn.role != "system"]
    if before and shared[: len(before)] != before:
        shared = [*before, *shared]
    shown = render([*shared, *asked]) or (to_text(prompt) if not begins else "") or ""
    texts = ["\n\n".join(turn.text for turn in side if turn.role == "assistant" and turn.text) for side in answers]
    return {"prompt": shown, "chosen": texts[0], "rejected": texts[1]}


def _without_none(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
