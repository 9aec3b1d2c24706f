"""A DSPy adapter for plain conversation: no field markers, the answer is the whole reply.

Signatures it formats have one input field named ``messages`` (the conversation, ending in
the prompt) and one output field. Instructions go before the conversation's own system turn;
a conversation without a system turn is sent as it is, so that "no profile" really is none.
This file does not know what is talked about.
"""

from __future__ import annotations

from typing import Any

import dspy

from hyperalign.errors import ModelOutputError
from hyperalign.scores import Message

__all__ = ["PlainAdapter"]


class PlainAdapter(dspy.Adapter):
    """Sends ``messages`` as they are, with the instructions in the system turn."""

    def format(
        self, signature: type[dspy.Signature], demos: list[dict[str, Any]], inputs: dict[str, Any]
    ) -> list[dict[str, Any]]:
        """The conversation to send: system turn, demonstrations, turns.

        Args:
            signature: gives the instructions.
            demos: solved examples, each with ``messages`` and the output field.
            inputs: ``{"messages": [...]}``.
        """
        turns: list[Message] = list(inputs["messages"])
        if not turns or turns[0]["role"] != "system":
            return [dict(turn) for turn in turns]
        (output,) = signature.output_fields
        system = f"{signature.instructions}\n\n{turns[0]['content']}".strip()
        shown: list[dict[str, Any]] = []
        for demo in demos:
            prompt = demo["messages"][-1]["content"]
            shown += [{"role": "user", "content": prompt}, {"role": "assistant", "content": demo[output]}]
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
