"""What goes wrong while adapters are trained and kept: it is named, and nothing is lost."""

from __future__ import annotations

import errno
import json
import math
import resource
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hyperalign.backends.distill.dataset import Scope, build_rows
from hyperalign.backends.distill.recipe import Recipe
from hyperalign.backends.distill.run_state import RunState
from hyperalign.backends.distill.student import Student, load_student, open_student, to_storage_error
from hyperalign.backends.distill.train import build_loss_callback, measure_lengths, read_losses, train
from hyperalign.backends.distill.trainers import build_on_policy
from hyperalign.errors import InputError, ModelError, StorageError, TrainingError, UnknownModelError

from .small_students import HERE, needs_train, probe, traces, trained

pytestmark = pytest.mark.filterwarnings("default")

FEW = {"learning_rate": 1e-3, "max_steps": 6, "eval_steps": 2, "batch_size": 2, "micro_batch_size": 2}
KILLED = """
import os, signal, sys
from pathlib import Path
from hyperalign.backends.distill.student import Student
from tests.backends.distill.small_students import trained

def die(step, done, total):
    if done == 3:
        os.kill(os.getpid(), signal.SIGKILL)

path, folder = map(Path, sys.argv[1:3])
trained(Student("s", path, sys.argv[3], ""), folder, "sft", progress=die, **{FEW})
"""


@needs_train
def test_a_killed_run_goes_on_to_the_same_loss(shallow: Student, tmp_path: Path) -> None:
    whole = trained(shallow, tmp_path / "whole", "sft", **FEW)
    script = KILLED.replace("{FEW}", repr(FEW))
    command = [sys.executable, "-c", script, str(shallow.path), str(tmp_path / "killed"), shallow.sha256]
    done = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert [path.name for path in (tmp_path / "killed" / "checkpoints").glob("checkpoint-*")] == ["checkpoint-2"]
    steps: list[int] = []
    again = trained(shallow, tmp_path / "killed", "sft", progress=lambda _, done, __: steps.append(done), **FEW)
    assert steps == [3, 4, 5, 6], "the first two steps are not made again"
    assert again.steps == whole.steps == 6
    assert again.first_loss == pytest.approx(whole.first_loss, rel=1e-4)
    assert again.last_loss == pytest.approx(whole.last_loss, rel=0.02)
    assert [entry["step"] for entry in read_losses(tmp_path / "killed")] == [1, 2, 3, 4, 5, 6]
    assert not (tmp_path / "killed" / "checkpoints").exists()
    # What is through is not trained again, and another rate is not passed off as this one.
    assert trained(shallow, tmp_path / "killed", "sft", progress=lambda *_: pytest.fail("a step"), **FEW) == again


@needs_train
def test_an_adapter_whose_keys_fit_no_layer_is_caught(shallow: Student, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    found = trained(shallow, tmp_path, "sft", **{**FEW, "max_steps": 1})
    file = found.weights / "adapter_model.safetensors"
    save_file({name.replace("base_model.model.", "wrong."): value for name, value in load_file(file).items()}, file)
    with pytest.raises(TrainingError, match="does not fit its base"):
        probe(shallow, found.weights)
    file.write_bytes(b"no tensors at all")
    with pytest.raises(TrainingError, match="does not fit its base"):
        probe(shallow, found.weights)


@needs_train
def test_a_disk_that_takes_no_weights_is_named_and_nothing_is_lost(shallow: Student, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Room for losses and settings; the first checkpoint's weights are larger.
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, hard))
    try:
        with pytest.raises(StorageError, match="Could not write"):
            trained(shallow, tmp_path, "sft", **FEW)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert trained(shallow, tmp_path, "sft", **FEW).steps == 6


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on the disk"),
        (
            RuntimeError('Error while serializing: IoError(Os { code: 28, kind: StorageFull, message: "…" })'),
            "No space",
        ),
        (
            RuntimeError("[enforce fail at inline_container.cc:858] . PytorchStreamWriter failed writing file"),
            "Could not",
        ),
    ],
)
def test_what_libraries_say_of_a_disk_is_understood(error: Exception, said: str, tmp_path: Path) -> None:
    found = to_storage_error(error, tmp_path)
    assert found is not None
    assert said in found.message
    assert to_storage_error(RuntimeError("shapes do not match"), tmp_path) is None


def test_checkpoints_of_another_training_are_not_gone_on_with(tmp_path: Path) -> None:
    student, made = Student("s", tmp_path, "hash", ""), build_rows(traces(), Scope())

    def begin(recipe: Recipe, *given: list[dict[str, Any]]) -> tuple[bool, bool]:
        RunState.open(tmp_path, student, None, recipe, *given)
        (tmp_path / "checkpoints" / "checkpoint-2").mkdir(parents=True, exist_ok=True)
        (tmp_path / "losses.jsonl").write_text('{"step": 1, "loss": 9.0}\n')
        RunState.open(tmp_path, student, None, Recipe(learning_rate=1e-4), made, [])
        return (tmp_path / "checkpoints").exists(), (tmp_path / "losses.jsonl").exists()

    assert begin(Recipe(learning_rate=1e-4), made, []) == (True, True)
    assert begin(Recipe(learning_rate=3e-4), made, []) == (False, False)
    assert begin(Recipe(learning_rate=1e-4), made[1:], []) == (False, False)
    student = replace(student, sha256="other weights")
    assert begin(Recipe(learning_rate=1e-4), made, []) == (True, True)


@needs_train
def test_a_loss_that_is_no_number_stops_with_its_cause(tmp_path: Path) -> None:
    watched = build_loss_callback(tmp_path)
    state = SimpleNamespace(global_step=7)
    watched.on_log(None, state, None, {"loss": 1.0, "grad_norm": 0.5})
    for logs, what in (
        ({"loss": math.nan}, "the loss is not"),
        ({"eval_loss": math.inf}, "the validation loss is not"),
        ({"loss": 1.0, "grad_norm": math.nan}, "the gradient is not"),
    ):
        with pytest.raises(TrainingError, match=f"At step 7 {what} a number. .*learning rate"):
            watched.on_log(None, state, None, logs)


@needs_train
def test_broken_weights_stop_training_at_the_first_step(shallow: Student, tmp_path: Path) -> None:
    import torch

    model, tokenizer = load_student(shallow)
    with torch.no_grad():
        model.model.norm.weight.fill_(math.nan)
    model.save_pretrained(tmp_path / "broken")
    tokenizer.save_pretrained(tmp_path / "broken")
    with pytest.raises(TrainingError, match=r"At step 1 the .* is not a number"):
        trained(open_student(str(tmp_path / "broken")), tmp_path, "sft", **FEW)


@needs_train
def test_rows_that_do_not_fit_are_refused_before_training(shallow: Student, tmp_path: Path) -> None:
    recipe = Recipe(max_length=8)
    with pytest.raises(InputError, match="No prompt fits into 8 tokens"):
        train(shallow, build_rows(traces(), Scope()), recipe, tmp_path, hardware=HERE)
    assert json.loads((tmp_path / "lengths.json").read_text())["skipped"] == len(traces())


@needs_train
def test_rows_that_are_cut_and_lost_are_counted(shallow: Student) -> None:
    _, tokenizer = load_student(shallow)
    made = build_rows(traces(), Scope())
    fits = measure_lengths(made, tokenizer, 1_000)
    assert (fits.truncated, fits.skipped) == (0, 0)
    assert len(fits.tokens) == len(made)
    longest, asked = max(fits.tokens), min(fits.tokens) // 2
    assert measure_lengths(made, tokenizer, longest - 1).truncated >= 1
    assert measure_lengths(made, tokenizer, asked).skipped >= 1


def test_a_judge_of_another_vocabulary_is_refused() -> None:
    own, theirs = (SimpleNamespace(config=SimpleNamespace(vocab_size=size)) for size in (49_152, 151_936))
    with pytest.raises(InputError, match="The teacher has 151,936 tokens in its vocabulary, the student 49,152"):
        build_on_policy(SimpleNamespace(model=own, teacher=theirs))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="'on-policy' needs a teacher with weights"):
        build_on_policy(SimpleNamespace(model=own, teacher=None))  # type: ignore[arg-type]


def test_nothing_to_train_on(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to train on"):
        train(Student("s", tmp_path, "", ""), [], Recipe(), tmp_path, hardware=HERE)


def test_a_student_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UnknownModelError, match="no checkpoint in"):
        open_student(str(tmp_path))
    with pytest.raises(UnknownModelError, match="smollm2-135m-instruct"):
        open_student("local:smollm2-135m-instrukt")


@needs_train
def test_a_checkpoint_that_is_not_whole_is_named(shallow: Student, tmp_path: Path) -> None:
    folder = tmp_path / "torn"
    folder.mkdir()
    for file in shallow.path.iterdir():
        if file.suffix != ".safetensors":
            shutil.copy(file, folder)
    (folder / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(ModelError, match="does not load"):
        load_student(open_student(str(folder)))
