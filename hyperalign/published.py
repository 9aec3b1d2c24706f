"""The JSON schemas of the nouns, for programs in other languages and for editors.

``python -m hyperalign.published`` writes them anew into ``hyperalign/schemas`` from the
models, which are the truth. This file reads no data.
"""

from __future__ import annotations

import json
from importlib.resources import files
from inspect import cleandoc
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from .files import write_whole
from .profile import SCHEMA_VERSION, Profile
from .records import Edit, Pair, Rating, Sample

__all__ = ["NOUNS", "published", "rendered"]

NOUNS: Final[dict[str, type[BaseModel]]] = {
    "edit": Edit,
    "pair": Pair,
    "profile": Profile,
    "rating": Rating,
    "sample": Sample,
}
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def published(noun: str) -> dict[str, Any]:
    """The schema that ships with this version.

    Args:
        noun: ``sample``, ``pair``, ``edit``, ``rating`` or ``profile``.
    """
    text = files("hyperalign").joinpath("schemas", f"{noun}.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def rendered(noun: str) -> str:
    """The schema of a noun as its model says it now: indented JSON, ending in a newline.

    Args:
        noun: ``sample``, ``pair``, ``edit``, ``rating`` or ``profile``.
    """
    model = NOUNS[noun]
    body = model.model_json_schema(mode="validation")
    head = {
        "$schema": _DIALECT,
        "$id": f"urn:hyperalign:schema:{noun}:{SCHEMA_VERSION}",
        "title": f"hyperalign {noun}",
        "description": cleandoc(model.__doc__ or ""),
    }
    return json.dumps(head | {key: value for key, value in body.items() if key not in head}, indent=2) + "\n"


def _write_all() -> None:
    folder = Path(__file__).parent / "schemas"
    for noun in NOUNS:
        write_whole(folder / f"{noun}.schema.json", rendered(noun))


if __name__ == "__main__":
    _write_all()
