"""DSPy's JSON adapter in few words: each output field once, as an example of its shape.

The schema itself travels beside the prompt (``response_format``), where a server can hold a
model to it. Written into the prompt too, it is longer than the texts to be compared, and a
small model on a processor reads it for a quarter of a minute. This file knows no question.
"""

from __future__ import annotations

import json
from typing import Any

import dspy
from pydantic import BaseModel

__all__ = ["BriefJSONAdapter"]


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
