"""A small task for the tests of evals: two invented writers, given cases, and a scripted model."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import dspy

from hyperalign.backends.models.connect import connect
from hyperalign.budget import Budget
from hyperalign.evals.cases import Case, CaseKind
from hyperalign.evals.runner import EvalFolder, Outcome
from hyperalign.evals.summary import summarize
from hyperalign.files import write_whole
from hyperalign.programs.personalizer import Personalizer
from hyperalign.records import Pair, Sample
from tests.fixtures.scripted_server import Recorded, ScriptedServer
from tests.programs.toys import OTHERS, SPACE, FixedPopulation, OverlapScorer

__all__ = [
    "BLUNT",
    "GARDEN",
    "HEDGER",
    "SEA",
    "TEXTS",
    "FirstWords",
    "Given",
    "GivenTexts",
    "answered",
    "finished",
    "listed",
    "pairs",
    "personalizer",
    "read_lines",
    "samples",
    "written",
]

GARDEN = ("spade", "hedge", "tulip", "orchard", "trellis", "compost")
SEA = ("anchor", "harbor", "sail", "lighthouse", "herring", "mast")

HEDGER = (
    "And so, I suppose, the {a} was rather like the {b}; but then, it was not.",
    "Perhaps, though, it would have been in the {a}, and I was there with a {b}.",
    "It was, as I have said before, one of those {a}; and yet, it might be a {b}.",
    "If it had not been for the {a}, I should have gone to the {b}, or so it was said.",
)
BLUNT = (
    "Look at that {a}! You want this {b}.",
    "Do you? Then get the {a}! No {b} does that.",
    "They did this {a}. They will do that {b}. You can do both!",
    "Why that {a}? Because you must! Give them this {b}.",
)


def written(habits: Sequence[str], topic: Sequence[str], seed: int, sentences: int = 12) -> str:
    """A text with an author's habits about a topic."""
    draw = random.Random(seed)
    return " ".join(draw.choice(habits).format(a=draw.choice(topic), b=draw.choice(topic)) for _ in range(sentences))


TEXTS = {
    user: [written(habits, GARDEN + SEA, seed) for seed in range(6)]
    for user, habits in (("hed", HEDGER), ("blu", BLUNT))
}


class Given:
    """A choice task of given cases."""

    unit = "person"

    def __init__(self, cases: Sequence[Case], name: str = "given", kind: CaseKind = "choice") -> None:
        self.name = name
        self.kind: CaseKind = kind
        self._cases = list(cases)

    def cases(self, *, seed: int = 0) -> list[Case]:
        del seed
        return list(self._cases)

    def note(self) -> str:
        return "Invented."


class GivenTexts(Given):
    """A writing task of given cases and texts."""

    def __init__(self, cases: Sequence[Case], texts: Mapping[str, Sequence[str]], name: str = "given") -> None:
        super().__init__(cases, name, "writing")
        self._texts = texts

    def texts(self) -> Mapping[str, Sequence[str]]:
        return self._texts


_LIKES = {
    "ada": ("Toast and jam again, and marmalade on day {n}.", "The engine lost oil near mile {n}."),
    "bob": ("An anchor and a sail of rope, number {n}.", "A carriage and one horse, number {n}."),
    "cal": ("An umbrella in the puddle, said {n} people.", "A camel in the desert, said {n} people."),
}


def pairs(each: int = 8) -> list[Pair]:
    """Three people who prefer their own words."""
    return [
        Pair(user=user, id=f"{user}-{n}", prompt=f"Say {n}.", chosen=own.format(n=n), rejected=other.format(n=n))
        for user, (own, other) in _LIKES.items()
        for n in range(each)
    ]


def samples(each: int = 8) -> list[Sample]:
    """Two people who write about the same things in their own manner."""
    habits = {"hed": HEDGER, "blu": BLUNT}
    return [
        Sample(
            user=user,
            id=f"{user}-{n}",
            prompt=f"Write about {topic[0]} number {n}.",
            text=written(theirs, topic, seed=n * 7 + len(theirs[0]), sentences=6),
        )
        for user, theirs in habits.items()
        for n in range(each)
        for topic in [(GARDEN, SEA)[n % 2]]
    ]


def jsonl(path: Path, records: Sequence[Pair | Sample]) -> Path:
    """A file of records."""
    path.write_text("".join(record.model_dump_json(exclude_none=True) + "\n" for record in records))
    return path


def answered(request: Recorded) -> str:
    """What the scripted model says: a hypothesis where it is asked for one, else a text that the turns alone decide."""
    if "hypothesis" in request.prompt:
        said = {"quote": "a", "statement": "The writer loves marmalade.", "opposite": "The writer loves oil."}
        return json.dumps({"hypothesis": said})
    habits = HEDGER if "suppose" in request.prompt else BLUNT
    return written(habits, GARDEN, seed=sum(request.prompt.encode()), sentences=4)


def personalizer(server: ScriptedServer, budget: Budget | None = None, **settings: Any) -> Personalizer:
    """The whole loop over a scripted model, with a scorer that counts words."""
    budget = budget or Budget()
    lm = connect(f"vllm:{server.url}", num_retries=0, budget=budget)
    parts: dict[str, Any] = {
        "scorer": OverlapScorer(),
        "population": FixedPopulation([*OTHERS, *pairs()]),
        "space": SPACE,
        **settings,
    }
    return Personalizer(lm, budget=budget, **parts)


class FirstWords(dspy.Module):
    """A program without a model: names the answer that shares more words with the records, or writes the first one."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, tuple[str, ...]]] = []

    def forward(self, prompt: str, records: Sequence[Pair | Sample]) -> dspy.Prediction:
        self.asked.append((prompt, tuple(record.id for record in records)))
        texts = [record.chosen if isinstance(record, Pair) else record.text for record in records]
        sides = re.findall(r"<([AB])>\n?(.*?)\n?</\1>", prompt, re.DOTALL)
        if not sides:
            return dspy.Prediction(answer=texts[0] if texts else "Nothing at all.")
        known = set(" ".join(texts).lower().split())
        shared = {side: sum(word in known for word in text.lower().split()) for side, text in sides}
        return dspy.Prediction(answer="A" if shared["A"] >= shared["B"] else "B")


def read_lines(path: Path) -> Iterator[Any]:
    """What stands in a file of JSON lines."""
    return (json.loads(line) for line in path.read_text().splitlines())


def listed(folder: Path, name: str, key: str) -> list[str]:
    """What a run's file says under one key, entry by entry."""
    return [entry[key] for entry in read_lines(folder / name)]


def finished(folder: Path, task: Given, outcomes: Sequence[Outcome], **settings: Any) -> Path:
    """The folder of a finished run with these outcomes."""
    run = EvalFolder(folder, {"task": task.name})
    run.cases.write_text(
        "".join(
            json.dumps({"case": o.case, "user": o.user, "cluster": o.cluster, "result": o.result, "error": o.error})
            + "\n"
            for o in outcomes
        )
    )
    summary = summarize(task, outcomes, **{"model": "m", "seed": 0, **settings})
    write_whole(run.path / "summary.json", json.dumps(summary, allow_nan=False))
    return folder
