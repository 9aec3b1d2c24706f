"""AlignX's benchmark format: pairs of answers, and four earlier choices of the same persona (AlignX, section 5).

The shipped ``profile`` field was derived with the answers in view and is never shown. Many rows
repeat: each distinct history with a distinct test pair is one case. The file has few personas,
so its distinct test pairs are the clusters, and ``note`` says how many personas there are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from hyperalign.errors import InputError
from hyperalign.records import Pair

from ..cases import Case, Kind, case_id, choose_users
from .reading import checked, json_lines, read_text

__all__ = ["AlignX"]


class _Choice(BaseModel):
    model_config = ConfigDict(extra="ignore")

    prompt: str
    chosen: str
    rejected: str


class _Row(_Choice):
    ground_truth_persona: str = ""
    history: list[_Choice] = Field(default_factory=list, alias="Pair-wise Comparative Feedback")


class AlignX:
    """The benchmark schema, from a JSON or JSONL file.

    Args:
        data: the file.
    """

    name = "alignx"
    kind: Kind = "choice"
    unit = "test pair"

    def __init__(self, data: Path) -> None:
        self._data = data

    def cases(self, *, users: int | None = None, seed: int = 0) -> list[Case]:
        """One case for each distinct history and test pair; ``users`` limits the test pairs."""
        return choose_users(self._distinct(), users, seed, by=lambda case: case.cluster)

    def note(self) -> str:
        """How few personas there are."""
        everybody = {case.user for case in self._distinct()}
        return (
            f"This file has {len(everybody)} personas: intervals are over test pairs, "
            "and say nothing of personas that it does not have."
        )

    def _distinct(self) -> list[Case]:
        found: dict[str, Case] = {}
        for where, row in _rows(self._data):
            case = _case(row, where)
            found.setdefault(case.id, case)
        return list(found.values())


def _case(row: Any, where: str) -> Case:
    read = checked(_Row, row, where)
    persona = case_id(read.ground_truth_persona)
    history = [turn for turn in read.history if (turn.prompt, turn.chosen) != (read.prompt, read.chosen)]
    told = json.dumps([turn.model_dump() for turn in history], sort_keys=True, ensure_ascii=False)
    pair = case_id(read.prompt, *sorted((read.chosen, read.rejected)))
    return Case(
        id=case_id(told, pair, read.chosen),
        user=f"persona-{persona}",
        cluster=pair,
        prompt=read.prompt,
        records=tuple(
            Pair(user=f"persona-{persona}", prompt=turn.prompt, chosen=turn.chosen, rejected=turn.rejected)
            for turn in history
        ),
        chosen=read.chosen,
        rejected=read.rejected,
        gold=read.ground_truth_persona,
    )


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    """Rows of a JSON list, or of JSON lines."""
    if path.suffix.lower() != ".json":
        yield from json_lines(path)
        return
    try:
        whole = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}:{error.lineno}: this is not JSON ({error.msg}).", remedy="A file of lines ends in .jsonl."
        ) from error
    for number, row in enumerate(whole if isinstance(whole, list) else [whole], start=1):
        yield f"{path}: row {number}", row
