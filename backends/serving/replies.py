"""The bodies of OpenAI's chat completions: an answer whole, or as a series of chunks.

This file knows no model and no connection.
"""

from __future__ import annotations

import time
import uuid
from typing import Any

from .voices import Said

__all__ = ["Reply", "refusal"]


class Reply:
    """One answer under construction; all that is told of it has one id and one time.

    Args:
        model: the name that was asked for.
    """

    def __init__(self, model: str) -> None:
        self._same = {"id": f"chatcmpl-{uuid.uuid4().hex[:12]}", "created": int(time.time()), "model": model}

    def whole(self, said: Said) -> dict[str, Any]:
        """All of it, with what it cost."""
        message = {"role": "assistant", "content": said.text}
        choices = [{"index": 0, "message": message, "finish_reason": _reason(said)}]
        return {**self._same, "object": "chat.completion", "choices": choices, "usage": _usage(said)}

    def piece(self, text: str) -> dict[str, Any]:
        """Some more of the text."""
        return self._chunk([{"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}])

    def end(self, said: Said) -> dict[str, Any]:
        """That there is no more, and why."""
        return self._chunk([{"index": 0, "delta": {}, "finish_reason": _reason(said)}])

    def cost(self, said: Said) -> dict[str, Any]:
        """What it cost, after its end."""
        return {**self._chunk([]), "usage": _usage(said)}

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {**self._same, "object": "chat.completion.chunk", "choices": choices}


def refusal(status: int, message: str) -> dict[str, Any]:
    """An error, as clients read it."""
    return {"error": {"message": message, "type": "invalid_request_error", "code": str(status)}}


def _reason(said: Said) -> str:
    return "length" if said.cut else "stop"


def _usage(said: Said) -> dict[str, int]:
    return {
        "prompt_tokens": said.tokens_in,
        "completion_tokens": said.tokens_out,
        "total_tokens": said.tokens_in + said.tokens_out,
    }
