"""DSPy's JSON adapter in few words: each output field once, as an example of its shape.

The schema itself travels beside the prompt (``response_format``), where a server can hold a
model to it. Written into the prompt too, it is longer than the texts to be compared, and a
small model on a processor reads it for a quarter of a minute. This file knows no question.

A DSPy adapter for plain conversation: no field markers, the answer is the whole reply.

A signature keeps its typed inputs, so that optimizers see them; how they are told to the model is the adapter's
``render``, which makes a conversation of them. Instructions go before the conversation's own system turn; a
conversation without a system turn is sent as it is, so that "no profile" really is none.

Lets DSPy's stream listeners hear an answer that is the whole reply, without field markers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dspy
from pydantic import BaseModel, TypeAdapter

from hyperalign.errors import ModelOutputError
from hyperalign.scores import Message

from .dspy_internals import EngineChunk, StreamResponse

__all__ = ["BriefJSONAdapter", "PlainAdapter", "Render", "open_answer_stream"]


class BriefJSONAdapter(dspy.JSONAdapter):
    """Describes output by a JSON object whose values say what to put there."""

    def format_field_description(self, signature: type[dspy.Signature]) -> str:
        """What is given, one line a field."""
        given = [f"- {name}: {_description(field)}" for name, field in signature.input_fields.items()]
        return "\n".join(["You are given:", *given])

    def format_field_structure(self, signature: type[dspy.Signature]) -> str:
        """The object to answer with."""
        shape = {name: _shape(field) for name, field in signature.output_fields.items()}
        return f"Answer with a JSON object and nothing else:\n{json.dumps(shape, indent=1, ensure_ascii=False)}"

    def user_message_output_requirements(self, signature: type[dspy.Signature]) -> str:
        """A reminder at the end of the question."""
        return f"Answer with a JSON object with: {', '.join(signature.output_fields)}."


def _description(field: Any) -> str:
    return str((field.json_schema_extra or {}).get("desc", ""))


def _shape(field: Any) -> Any:
    kind = field.annotation
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {name: part.description or "" for name, part in kind.model_fields.items()}
    return _description(field)


Render = Callable[[Mapping[str, Any]], Sequence[Message]]
"""From a signature's inputs to the conversation that tells them, ending in the turn that asks."""


class PlainAdapter(dspy.Adapter):
    """Sends what ``render`` makes of the inputs, with the instructions in the system turn.

    Args:
        render: makes the conversation.
    """

    def __init__(self, render: Render) -> None:
        super().__init__()
        self._render = render

    def format(
        self, signature: type[dspy.Signature], demos: list[dict[str, Any]], inputs: dict[str, Any]
    ) -> list[dict[str, Any]]:
        """The conversation to send: system turn, demonstrations, turns.

        Args:
            signature: gives the instructions.
            demos: solved examples, each with the inputs and the output field. Those that lack one are left out: DSPy's
                optimizers give every predictor the examples of the whole program.
            inputs: the signature's inputs, by name.
        """
        turns = list(self._render(inputs))
        if not turns or turns[0]["role"] != "system":
            return [dict(turn) for turn in turns]
        (output,) = signature.output_fields
        system = f"{signature.instructions}\n\n{turns[0]['content']}".strip()
        shown: list[dict[str, Any]] = []
        for demo in demos:
            solved = _inputs(signature, demo)
            if solved is not None and demo.get(output) is not None:
                prompt = self._render(solved)[-1]["content"]
                shown += [{"role": "user", "content": prompt}, {"role": "assistant", "content": str(demo[output])}]
        return [{"role": "system", "content": system}, *shown, *(dict(turn) for turn in turns[1:])]

    def parse(self, signature: type[dspy.Signature], completion: str) -> dict[str, Any]:
        """The whole reply as the one output field.

        Raises:
            ModelOutputError: the reply is empty.
        """
        (output,) = signature.output_fields
        text = completion.strip()
        if not text:
            raise ModelOutputError("The model answered with nothing.", remedy="Try again, or choose another --model.")
        return {output: text}


def _inputs(signature: type[dspy.Signature], demo: Mapping[str, Any]) -> dict[str, Any] | None:
    """The inputs of a demonstration, typed as the signature has them; None where one is missing."""
    found: dict[str, Any] = {}
    for name, field in signature.input_fields.items():
        value = demo.get(name)
        if value is None and field.is_required():
            return None
        # A saved program has its demonstrations as JSON.
        found[name] = TypeAdapter(field.annotation).validate_python(value) if isinstance(value, dict) else value
    return found


_FIELD = "answer"


def open_answer_stream() -> Any:
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
