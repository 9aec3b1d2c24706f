"""What a search leaves: a folder of JSON and Markdown, read again without running anything in it.

``artifact.json`` says what was asked, on whom, with what, and what came of it; ``prompts.json`` holds the prompts that
are to be used; ``prompts.md`` and ``changes.md`` show them to people. This file searches nothing.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dspy
from pydantic import BaseModel, ConfigDict, ValidationError

from hyperalign.errors import InputError, NotFoundError
from hyperalign.files import write_whole

__all__ = ["Artifact", "Prompt", "Verdict", "apply", "prompts_of", "read_artifact", "same_prompts", "write_artifact"]

_ARTIFACT, _PROMPTS = "artifact.json", "prompts.json"


class Prompt(BaseModel):
    """What one predictor is told.

    Attributes:
        signature: the name of its signature.
        inputs: the names of its fields.
        outputs: the names of its fields.
        instructions: in words.
        demos: solved examples, as JSON.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    signature: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    instructions: str
    demos: tuple[dict[str, Any], ...] = ()


class Verdict(BaseModel):
    """What came of a search.

    Attributes:
        kept: whether the new prompts are used.
        reason: why, or why not, in a sentence.
        before: the people's mean score with the prompts as they were; a person's is the mean of their examples.
        after: with the new ones.
        difference: of the two.
        low: lower end of its 95 % interval.
        high: upper end.
        people: how many there were.
        detectable: the difference that so many people would have shown in four of five searches, spread as they were;
            None where that can't be said, as everybody's score is the same.
        bound: whether ``detectable`` is an upper bound, from the spread of people's scores alone: of two prompts whose
            scores have nothing to do with each other.
        compared: whether there was anything to compare with the prompts as they were.
        tokens_before: of an answer, prompt included.
        tokens_after: with the new prompts.
    """

    model_config = ConfigDict(frozen=True)

    kept: bool
    reason: str
    before: float
    after: float
    difference: float
    low: float
    high: float
    people: int
    minimum_detectable_effect: float | None
    bound: bool = False
    compared: bool = True
    tokens_before: float
    tokens_after: float

    @property
    def power(self) -> str:
        """What so many people would have shown, in a sentence."""
        if self.minimum_detectable_effect is None:
            return (
                "Everybody's score is the same with the prompts as they were, so that it can't be said what difference "
                f"{self.people} people would have shown."
            )
        shown = (
            f"{self.minimum_detectable_effect:.3f}"
            if self.minimum_detectable_effect >= 0.001
            else f"{self.minimum_detectable_effect:.1g}"
        )
        if self.bound:
            return (
                f"The difference that {self.people} people would have shown in four of five searches is at most "
                f"{shown}, by the spread of their scores."
            )
        return f"So many people would have shown a difference of {shown} in four of five searches."


class Artifact(BaseModel):
    """A search and what came of it.

    Attributes:
        schema_version: of this file.
        step: which step of the loop the prompts are for; empty for a program of one's own.
        optimizer: its name.
        model: that the prompts were tuned for.
        reflection: the model that wrote instructions; empty if none did.
        task: what they were tuned on, in the caller's words.
        note: what a reader of the figures must know of those people; may be empty.
        seed: of the split and the search.
        users: who was in which part.
        versions: of the libraries.
        verdict: what came of it.
        validation: what each example of the people who decided scored and took, before and after.
        tried: each candidate with its score on the training people, and each proposal that was not run on all of them,
            with the reason; without its words where they gave somebody away.
        refused: proposals that were not run, by reason.
        spent: calls, tokens and money by step.
        prompts: that are to be used: the new ones if they were kept, else those that were there.
        found: the best that the search came to, kept or not.
        before: the prompts as they were.
        sent: what each predictor sends, its inputs as their names in braces; empty where nobody said.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = 1
    step: str = ""
    optimizer: str
    model: str = ""
    reflection: str = ""
    task: str = ""
    note: str = ""
    seed: int = 0
    users: Mapping[str, tuple[str, ...]]
    versions: Mapping[str, str]
    verdict: Verdict
    validation: tuple[dict[str, Any], ...] = ()
    tried: tuple[dict[str, Any], ...] = ()
    refused: Mapping[str, int] = {}
    spent: Mapping[str, Any] = {}
    prompts: Mapping[str, Prompt]
    found: Mapping[str, Prompt]
    before: Mapping[str, Prompt]
    sent: Mapping[str, tuple[dict[str, str], ...]] = {}


def prompts_of(program: dspy.Module) -> dict[str, Prompt]:
    """The prompts of a program's predictors, by name."""
    return {
        name: Prompt(
            signature=predictor.signature.__name__,
            inputs=tuple(predictor.signature.input_fields),
            outputs=tuple(predictor.signature.output_fields),
            instructions=predictor.signature.instructions,
            demos=tuple(_plain(demo) for demo in predictor.demos),
        )
        for name, predictor in program.named_predictors()
    }


def same_prompts(one: Mapping[str, Prompt], other: Mapping[str, Prompt]) -> bool:
    """Whether two programs are told the same; the names of signatures tell nothing, and DSPy changes them."""
    return {name: (prompt.instructions, prompt.demos) for name, prompt in one.items()} == {
        name: (prompt.instructions, prompt.demos) for name, prompt in other.items()
    }


def apply(program: dspy.Module, prompts: Mapping[str, Prompt], *, where: str = "the artifact") -> None:
    """Give a program other prompts: instructions and demonstrations, and nothing else of a predictor.

    Args:
        program: is changed.
        prompts: by predictor.
        where: they are from, for messages.

    Raises:
        InputError: the program has no such predictor, or it asks for other things.
    """
    predictors = dict(program.named_predictors())
    for name, prompt in prompts.items():
        if name not in predictors:
            raise InputError(
                f"{where} has prompts for {name!r}, which this program does not have.",
                remedy=f"It has: {', '.join(predictors) or 'none'}. Was it tuned for another step or version?",
            )
        signature = predictors[name].signature
        asked = (tuple(signature.input_fields), tuple(signature.output_fields))
        if asked != (prompt.inputs, prompt.outputs):
            raise InputError(
                f"{where} was tuned for {name!r} with {', '.join((*prompt.inputs, *prompt.outputs))}, and it has "
                f"{', '.join((*asked[0], *asked[1]))} now.",
                remedy="Optimize it again with this version.",
            )
    for name, prompt in prompts.items():
        predictors[name].signature = predictors[name].signature.with_instructions(prompt.instructions)
        predictors[name].demos = [dspy.Example(**demo).with_inputs(*prompt.inputs) for demo in prompt.demos]


def write_artifact(folder: Path, artifact: Artifact) -> None:
    """Write all files of an artifact.

    Raises:
        StorageError: the disk is full or not writable.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data = artifact.model_dump(mode="json")
    prompts = data.pop("prompts")
    write_whole(folder / _PROMPTS, json.dumps(prompts, indent=2, ensure_ascii=False) + "\n")
    write_whole(folder / _ARTIFACT, json.dumps(data, indent=2, ensure_ascii=False) + "\n")
    write_whole(folder / "prompts.md", _shown(artifact.prompts))
    write_whole(folder / "changes.md", _changes(artifact))


def read_artifact(folder: Path) -> Artifact:
    """An artifact from its folder.

    Raises:
        NotFoundError: there is none.
        InputError: a file is missing, damaged, or of a version that this one does not know.
    """
    if not (folder / _ARTIFACT).is_file():
        raise NotFoundError(
            f"There is no optimized program in {folder}.", remedy="A search that was stopped goes on with --resume."
        )
    try:
        data = json.loads((folder / _ARTIFACT).read_bytes())
        if data.get("schema_version") != 1:
            raise InputError(
                f"{folder} is of version {data.get('schema_version')!r}, and this hyperalign reads version 1.",
                remedy="Use the hyperalign that wrote it, or optimize again.",
            )
        return Artifact.model_validate(data | {"prompts": json.loads((folder / _PROMPTS).read_bytes())})
    except (OSError, ValueError, AttributeError, ValidationError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"The optimized program in {folder} can't be read: {str(error).splitlines()[0]}.",
            remedy="Get an intact copy, or optimize again.",
        ) from error


def _plain(demo: Any) -> dict[str, Any]:
    data = demo.toDict() if hasattr(demo, "toDict") else dict(demo)
    plain: dict[str, Any] = json.loads(json.dumps(data, default=_jsonable))
    return plain


def _jsonable(value: Any) -> Any:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else str(value)


def _shown(prompts: Mapping[str, Prompt]) -> str:
    lines = []
    for name, prompt in prompts.items():
        lines += [f"## {name}", "", prompt.instructions, ""]
        for number, demo in enumerate(prompt.demos, start=1):
            shown = json.dumps(demo, indent=2, ensure_ascii=False)
            lines += [f"Demonstration {number}:", "", *(f"    {line}" for line in shown.splitlines()), ""]
    return "\n".join(lines)


def _changes(artifact: Artifact) -> str:
    verdict = artifact.verdict
    lines = [
        f"# {artifact.step or 'program'}, by {artifact.optimizer}",
        "",
        f"{'Kept' if verdict.kept else 'Not kept'}: {verdict.reason}.",
        "",
        "| | before | after |",
        "|---|---|---|",
        f"| score of {verdict.people} people not searched on | {verdict.before:.3f} | {_after(verdict, 'after', 3)} |",
        f"| tokens an answer | {verdict.tokens_before:.0f} | {_after(verdict, 'tokens_after', 0)} |",
        "",
        f"Difference {verdict.difference:+.3f} (95 %: {verdict.low:+.3f} to {verdict.high:+.3f}). {verdict.power}"
        if verdict.compared
        else f"There was nothing to compare. {verdict.power}",
        "",
        *([artifact.note, ""] if artifact.note else []),
    ]
    for name, found in artifact.found.items():
        old = artifact.before[name]
        lines += [f"## {name}", ""]
        if same_prompts({name: found}, {name: old}):
            lines += ["As it was.", ""]
            continue
        diff = difflib.unified_diff(
            _sentences(old.instructions), _sentences(found.instructions), "before", "found", lineterm=""
        )
        lines += [
            "```diff",
            *diff,
            "```",
            "",
            f"Demonstrations: {len(old.demos)} before, {len(found.demos)} found.",
            "",
        ]
    return "\n".join(lines)


def _after(verdict: Verdict, name: str, places: int) -> str:
    return f"{getattr(verdict, name):.{places}f}" if verdict.compared else ""


def _sentences(text: str) -> list[str]:
    return text.replace(". ", ".\n").splitlines()
