"""The result of a search as a folder of JSON and Markdown.

``artifact.json`` has the settings, the people and the figures, and ``prompts.json`` the prompts to use; ``prompts.md``
and ``changes.md`` show both to people.
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
from hyperalign.text import printable

__all__ = ["Artifact", "Prompt", "Verdict", "apply", "prompts_of", "read_artifact", "same_prompts", "write_artifact"]

_ARTIFACT, _PROMPTS = "artifact.json", "prompts.json"


class Prompt(BaseModel):
    """The prompt of one predictor.

    Attributes:
        signature: the name of its signature.
        inputs: names of its input fields.
        outputs: names of its output fields.
        instructions: its instructions.
        demos: demonstrations, as JSON.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    signature: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    instructions: str
    demos: tuple[dict[str, Any], ...] = ()


class Verdict(BaseModel):
    """Whether new prompts are kept, and the figures behind it.

    Attributes:
        kept: whether the new prompts are used.
        reason: why or why not, in a sentence.
        before: mean over people of their mean scores, with the old prompts.
        after: the same with the new prompts.
        difference: ``after`` minus ``before``.
        low: lower end of its 95 % interval.
        high: upper end.
        people: how many people.
        minimum_detectable_effect: the difference that so many people show with 80 % power; None where all scores are
            equal.
        bound: whether that is an upper bound, computed from the variance of people's scores as if the scores under two
            prompts were independent.
        compared: whether there were new prompts to compare.
        tokens_before: mean tokens of an answer and its prompt, with the old prompts.
        tokens_after: the same with the new prompts.
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
        """The minimum detectable effect, in a sentence."""
        effect = self.minimum_detectable_effect
        if effect is None:
            return f"The minimum detectable effect of {self.people} people is unknown: all their scores are equal."
        shown = f"{effect:.3f}" if effect >= 0.001 else f"{effect:.1g}"
        bound = "at most " if self.bound else ""
        return f"The minimum detectable effect of {self.people} people (80 % power) is {bound}{shown}."


class Artifact(BaseModel):
    """A search and its result.

    Attributes:
        schema_version: of this file.
        step: which step the prompts are for; empty for another program.
        optimizer: its name.
        model: the model that the prompts were tuned for.
        reflection: the model that wrote instructions; empty if none did.
        task: what the prompts were tuned on, in the caller's words.
        note: a caveat about the people; may be empty.
        seed: of the split and the search.
        users: ids of people by part, ``train`` and ``validation``.
        versions: of the libraries.
        verdict: whether the new prompts are kept.
        validation: score and tokens of each example of the people in ``validation``, before and after.
        tried: each candidate with its score on the training people, and each proposal that was not run, with the
            reason; without its words where they leak.
        refused: how many proposals were not run, by reason.
        spent: calls, tokens and money by step.
        prompts: the prompts to use: the new ones if they were kept, else the old ones.
        found: the best prompts of the search, kept or not.
        before: the old prompts.
        sent: the messages of each predictor, with the names of its inputs in braces; empty where unknown.
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
            demos=tuple(_as_json(demo) for demo in predictor.demos),
        )
        for name, predictor in program.named_predictors()
    }


def same_prompts(one: Mapping[str, Prompt], other: Mapping[str, Prompt]) -> bool:
    """Whether two programs have the same instructions and demonstrations; DSPy changes the names of signatures."""
    first, second = (
        {name: (prompt.instructions, prompt.demos) for name, prompt in prompts.items()} for prompts in (one, other)
    )
    return first == second


def apply(program: dspy.Module, prompts: Mapping[str, Prompt], *, where: str = "the artifact") -> None:
    """Set the instructions and demonstrations of a program.

    Args:
        program: is changed.
        prompts: by predictor.
        where: their origin, for messages.

    Raises:
        InputError: the program lacks a predictor, or has one with other fields.
    """
    predictors = dict(program.named_predictors())
    for name, prompt in prompts.items():
        if name not in predictors:
            raise InputError(
                f"{where} has prompts for {name!r}, which this program does not have.",
                remedy=f"It has: {', '.join(predictors) or 'none'}. Use the artifact of this step and version.",
            )
        signature = predictors[name].signature
        fields = (tuple(signature.input_fields), tuple(signature.output_fields))
        if fields != (prompt.inputs, prompt.outputs):
            raise InputError(
                f"{where} was tuned for {name!r} with {', '.join((*prompt.inputs, *prompt.outputs))}, and it has "
                f"{', '.join((*fields[0], *fields[1]))} now.",
                remedy="Optimize it again with this version.",
            )
    for name, prompt in prompts.items():
        predictors[name].signature = predictors[name].signature.with_instructions(prompt.instructions)
        predictors[name].demos = [dspy.Example(**demo).with_inputs(*prompt.inputs) for demo in prompt.demos]


def write_artifact(folder: Path, artifact: Artifact) -> None:
    """Write the files of an artifact.

    Raises:
        StorageError: the disk is full or not writable.
    """
    data = artifact.model_dump(mode="json")
    prompts = data.pop("prompts")
    write_whole(folder / _PROMPTS, json.dumps(prompts, indent=2, ensure_ascii=False) + "\n")
    write_whole(folder / _ARTIFACT, json.dumps(data, indent=2, ensure_ascii=False) + "\n")
    write_whole(folder / "prompts.md", printable(_render_prompts(artifact.prompts)))
    write_whole(folder / "changes.md", printable(_render_changes(artifact)))


def read_artifact(folder: Path) -> Artifact:
    """Read an artifact from its folder.

    Raises:
        NotFoundError: there is none.
        InputError: a file is missing, damaged, or of an unknown version.
    """
    if not (folder / _ARTIFACT).is_file():
        raise NotFoundError(
            f"There is no optimized program in {folder}.", remedy="Resume a stopped search with --resume."
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


def _as_json(demo: Any) -> dict[str, Any]:
    def default(value: Any) -> Any:
        return value.model_dump(mode="json") if isinstance(value, BaseModel) else str(value)

    data = demo.toDict() if hasattr(demo, "toDict") else dict(demo)
    plain: dict[str, Any] = json.loads(json.dumps(data, default=default))
    return plain


def _render_prompts(prompts: Mapping[str, Prompt]) -> str:
    lines = []
    for name, prompt in prompts.items():
        lines += [f"## {name}", "", prompt.instructions, ""]
        for number, demo in enumerate(prompt.demos, start=1):
            shown = json.dumps(demo, indent=2, ensure_ascii=False)
            lines += [f"Demonstration {number}:", "", *(f"    {line}" for line in shown.splitlines()), ""]
    return "\n".join(lines)


def _render_changes(artifact: Artifact) -> str:
    verdict = artifact.verdict
    after, tokens_after = (f"{verdict.after:.3f}", f"{verdict.tokens_after:.0f}") if verdict.compared else ("", "")
    compared = (
        f"Difference {verdict.difference:+.3f} (95 %: {verdict.low:+.3f} to {verdict.high:+.3f})."
        if verdict.compared
        else "There was nothing to compare."
    )
    lines = [
        f"# {artifact.step or 'program'}, by {artifact.optimizer}",
        "",
        f"{'Kept' if verdict.kept else 'Not kept'}: {verdict.reason}.",
        "",
        "| | before | after |",
        "|---|---|---|",
        f"| score of {verdict.people} people not searched on | {verdict.before:.3f} | {after} |",
        f"| tokens per answer | {verdict.tokens_before:.0f} | {tokens_after} |",
        "",
        f"{compared} {verdict.power}",
        "",
        *([artifact.note, ""] if artifact.note else []),
    ]
    for name, found in artifact.found.items():
        old = artifact.before[name]
        lines += [f"## {name}", ""]
        if same_prompts({name: found}, {name: old}):
            lines += ["Unchanged.", ""]
            continue
        # One sentence per line, so that the diff shows which sentences changed.
        was, new = (prompt.instructions.replace(". ", ".\n").splitlines() for prompt in (old, found))
        diff = difflib.unified_diff(was, new, "before", "found", lineterm="")
        demos = f"Demonstrations: {len(old.demos)} before, {len(found.demos)} found."
        lines += ["```diff", *diff, "```", "", demos, ""]
    return "\n".join(lines)
