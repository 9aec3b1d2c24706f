"""Writes the JSON schemas in ``hyperalign/schemas`` from the models of records, ratings and profiles.

Run it with ``make docs``; a test compares the files with the models.
"""

from __future__ import annotations

import json
from inspect import cleandoc
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from hyperalign.profile import SCHEMA_VERSION, Profile
from hyperalign.records import Edit, Pair, Rating, Sample

FOLDER = Path(__file__).resolve().parent.parent / "hyperalign" / "schemas"
MODELS: Final[dict[str, type[BaseModel]]] = {
    "edit": Edit,
    "pair": Pair,
    "profile": Profile,
    "rating": Rating,
    "sample": Sample,
}


def schema_file(name: str) -> Path:
    """The file of a model's schema."""
    return FOLDER / f"{name}.schema.json"


def build_schema(name: str) -> dict[str, Any]:
    """The schema of a model as its code says it now."""
    model = MODELS[name]
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:hyperalign:schema:{name}:{SCHEMA_VERSION}",
        "title": f"hyperalign {name}",
        "description": cleandoc(model.__doc__ or ""),
    }
    body = model.model_json_schema(mode="validation")
    return head | {key: value for key, value in body.items() if key not in head}


if __name__ == "__main__":
    for each in MODELS:
        schema_file(each).write_text(json.dumps(build_schema(each), indent=2) + "\n", encoding="utf-8")
