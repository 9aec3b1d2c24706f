"""AlignX: which of two answers to a prompt a person prefers (AlignX, sections 3 and 5).

The **benchmark** schema has ``ground_truth_persona`` and four earlier choices; its ``profile`` field was derived with
the answers in view and is never used. The **full** schema has a ``Preference Direction`` over 90 dimensions,
``Demographic Information``, ``User-Generated Content`` and choices. Rows of the benchmark repeat: each distinct history
with a distinct test pair is one case. A history is a user, and test pairs are the clusters, as personas are few.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, Field, field_validator

from hyperalign.errors import InputError
from hyperalign.records import Pair, Record, Sample, own_text
from hyperalign.space import ALIGNX_DIMENSIONS
from hyperalign.text import longest_copied_run

from ..cases import Case, CaseKind, case_id
from .files import read_json_lines, read_json_list, validate

__all__ = ["AlignX", "Form"]

Form = Literal["all", "demo", "pair", "ugc"]
"""What a profile may be fitted on: choices, posts, a description of the person, or all of them."""
_FEW_PERSONAS = 10
_QUOTED_WORDS = 3


class _Choice(BaseModel):
    prompt: str
    chosen: str
    rejected: str


class _Post(BaseModel):
    prompt: str
    comment: str


class _Row(_Choice):
    ground_truth_persona: str = ""
    direction: list[float] = Field(default_factory=list, alias="Preference Direction")
    description: str = Field(default="", alias="Demographic Information")
    posts: list[_Post] = Field(default_factory=list, alias="User-Generated Content")
    history: list[_Choice] = Field(default_factory=list, alias="Pair-wise Comparative Feedback")

    @field_validator("direction")
    @classmethod
    def _is_a_direction(cls, value: list[float]) -> list[float]:
        if value and (len(value) != ALIGNX_DIMENSIONS or not set(value) <= {0.0, 0.5, 1.0}):
            raise ValueError(f"should be {ALIGNX_DIMENSIONS} values, each 0, 0.5 or 1")
        return value


class AlignX:
    """Which of two answers somebody prefers, from four of their earlier choices (or posts, or a description).

    Args:
        data: a JSON or JSONL file in either schema.
        form: what a profile may be fitted on.
        histories: how many histories each test pair and persona is asked with; more of them add little, as their
            answers are the same.

    Raises:
        InputError: there is no such form.
    """

    name = "alignx"
    kind: CaseKind = "choice"
    unit = "test pair"
    data = "a .json or .jsonl file in AlignX's benchmark or full schema"

    def __init__(self, data: Path, *, form: str = "pair", histories: int = 1) -> None:
        if form not in get_args(Form):
            raise InputError(f"There is no form {form!r} of a persona.", remedy="Choose all, demo, pair or ugc.")
        self._data = data
        self._form = form
        self._histories = histories

    def cases(self, *, seed: int = 0) -> list[Case]:
        """A sample of ``histories`` cases for each test pair and persona."""
        by_pair: dict[tuple[str, str], list[Case]] = {}
        for case in self._distinct():
            by_pair.setdefault((case.cluster, case.person), []).append(case)
        kept: list[Case] = []
        for (pair, persona), theirs in by_pair.items():
            # Seeded for each pair, so that its cases do not depend on the others.
            draw = random.Random(f"{seed}/{pair}/{persona}")
            kept += draw.sample(theirs, min(self._histories, len(theirs)))
        return kept

    def note(self) -> str:
        """How few personas and earlier choices the file has, and whether these reveal the personas."""
        found = self._distinct()
        everybody = {case.person for case in found}
        if len(everybody) > _FEW_PERSONAS:
            return ""
        choices = {frozenset((r.chosen, r.rejected)) for case in found for r in case.records if isinstance(r, Pair)}
        telling = {(case.gold, own_text(r)) for case in found for r in case.records if case.gold}
        telling = {(gold, text) for gold, text in telling if longest_copied_run(gold, [text]) >= _QUOTED_WORDS}
        quoting = sum(any((case.gold, own_text(r)) in telling for r in case.records) for case in found)
        quoted = f" In {quoting} of its {len(found)} rows an earlier choice quotes what the file says of the person."
        return (
            f"This file has {len(everybody)} persona{'s' * (len(everybody) != 1)}"
            + f" and, for the people of all parts, {len(choices)} distinct earlier choice{'s' * (len(choices) != 1)}"
            + ": intervals are over test pairs, and say nothing of others."
            + quoted * (quoting > 0)
        )

    def _distinct(self) -> list[Case]:
        found: dict[str, Case] = {}
        for where, row in _rows(self._data):
            case = _case(validate(_Row, row, where), self._form)
            found.setdefault(case.id, case)
        return list(found.values())


def _case(row: _Row, form: str) -> Case:
    pair = case_id(row.prompt, *sorted((row.chosen, row.rejected)))
    # In the full schema every user is their own persona.
    persona = f"persona-{case_id(row.ground_truth_persona)[:4]}" if row.ground_truth_persona else ""
    said = row.description.strip()
    history, posts = _unasked(row)
    told = json.dumps([turn.model_dump() for turn in history], sort_keys=True, ensure_ascii=False)
    if posts or said:
        told += json.dumps([said, *(post.model_dump() for post in posts)], sort_keys=True, ensure_ascii=False)
    user = f"{persona or 'person'}-{case_id(told)[:8]}"
    shown_as_stated = form in {"demo", "all"}
    return Case(
        id=case_id(told, pair, row.chosen, *([form] if form != "pair" else [])),
        user=user,
        cluster=pair,
        prompt=row.prompt,
        records=tuple(_records(history, posts, user, form)),
        chosen=row.chosen,
        rejected=row.rejected,
        stated=said if shown_as_stated else "",
        gold=row.ground_truth_persona or ("" if shown_as_stated else said),
        persona=persona,
        direction=tuple(row.direction),
    )


def _unasked(row: _Row) -> tuple[list[_Choice], list[_Post]]:
    """A row's history and posts, without those that contain an answer of its test pair."""
    asked = {row.chosen, row.rejected}
    history = [turn for turn in row.history if not asked & {turn.chosen, turn.rejected}]
    return history, [post for post in row.posts if post.comment not in asked]


def _records(history: list[_Choice], posts: list[_Post], user: str, form: str) -> Iterator[Record]:
    """The records of a row; blank texts are left out."""
    if form in {"pair", "all"}:
        for turn in history:
            if turn.chosen.strip() and turn.rejected.strip():
                yield Pair(user=user, prompt=turn.prompt, chosen=turn.chosen, rejected=turn.rejected)
    if form in {"ugc", "all"}:
        for post in posts:
            if post.comment.strip():
                yield Sample(user=user, prompt=post.prompt, text=post.comment)


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    """Rows of a JSON list or of JSON lines, after their places."""
    return read_json_list(path) if path.suffix.lower() == ".json" else read_json_lines(path)
