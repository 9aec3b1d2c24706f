"""What goes wrong while adapters are trained and kept: it is named, and nothing is lost."""

from __future__ import annotations

import json
import math
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from hyperalign.backends.training.probe import probe
from hyperalign.backends.training.recipe import Recipe
from hyperalign.backends.training.rows import Scope, rows
from hyperalign.backends.training.student import Student, load_student, open_student
from hyperalign.backends.training.train import measure_lengths, train
from hyperalign.backends.training.watch import losses, watcher
from hyperalign.errors import InputError, ModelError, StorageError, TrainingError, UnknownModelError

from .sailor import HERE, needs_train, traces, trained

pytestmark = pytest.mark.filterwarnings("default")

FEW = {"learning_rate": 1e-3, "max_steps": 6, "look_every": 2, "batch": 2, "at_once": 2}
KILLED = """
import os, signal, sys
from pathlib import Path
from hyperalign.backends.training.student import Student
from tests.backends.training.sailor import trained

def die(step, done, total):
    if done == 3:
        os.kill(os.getpid(), signal.SIGKILL)

path, folder = map(Path, sys.argv[1:])
trained(Student("s", path, "", ""), folder, "sft", progress=die, **{FEW})
"""


@needs_train
def test_a_killed_run_goes_on_to_the_same_loss(student: Student, tmp_path: Path) -> None:
    whole = trained(student, tmp_path / "whole", "sft", **FEW)
    script = KILLED.replace("{FEW}", repr(FEW))
    command = [sys.executable, "-c", script, str(student.path), str(tmp_path / "killed")]
    done = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert [path.name for path in (tmp_path / "killed" / "checkpoints").glob("checkpoint-*")] == ["checkpoint-2"]
    steps: list[int] = []
    again = trained(student, tmp_path / "killed", "sft", progress=lambda _, done, __: steps.append(done), **FEW)
    assert steps == [3, 4, 5, 6], "the first two steps are not made again"
    assert again.steps == whole.steps == 6
    assert again.first_loss == pytest.approx(whole.first_loss, rel=1e-4)
    assert again.last_loss == pytest.approx(whole.last_loss, rel=0.02)
    assert [entry["step"] for entry in losses(tmp_path / "killed")] == [1, 2, 3, 4, 5, 6]
    assert not (tmp_path / "killed" / "checkpoints").exists()


@needs_train
def test_an_adapter_whose_keys_fit_no_layer_is_caught(student: Student, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    found = trained(student, tmp_path, "sft", **{**FEW, "max_steps": 1})
    file = found.weights / "adapter_model.safetensors"
    save_file({name.replace("base_model.model.", "wrong."): value for name, value in load_file(file).items()}, file)
    with pytest.raises(TrainingError, match="does not fit its base"):
        probe(student, found.weights)
    file.write_bytes(b"no tensors at all")
    with pytest.raises(TrainingError, match="does not fit its base"):
        probe(student, found.weights)


@needs_train
def test_a_full_disk_is_named(student: Student, tmp_path: Path) -> None:
    (tmp_path / "losses.jsonl").symlink_to("/dev/full")
    with pytest.raises(StorageError, match="No space left"):
        trained(student, tmp_path, "sft", **FEW)


@needs_train
def test_a_loss_that_is_no_number_stops_with_its_cause(tmp_path: Path) -> None:
    watched = watcher(tmp_path)
    state = SimpleNamespace(global_step=7)
    watched.on_log(None, state, None, {"loss": 1.0, "grad_norm": 0.5})
    for logs, what in (
        ({"loss": math.nan}, "the loss is not"),
        ({"eval_loss": math.inf}, "the loss on validation rows is not"),
        ({"loss": 1.0, "grad_norm": math.nan}, "the gradient is not"),
    ):
        with pytest.raises(TrainingError, match=f"At step 7 {what} a number. .*learning rate"):
            watched.on_log(None, state, None, logs)


@needs_train
def test_broken_weights_stop_training_at_the_first_step(student: Student, tmp_path: Path) -> None:
    import torch

    model, tokenizer = load_student(student)
    with torch.no_grad():
        model.model.norm.weight.fill_(math.nan)
    model.save_pretrained(tmp_path / "broken")
    tokenizer.save_pretrained(tmp_path / "broken")
    with pytest.raises(TrainingError, match=r"At step 1 the .* is not a number"):
        trained(open_student(str(tmp_path / "broken")), tmp_path, "sft", **FEW)


@needs_train
def test_rows_that_do_not_fit_are_refused_before_training(student: Student, tmp_path: Path) -> None:
    recipe = Recipe(max_length=8)
    with pytest.raises(InputError, match="No prompt fits into 8 tokens"):
        train(student, rows(traces(), Scope()), recipe, tmp_path, hardware=HERE)
    assert json.loads((tmp_path / "lengths.json").read_text())["lost"] == len(traces())


@needs_train
def test_rows_that_are_cut_and_lost_are_counted(student: Student) -> None:
    _, tokenizer = load_student(student)
    made = rows(traces(), Scope())
    fits = measure_lengths(made, tokenizer, 1_000)
    assert (fits.cut, fits.lost) == (0, 0)
    assert len(fits.tokens) == len(made)
    longest, asked = max(fits.tokens), min(fits.tokens) // 2
    assert measure_lengths(made, tokenizer, longest - 1).cut >= 1
    assert measure_lengths(made, tokenizer, asked).lost >= 1


def test_nothing_to_train_on(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to train on"):
        train(Student("s", tmp_path, "", ""), [], Recipe(), tmp_path, hardware=HERE)


def test_a_student_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UnknownModelError, match="no checkpoint in"):
        open_student(str(tmp_path))
    with pytest.raises(UnknownModelError, match="smollm2-135m-instruct"):
        open_student("local:smollm2-135m-instrukt")


@needs_train
def test_a_checkpoint_that_is_not_whole_is_named(student: Student, tmp_path: Path) -> None:
    folder = tmp_path / "torn"
    folder.mkdir()
    for file in student.path.iterdir():
        if file.suffix != ".safetensors":
            shutil.copy(file, folder)
    (folder / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(ModelError, match="does not load"):
        load_student(open_student(str(folder)))
