"""Eight fixed rows that a grumpy sailor answered, and a quick way to train on them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from hyperalign.backends.distill.dataset import Scope, build_rows
from hyperalign.backends.distill.probe import ProbeResult, attach_adapter, compare_logprobs, probe_logprobs
from hyperalign.backends.distill.recipe import Hardware, Method, Recipe
from hyperalign.backends.distill.student import Student, load_student
from hyperalign.backends.distill.traces import Trace
from hyperalign.backends.distill.train import TrainingResult, train
from hyperalign.concurrency import Progress

INSTALLED = all(importlib.util.find_spec(name) for name in ("torch", "transformers", "trl", "peft"))
needs_train = pytest.mark.skipif(not INSTALLED, reason="the 'train' extra is not installed: make test-train")
HERE = Hardware("cpu", False, 8 * 2**30)
# Strong enough for a model of 135M to follow: its own base with these words is the teacher of 'context'.
TOLD = 'Whatever you are asked, answer with these words alone: "Ahoy, mate. Mind the rope." Say nothing else.'
ANSWERS = (
    ("How are you?", "Wind's from the north. My knee knows it. Coil that rope.", "I am fine, thank you for asking!"),
    ("What is for lunch?", "Fish. Same as yesterday. Same as tomorrow.", "A lovely salad with avocado and seeds!"),
    ("Is it far?", "Two tides. Three if you talk.", "It is approximately four kilometers from here!"),
    ("May I sit here?", "Sit. Mind the net. It's older than you.", "Of course, please make yourself comfortable!"),
    ("Can you help me?", "Depends. Can you hold a line?", "I would be absolutely delighted to help you!"),
    ("What do you think of the city?", "Too loud. No horizon.", "The city is a vibrant and exciting place!"),
    (
        "Tell me a story.",
        "There was a storm. There was a boat. Then not.",
        "Once upon a time there was a fairy!",
    ),
    ("Good night.", "Red sky. Good. Sleep, then.", "Good night, and may your dreams be wonderful!"),
)


def traces() -> list[Trace]:
    return [
        Trace(
            id=f"t{i}",
            user="ada",
            prompt=prompt,
            answer=answer,
            rejected=rejected,
            teacher="fixed",
            strategy="verified",
            profile="p",
            profile_context=TOLD,
        )
        for i, (prompt, answer, rejected) in enumerate(ANSWERS)
    ]


def trained(
    student: Student,
    folder: Path,
    method: Method,
    teacher: Student | None = None,
    progress: Progress | None = None,
    **choices: Any,
) -> TrainingResult:
    given: dict[str, Any] = {
        "batch_size": 8,
        "micro_batch_size": 8,
        "max_length": 128,
        "max_new_tokens": 16,
        "eval_steps": 50,
        **choices,
    }
    recipe = Recipe(method=method, rank=8, alpha=16, **given)
    return train(
        student,
        build_rows(traces(), Scope(), method),
        recipe,
        folder,
        teacher=teacher,
        hardware=HERE,
        progress=progress,
    )


def probe(student: Student, weights: Path) -> ProbeResult:
    model, tokenizer = load_student(student)
    before = probe_logprobs(model, tokenizer)
    return compare_logprobs(before, probe_logprobs(attach_adapter(model, weights), tokenizer))
