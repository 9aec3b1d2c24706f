"""What all scorers share: from messages to tokens, with a user's words kept apart from the template's, and the budget.

A model's chat template writes control tokens; a user's text must never become one. So the template is rendered with
placeholders, and the contents are put in afterwards as pieces of their own.
"""

from __future__ import annotations

import re
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn, Self

from hyperalign.budget import Budget, Usage
from hyperalign.errors import InputError, ModelError
from hyperalign.scores import Message

__all__ = [
    "ModelScorer",
    "Piece",
    "Render",
    "clean",
    "jinja_render",
    "pieces",
    "runs",
    "tokenize_context",
]

Render = Callable[[list[Message]], str]
"""Renders messages with a generation prompt after them, control tokens spelled out."""

# The em space around a placeholder tells whether the template trims contents: it is
# whitespace to Jinja's trim, and no template writes it itself.
_SPACE = "\u2003"
_PLACEHOLDER = re.compile(f"({_SPACE}?)\ue000(\\d+)\ue001({_SPACE}?)")


class ModelScorer(ABC):
    """A ``Scorer`` that holds a model or a connection, and books what is read.

    Args:
        name: names the model and its weights; scores are cached by it.
        budget: where to book what is read.
    """

    def __init__(self, name: str, budget: Budget | None) -> None:
        self._name = name
        self._budget = budget
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """The model and its weights."""
        return self._name

    @abstractmethod
    def close(self) -> None:
        """Free memory and connections; the scorer can't be used afterwards."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _begin(self) -> float:
        """The time, once the budget was checked."""
        if self._budget is not None:
            self._budget.check()
        return time.perf_counter()

    def _book(self, began: float, tokens: int, *, cached: int = 0, calls: int = 1) -> None:
        if self._budget is not None and calls:
            seconds = time.perf_counter() - began
            self._budget.add(Usage(calls=calls, tokens_in=tokens, tokens_cached=cached, seconds=seconds))


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a rendered chat.

    Attributes:
        text: what it says.
        trusted: whether the template wrote it, so that control tokens in it are meant.
    """

    text: str
    trusted: bool


def clean(text: str) -> str:
    """``text`` with what no tokenizer takes (lone surrogates) replaced by question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def jinja_render(template: str, *, bos: str = "", eos: str = "") -> Render:
    """A renderer for a model's own Jinja template, as transformers would run it.

    The clock is not offered to the template (``strftime_now``): a context must read the
    same tomorrow, since scores are cached.

    Args:
        template: the Jinja source a model file carries.
        bos: text of the token that begins a sequence.
        eos: text of the token that ends one.

    Returns:
        The renderer; it raises ``ModelError`` for turns the template refuses.

    Raises:
        ModelError: the template does not compile.
    """
    from jinja2 import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> NoReturn:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.globals["raise_exception"] = refuse
    try:
        compiled = environment.from_string(template)
    except TemplateError as error:
        raise ModelError(f"The model's chat template does not compile: {error}.") from error

    def render(messages: list[Message]) -> str:
        try:
            return compiled.render(messages=messages, add_generation_prompt=True, bos_token=bos, eos_token=eos)
        except TemplateError as error:
            raise ModelError(
                f"The model's chat template refuses these turns: {error}.",
                remedy="Begin with a user turn, or score with a model that takes system turns.",
            ) from error

    return render


def pieces(render: Render, messages: Sequence[Message]) -> list[Piece]:
    """Render messages and tell the template's text from theirs.

    Args:
        render: the model's template, with its generation prompt.
        messages: the turns, at least one.

    Returns:
        The pieces in order; joined they are the rendered chat.

    Raises:
        InputError: there are no messages.
        ModelError: the template refuses the turns or loses one.
    """
    if not messages:
        raise InputError("A text can't be scored without a context.", remedy="Give at least one message before it.")
    blanks: list[Message] = [
        {"role": message["role"], "content": f"{_SPACE}\ue000{index}\ue001{_SPACE}"}
        for index, message in enumerate(messages)
    ]
    rendered = render(blanks)
    found: list[Piece] = []
    seen: set[int] = set()
    end = 0
    for match in _PLACEHOLDER.finditer(rendered):
        index = int(match[2])
        seen.add(index)
        content = clean(messages[index]["content"])
        content = content if match[1] else content.lstrip()
        content = content if match[3] else content.rstrip()
        found += [Piece(rendered[end : match.start()], trusted=True), Piece(content, trusted=False)]
        end = match.end()
    if len(seen) < len(messages):
        lost = next(message["role"] for index, message in enumerate(messages) if index not in seen)
        raise ModelError(
            f"The model's chat template drops the {lost} turn.", remedy="Score with a model that takes such turns."
        )
    return [*found, Piece(rendered[end:], trusted=True)]


def tokenize_context(
    render: Render, context: Sequence[Message], special: Mapping[str, int], tokenize: Callable[[str], list[int]]
) -> list[int]:
    """The tokens of a context, in which only the template's control tokens are control tokens.

    Args:
        render: the model's template, with its generation prompt.
        context: the turns, at least one.
        special: text of each control token, and its id.
        tokenize: the tokens of plain text.
    """
    tokens: list[int] = []
    for run in runs(pieces(render, context), special):
        tokens += [run] if isinstance(run, int) else tokenize(run)
    return tokens


def runs(found: Sequence[Piece], special: Mapping[str, int]) -> list[str | int]:
    """Split pieces into control tokens and runs of plain text.

    Only trusted pieces are searched for control tokens. Plain text on both sides of a
    boundary is joined, so that it is tokenized as the model has always seen it.

    Args:
        found: pieces in order.
        special: text of each control token, and its id.

    Returns:
        Token ids for control tokens; strings, never empty, for text in which the
        tokenizer must see no control token.
    """
    names = sorted(filter(None, special), key=len, reverse=True)
    pattern = re.compile("(" + "|".join(map(re.escape, names)) + ")") if names else None
    out: list[str | int] = []
    text = ""
    for piece in found:
        if not piece.trusted or pattern is None:
            text += piece.text
            continue
        for index, part in enumerate(pattern.split(piece.text)):
            if index % 2 == 0:
                text += part
                continue
            if text:
                out.append(text)
            out.append(special[part])
            text = ""
    return [*out, text] if text else out
