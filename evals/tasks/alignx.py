"""AlignX's benchmark format: pairs of answers, and four earlier choices of the same persona (AlignX, section 5).

The shipped ``profile`` field was derived with the answers in view and is never shown. Many rows
repeat: each distinct history with a distinct test pair is one case. The file has few personas,
so its distinct test pairs are the clusters, and ``note`` says how many personas there are.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hyperalign.errors import InputError
from hyperalign.records import Pair

from ..cases import Case, Kind, case_id, choose_users

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
        for number, row in enumerate(_rows(self._data), start=1):
            case = _case(row, f"{self._data}: row {number}")
            found.setdefault(case.id, case)
        return list(found.values())


def _case(row: Any, where: str) -> Case:
    try:
        read = _Row.model_validate(row)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "row"
        raise InputError(f"{where}: {field}: {first['msg']}.", remedy="See AlignX's benchmark format.") from error
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


def _rows(path: Path) -> list[Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(f"{path}: {why}.", remedy="Give AlignX's benchmark file with --data.") from error
    try:
        whole = json.loads(text)
        return whole if isinstance(whole, list) else [whole]
    except json.JSONDecodeError:
        pass
    rows: list[Any] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError as error:
                raise InputError(
                    f"{path}:{number}: this line is not JSON ({error.msg}).", remedy="Mend or remove the line."
                ) from error
    return rows
