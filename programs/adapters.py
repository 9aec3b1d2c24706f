"""Prompt formats: DSPy adapters for a short JSON answer and for a plain conversation."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dspy
from pydantic import BaseModel, TypeAdapter

from hyperalign.errors import ModelOutputError
from hyperalign.scores import Message

from .answer_parsing import blank_thoughts
from .dspy_internals import AdapterParseError, EngineChunk, StreamResponse

__all__ = ["BriefJSONAdapter", "PlainAdapter", "Render", "open_answer_stream"]


class BriefJSONAdapter(dspy.JSONAdapter):
    """Describes the output as one JSON object whose values say what to put there.

    The schema is sent beside the prompt (``response_format``). In the prompt it would be longer than the texts to
    compare, and slow to read for a small model on a processor.
    """

    def format_field_description(self, signature: type[dspy.Signature]) -> str:
        """One line for each input field."""
        given = [f"- {name}: {_description(field)}" for name, field in signature.input_fields.items()]
        return "\n".join(["You are given:", *given])

    def format_field_structure(self, signature: type[dspy.Signature]) -> str:
        """The object to answer with."""
        shape = {name: _shape(field) for name, field in signature.output_fields.items()}
        return f"Answer with a JSON object and nothing else:\n{json.dumps(shape, indent=1, ensure_ascii=False)}"

    def user_message_output_requirements(self, signature: type[dspy.Signature]) -> str:
        """The reminder at the end of the prompt."""
        return f"Answer with a JSON object with: {', '.join(signature.output_fields)}."

    def parse(self, signature: type[dspy.Signature], completion: str) -> dict[str, Any]:
        """The fields of the object in a reply.

        Raises:
            AdapterParseError: there is none, or its end is missing. DSPy would close it, and take a value that was cut
                at the token limit for a whole one.
        """
        answer = blank_thoughts(completion).strip()
        if "{" in answer and not _is_closed(answer):
            raise AdapterParseError(type(self).__name__, signature, completion, message="The object has no end.")
        try:
            found: dict[str, Any] = super().parse(signature, answer)
        except AdapterParseError:
            (first, *more) = signature.output_fields
            if more or f'"{first}"' in answer or "{" not in answer:
                raise
            # Some give the value of the only field without its name.
            value = answer[answer.index("{") : answer.rindex("}") + 1]
            found = super().parse(signature, f'{{"{first}": {value}}}')
        return found


# The brace after the last value, whatever follows the object. Small models leave the outermost one off.
_CLOSED = re.compile(r"[\"'”’\]}\d]\s{0,40},?\s{0,40}}[^\"{}]*(?:}[^\"{}]*)*$")


def _is_closed(text: str) -> bool:
    """Whether the first JSON object of a text has an end."""
    try:
        json.JSONDecoder().raw_decode(text, text.index("{"))
    except ValueError:
        # Some write quotation marks inside strings as they are: their place at the end tells.
        return _CLOSED.search(text) is not None
    return True


def _description(field: Any) -> str:
    return str((field.json_schema_extra or {}).get("desc", ""))


def _shape(field: Any) -> Any:
    kind = field.annotation
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {name: part.description or "" for name, part in kind.model_fields.items()}
    return _description(field)


Render = Callable[[Mapping[str, Any]], Sequence[Message]]
"""Makes a conversation from a signature's inputs, with the question as its last turn."""


class PlainAdapter(dspy.Adapter):
    """Sends the conversation of ``render``, with the instructions in its system turn; the answer is the whole reply.

    A conversation without a system turn is sent as it is, so that "no profile" adds nothing.
    """

    def __init__(self, render: Render) -> None:
        super().__init__()
        self._render = render

    def format(
        self, signature: type[dspy.Signature], demos: list[dict[str, Any]], inputs: dict[str, Any]
    ) -> list[dict[str, Any]]:
        """The conversation to send: system turn, demonstrations, other turns.

        Demonstrations that lack a field are left out: DSPy's optimizers give every predictor those of the whole
        program.
        """
        turns = list(self._render(inputs))
        if not turns or turns[0]["role"] != "system":
            return [dict(turn) for turn in turns]
        (output,) = signature.output_fields
        system = f"{signature.instructions}\n\n{turns[0]['content']}".strip()
        shown: list[dict[str, Any]] = []
        for demo in demos:
            solved = _parse_inputs(signature, demo)
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


def _parse_inputs(signature: type[dspy.Signature], demo: Mapping[str, Any]) -> dict[str, Any] | None:
    """The inputs of a demonstration in the signature's types; None if one is missing."""
    found: dict[str, Any] = {}
    for name, field in signature.input_fields.items():
        value = demo.get(name)
        if value is None and field.is_required():
            return None
        # The demonstrations of a saved program are JSON.
        found[name] = TypeAdapter(field.annotation).validate_python(value) if isinstance(value, dict) else value
    return found


_FIELD = "answer"


def open_answer_stream() -> Any:
    """The stream of an answer's chunks: DSPy's ``send_stream`` setting for the call that writes it.

    Returns:
        None without a stream; DSPy's own stream without listeners; else one that sends each listener of ``answer`` its
        text. DSPy's listeners look for the field markers of its own adapters, which these replies do not have.
    """
    stream = dspy.settings.send_stream
    listeners = dspy.settings.stream_listeners or []
    return _AnswerStream(stream, listeners) if stream is not None and listeners else stream


class _AnswerStream:
    def __init__(self, stream: Any, listeners: Sequence[Any]) -> None:
        self._stream = stream
        self._listeners = [each for each in listeners if each.signature_field_name == _FIELD]

    async def send(self, chunk: Any) -> None:
        """Send the text of a model's chunk to the listeners, and anything else as it is."""
        if not isinstance(chunk, EngineChunk):
            await self._stream.send(chunk)
            return
        (choice,) = chunk.choices
        text, is_last = choice.delta.content or "", choice.finish_reason is not None
        if not (text or is_last):
            return
        for listener in self._listeners:
            # This tells DSPy that the field was streamed.
            listener.stream_start = True
            await self._stream.send(StreamResponse(listener.predict_name, _FIELD, text, is_last))
