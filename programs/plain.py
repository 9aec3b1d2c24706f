"""A DSPy adapter for plain conversation: no field markers, the answer is the whole reply.

A signature keeps its typed inputs, so that optimizers see them; how they are told to the model is the adapter's
``render``, which makes a conversation of them. Instructions go before the conversation's own system turn; a
conversation without a system turn is sent as it is, so that "no profile" really is none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dspy
from pydantic import TypeAdapter

from hyperalign.errors import ModelOutputError
from hyperalign.scores import Message

__all__ = ["PlainAdapter", "Render"]


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
