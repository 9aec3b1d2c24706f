"""Every method and scope from people and prompts to a sealed adapter, and what training is watched by.

The student has four layers and really trains; what it says is not looked at.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hyperalign.backends.distill.adapters import open_adapter
from hyperalign.backends.distill.collect import Teacher
from hyperalign.backends.distill.dataset import Scope, build_prefix, build_rows
from hyperalign.backends.distill.distill import distill, split_prompts
from hyperalign.backends.distill.probe import attach_adapter, probe_logprobs
from hyperalign.backends.distill.recipe import Recipe
from hyperalign.backends.distill.student import Student, load_student, open_student
from hyperalign.backends.distill.train import TrainingResult, read_losses, train
from hyperalign.errors import InputError
from hyperalign.programs.strategies import strategy
from tests.backends.distill.small_students import HERE, needs_train, traces
from tests.backends.distill.test_distill import ADA, BRUNO, PROMPTS, RECIPE, asked, teacher
from tests.fixtures.scripted_server import Recorded, ScriptedServer, reply
from tests.hyperalign.cli.conftest import Run, run

__all__ = ["run"]  # the fixture

pytestmark = [needs_train, pytest.mark.filterwarnings("default")]

TWO_STEPS = replace(RECIPE, max_steps=2, max_new_tokens=6, max_length=256)


def made_rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "training" / "rows.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("watched", [True, False])
def test_of_two_drafts_the_one_that_is_more_like_the_person_teaches(
    watched: bool, scripted_server: ScriptedServer, shallow: Student, tmp_path: Path
) -> None:
    held_back = split_prompts(PROMPTS).validation
    drafts: dict[str, int] = {}

    def two(request: Recorded) -> str:
        drafts[request.prompt] = number = drafts.get(request.prompt, 0) + 1
        alike = not watched and any(prompt in request.prompt for prompt in held_back)
        if number % 2 and not alike:
            return "It goes on and on in one single sentence that has no end in sight, which nobody ever reads at all."
        return "It is short. It is good. It ends."

    by = replace(teacher(scripted_server), drafts=2)
    scripted_server.default = reply(two)
    folder = tmp_path / "letters"
    made = distill(asked(shallow, [ADA], recipe=replace(TWO_STEPS, method="dpo")), by, folder, hardware=HERE)
    assert made.card.method == "dpo"
    assert made.card.training["first_loss"] == pytest.approx(0.693, abs=0.01)
    for row in made_rows(folder):
        assert row["chosen"][0]["content"].startswith("It is short."), "what Ada writes: sentences of four words"
        assert row["rejected"][0]["content"].startswith("It goes on")
    if watched:  # Both are learned: the held-back prompts have the same two drafts.
        assert float(str(made.card.training["validation_loss"])) < 0.6
    else:  # Where their drafts are alike there is nothing to watch, which is no reason to end.
        assert made.card.training["validation_rows"] == 0
        assert made.card.training["validation_loss"] is None


@pytest.mark.parametrize("method", ["context", "on-policy"])
def test_a_student_that_writes_itself_asks_nobody(
    method: str, shallow: Student, student: Student, tmp_path: Path
) -> None:
    folder = tmp_path / "letters"
    judge = student if method == "on-policy" else None
    wanted = asked(shallow, [ADA], recipe=replace(TWO_STEPS, method=method))  # type: ignore[arg-type]
    made = distill(wanted, Teacher(None, strategy("verified")), folder, scoring_teacher=judge, hardware=HERE)
    assert made.card.training["steps"] == 2
    assert made.card.teacher == (judge or shallow).name
    assert made.card.traces == len(split_prompts(PROMPTS).train)
    assert not (folder / "training" / "traces.jsonl").exists()
    for row in made_rows(folder):
        assert "Short sentences" not in json.dumps(row["prompt"]), "the student is not shown the profile"
        assert ("Short sentences" in row.get("privileged_context", "")) is (method == "context")


def test_a_prefix_says_who_is_meant_and_the_merged_model_writes_as_the_adapter(
    scripted_server: ScriptedServer, shallow: Student, run: Run, tmp_path: Path
) -> None:
    told = {person.user: build_prefix(person) for person in (ADA, BRUNO)}
    wanted = asked(shallow, [ADA, BRUNO], scope=Scope("prefix", told), recipe=TWO_STEPS)
    folder = tmp_path / "letters"
    made = distill(wanted, teacher(scripted_server), folder, hardware=HERE)
    assert made.card.prefixes == told, "so that whoever serves it can say it"
    assert {row["prompt"][0]["content"] for row in made_rows(folder)} == set(told.values())
    with pytest.raises(InputError, match="no prefix for 'chiara'"):
        Scope(made.card.scope, made.card.prefixes).system("chiara")

    exported = run("adapters", "export", folder, "--merge", "--out", "merged")
    assert exported.code == 0, exported.err
    merged = load_student(open_student(str(tmp_path / "merged")))
    base, tokenizer = load_student(shallow)
    before = probe_logprobs(base, tokenizer)
    tuned = probe_logprobs(attach_adapter(base, open_adapter(folder).path), tokenizer)
    assert probe_logprobs(*merged) == pytest.approx(tuned, abs=1e-3)
    assert before != pytest.approx(tuned, abs=1e-3)
    again = run("adapters", "export", folder, "--merge", "--out", "merged")
    assert again.code == 3
    assert "is not empty" in again.err


# What training is watched by: at a rate that is far too high it soon gets worse.

WATCHED = Recipe(
    rank=8,
    alpha=16,
    learning_rate=3e-2,
    max_steps=20,
    batch_size=8,
    micro_batch_size=8,
    max_length=128,
    eval_steps=1,
    patience=2,
)


def watched(shallow: Student, folder: Path, stop_after: int = 0) -> tuple[TrainingResult, dict[int, bytes]]:
    """Train, and say what weights were kept after which step."""
    kept: dict[int, bytes] = {}

    def progress(_: str, done: int, __: int) -> None:
        for weights in folder.glob("checkpoints/checkpoint-*/adapter_model.safetensors"):
            kept[int(weights.parent.name.removeprefix("checkpoint-"))] = weights.read_bytes()
        if done == stop_after:
            raise KeyboardInterrupt

    made = build_rows(traces(), Scope())
    found = train(shallow, made, WATCHED, folder, validation=made, hardware=HERE, progress=progress)
    return found, kept


def looks(folder: Path) -> dict[int, float]:
    return {entry["step"]: entry["eval_loss"] for entry in read_losses(folder) if "eval_loss" in entry}


def test_training_ends_when_nothing_better_is_found_and_keeps_the_best(shallow: Student, tmp_path: Path) -> None:
    found, kept = watched(shallow, tmp_path / "whole")
    seen = looks(tmp_path / "whole")
    best = min(seen, key=lambda step: seen[step])
    assert found.steps == max(seen) == best + WATCHED.patience, "two looks found nothing better"
    assert found.steps < WATCHED.max_steps
    assert found.validation_loss == pytest.approx(seen[best])
    assert (found.weights / "adapter_model.safetensors").read_bytes() == kept[best] != kept[best + 1]

    with pytest.raises(KeyboardInterrupt):
        watched(shallow, tmp_path / "stopped", stop_after=found.steps - 1)
    again, _ = watched(shallow, tmp_path / "stopped")
    assert again.steps == found.steps, "how long nothing better was found counts on"
    assert looks(tmp_path / "stopped") == pytest.approx(seen, rel=0.02)
