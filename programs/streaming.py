"""Lets DSPy's stream listeners hear an answer that is the whole reply, without field markers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dspy

from .dspy_internals import EngineChunk, StreamResponse

__all__ = ["answer_stream"]

_FIELD = "answer"


def answer_stream() -> Any:
    """Where the chunks of an answer go: DSPy's ``send_stream`` setting for the call that writes it.

    Returns:
        None where nothing is streamed; DSPy's own stream where nobody listens to a field, so that chunks pass as they
        are; else one that sends each listener of ``answer`` its text. DSPy's listeners look for the markers of its own
        adapters, and would wait for them until the end.
    """
    stream = dspy.settings.send_stream
    listeners = dspy.settings.stream_listeners or []
    return _Answer(stream, listeners) if stream is not None and listeners else stream


class _Answer:
    def __init__(self, stream: Any, listeners: Sequence[Any]) -> None:
        self._stream = stream
        self._listeners = [each for each in listeners if each.signature_field_name == _FIELD]

    async def send(self, chunk: Any) -> None:
        """Pass on what comes: of the model's chunks their text, and anything else as it is."""
        if not isinstance(chunk, EngineChunk):
            await self._stream.send(chunk)
            return
        (choice,) = chunk.choices
        text, is_last = choice.delta.content or "", choice.finish_reason is not None
        if not (text or is_last):
            return
        for listener in self._listeners:
            # With it DSPy knows that the field was streamed.
            listener.stream_start = True
            await self._stream.send(StreamResponse(listener.predict_name, _FIELD, text, is_last))
