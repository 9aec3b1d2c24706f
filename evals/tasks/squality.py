"""SQuALITY: which of two answers to a question about a story is a writer's own.

Four writers answer each question, so content is the same and style is not. Records and cases are about different
stories. The format is that of the published ``train.jsonl`` and ``dev.jsonl``.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel

from hyperalign.records import Sample

from ..cases import Case, CaseKind, Split, case_id, choose_people
from .files import read_json_lines, validate

__all__ = ["Squality"]

_PROMPT = "You have read a story. Answer this question about it: {question}"


class _Response(BaseModel):
    worker_id: str
    response_text: str


class _Question(BaseModel):
    question_text: str
    responses: list[_Response]


class _Metadata(BaseModel):
    passage_id: str


class _Story(BaseModel):
    metadata: _Metadata
    questions: list[_Question]


class _Answer(NamedTuple):
    writer: str
    story: str
    question: str
    text: str

    @property
    def record(self) -> Sample:
        return Sample(user=self.writer, prompt=_PROMPT.format(question=self.question), text=self.text)


class Squality:
    """A writer's own answers against others' answers to the same question.

    Args:
        data: a JSONL file, or a folder of them.
        records: how many of a writer's answers about other stories a profile may be fitted on.
        cases_each: at most this many cases of each writer.
    """

    name = "squality"
    kind: CaseKind = "choice"
    unit = "writer"
    data = "the folder of SQuALITY's .jsonl files"
    primary = "pick"

    def __init__(self, data: Path, *, records: int = 8, cases_each: int = 12) -> None:
        self._data = data
        self._records = records
        self._cases_each = cases_each

    def cases(self, *, seed: int = 0) -> list[Case]:
        """Cases of the writers with enough answers about other stories."""
        answers = sorted(set(self._answers()))
        return list(self._all(answers, seed))

    def note(self) -> str:
        """Why topics do not matter."""
        return "Both answers are to the same question by different people, so topic cannot tell them apart."

    def people(self, *, split: Split | None = None) -> dict[str, list[Sample]]:
        """All answers of each writer, also of those with too few for cases; the question is the prompt."""
        everybody: dict[str, list[Sample]] = {}
        for answer in sorted(set(self._answers())):
            everybody.setdefault(answer.writer, []).append(answer.record)
        return choose_people(everybody, split)

    def _all(self, answers: list[_Answer], seed: int) -> Iterator[Case]:
        by_question: dict[tuple[str, str], list[_Answer]] = {}
        by_writer: dict[str, list[_Answer]] = {}
        for answer in answers:
            by_question.setdefault((answer.story, answer.question), []).append(answer)
            by_writer.setdefault(answer.writer, []).append(answer)
        for writer, own in by_writer.items():
            # Seeded for each writer, so that their cases do not depend on the others.
            draw = random.Random(f"{seed}/{writer}")
            records, asked = self._split(own, draw)
            made = 0
            for answer in asked:
                others = [a for a in by_question[answer.story, answer.question] if a.writer != writer]
                if records and others and made < self._cases_each:
                    made += 1
                    yield _case(answer, draw.choice(others), records)

    def _split(self, own: list[_Answer], draw: random.Random) -> tuple[list[_Answer], list[_Answer]]:
        """Answers for the profile, from whole stories, and answers for cases, from the others; both shuffled."""
        stories = sorted({answer.story for answer in own})
        records: list[_Answer] = []
        for story in draw.sample(stories, len(stories)):
            if len(records) < self._records:
                records += [answer for answer in own if answer.story == story]
                stories.remove(story)
        asked = [answer for answer in own if answer.story in stories]
        if len(records) < self._records:
            return [], asked
        return draw.sample(records, self._records), draw.sample(asked, len(asked))

    def _answers(self) -> Iterator[_Answer]:
        for where, line in read_json_lines(self._data):
            story = validate(_Story, line, where)
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
        records=tuple(answer.record for answer in records),
        chosen=own.text,
        rejected=other.text,
    )
