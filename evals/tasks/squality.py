"""SQuALITY: four writers answer each question about a story, so content is the same and the manner is not.

A case asks which of two answers to one question is the writer's own. Records are the writer's
answers about other stories; no answer about the story of a case reaches a profile. The format is
that of the published ``train.jsonl`` and ``dev.jsonl``: one story a line.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from hyperalign.records import Sample

from ..cases import Case, Kind, case_id, choose_users
from .reading import checked, json_lines

__all__ = ["Squality"]

_PROMPT = "You have read a story. Answer this question about it: {question}"


class _Response(BaseModel):
    model_config = ConfigDict(extra="ignore")

    worker_id: str
    response_text: str


class _Question(BaseModel):
    model_config = ConfigDict(extra="ignore")

    question_text: str
    responses: list[_Response]


class _Metadata(BaseModel):
    model_config = ConfigDict(extra="ignore")

    passage_id: str


class _Story(BaseModel):
    model_config = ConfigDict(extra="ignore")

    metadata: _Metadata
    questions: list[_Question]


class _Answer(NamedTuple):
    writer: str
    story: str
    question: str
    text: str


class Squality:
    """Own answers against other writers' answers to the same question.

    Args:
        data: a JSONL file, or a folder of them.
        records: how many of a writer's answers about other stories a profile may be made from.
        cases_each: at most so many cases a writer.
    """

    name = "squality"
    kind: Kind = "choice"
    unit = "writer"

    def __init__(self, data: Path, *, records: int = 8, cases_each: int = 12) -> None:
        self._data = data
        self._records = records
        self._cases_each = cases_each

    def cases(self, *, users: int | None = None, seed: int = 0) -> list[Case]:
        """Cases of writers with enough answers about other stories."""
        answers = sorted(set(self._answers()))
        return choose_users(self._all(answers, seed), users, seed, by=lambda case: case.user)

    def note(self) -> str:
        """What the choice controls for."""
        return "Both answers are to the same question by different people, so topic cannot tell them apart."

    def _all(self, answers: list[_Answer], seed: int) -> Iterator[Case]:
        by_question: dict[tuple[str, str], list[_Answer]] = {}
        by_writer: dict[str, list[_Answer]] = {}
        for answer in answers:
            by_question.setdefault((answer.story, answer.question), []).append(answer)
            by_writer.setdefault(answer.writer, []).append(answer)
        for writer, own in by_writer.items():
            # A draw for each writer: more users never change the cases of those that were there.
            draw = random.Random(f"{seed}/{writer}")
            made = 0
            for answer in draw.sample(own, len(own)):
                others = [a for a in by_question[answer.story, answer.question] if a.writer != writer]
                elsewhere = [a for a in own if a.story != answer.story]
                if made == self._cases_each or not others or len(elsewhere) < self._records:
                    continue
                made += 1
                yield _case(answer, draw.choice(others), draw.sample(elsewhere, self._records))

    def _answers(self) -> Iterator[_Answer]:
        for where, line in json_lines(self._data):
            story = checked(_Story, line, where)
            for question in story.questions:
                for response in question.responses:
                    text = response.response_text.strip()
                    if text:
                        passage = story.metadata.passage_id
                        yield _Answer(f"writer-{response.worker_id}", passage, question.question_text.strip(), text)


def _case(own: _Answer, other: _Answer, records: list[_Answer]) -> Case:
    return Case(
        id=case_id(own.writer, own.story, own.question, other.writer),
        user=own.writer,
        cluster=own.writer,
        prompt=_PROMPT.format(question=own.question),
        records=tuple(
            Sample(user=own.writer, prompt=_PROMPT.format(question=answer.question), text=answer.text)
            for answer in records
        ),
        chosen=own.text,
        rejected=other.text,
    )
