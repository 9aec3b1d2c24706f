"""The real SmolLM2 as a student: made into a checkpoint once, in the user's cache, like the file it comes from."""

from __future__ import annotations

from pathlib import Path

import pytest

from hyperalign.backends.distill.student import Student, load_student, open_student

from ..conftest import _USER_CACHE


@pytest.fixture(scope="session")
def student(smollm_path: Path) -> Student:
    """SmolLM2 135M Instruct as a checkpoint."""
    del smollm_path  # fetched by it
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HYPERALIGN_CACHE", str(_USER_CACHE))
        return open_student("local:smollm2-135m-instruct")


@pytest.fixture(scope="session")
def shallow(student: Student, tmp_path_factory: pytest.TempPathFactory) -> Student:
    """Its first four layers of thirty: a student that really trains, soon, where what it says is not looked at."""
    model, tokenizer = load_student(student)
    model.model.layers = model.model.layers[:4]
    model.config.num_hidden_layers = 4
    folder = tmp_path_factory.mktemp("shallow") / "smollm2-shallow"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return open_student(str(folder))
