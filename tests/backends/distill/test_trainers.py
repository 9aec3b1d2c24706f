"""Adapters trained for real: every method makes steps on SmolLM2 135M and changes what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hyperalign.backends.distill.dataset import TrainingRow, to_dataset
from hyperalign.backends.distill.probe import merge_adapter
from hyperalign.backends.distill.recipe import Recipe
from hyperalign.backends.distill.student import Student, load_student
from hyperalign.backends.distill.train import TrainingResult, read_losses
from hyperalign.backends.distill.trainers import BUILDERS, TrainerInputs, score_completions_only
from tests.backends.distill.small_students import needs_train, probe, trained

pytestmark = [needs_train, pytest.mark.filterwarnings("default")]


@pytest.fixture(scope="session")
def sailor(student: Student, tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainingResult, Student]:
    """An adapter that knows the answers by heart, and the checkpoint that it makes with its base."""
    folder = tmp_path_factory.mktemp("sailor")
    found = trained(student, folder, "sft", learning_rate=3e-3, max_steps=6)
    return found, merge_adapter(student, found.weights, folder / "merged")


def test_answers_are_learned_by_heart(student: Student, sailor: tuple[TrainingResult, Student]) -> None:
    found, merged = sailor
    assert found.steps == 6
    assert found.last_loss <= found.first_loss / 2
    assert not list(found.weights.glob("*.bin")), "no pickle"
    assert {"adapter_model.safetensors", "adapter_config.json", "chat_template.jinja"} <= {
        path.name for path in found.weights.iterdir()
    }
    seen = probe(student, found.weights)
    assert seen.changed
    assert seen.difference > 0.1
    assert (merged.path / "config.json").is_file()


def test_the_better_draft_is_learned(student: Student, tmp_path: Path) -> None:
    found = trained(student, tmp_path, "dpo", learning_rate=3e-3, max_steps=3)
    assert found.first_loss == pytest.approx(0.693, abs=0.01), "before the first step both drafts are as good"
    assert found.last_loss <= found.first_loss / 2
    assert probe(student, found.weights).changed


def test_what_the_profile_does_is_learned_without_it(student: Student, tmp_path: Path) -> None:
    found = trained(student, tmp_path, "context", learning_rate=3e-3, max_steps=10, max_new_tokens=10)
    # Each step is on words that the student has just drawn: single losses are noisy.
    assert min(entry["loss"] for entry in read_losses(tmp_path)[-3:]) <= found.first_loss / 2
    assert probe(student, found.weights).changed


def test_a_teacher_of_one_vocabulary_judges_the_students_own_words(
    student: Student, sailor: tuple[TrainingResult, Student], tmp_path: Path
) -> None:
    found = trained(student, tmp_path, "on-policy", sailor[1], learning_rate=3e-3, max_steps=6, max_new_tokens=12)
    assert found.last_loss <= found.first_loss / 2
    assert probe(student, found.weights).changed


def test_a_step_has_the_rows_of_all_people_however_long_they_write(shallow: Student, tmp_path: Path) -> None:
    def row(answer: str) -> TrainingRow:
        return {
            "prompt": [{"role": "user", "content": "How are you?"}],
            "completion": [{"role": "assistant", "content": answer}],
        }

    from peft import LoraConfig

    model, tokenizer = load_student(shallow)
    prepared = TrainerInputs(
        model=model,
        tokenizer=tokenizer,
        rows=[row("Fine."), row("Fine, as far as that can be said. " * 4)] * 32,
        validation=[],
        recipe=Recipe(),
        arguments={
            "output_dir": str(tmp_path),
            "per_device_train_batch_size": 4,
            "gradient_accumulation_steps": 2,
            "use_cpu": True,
            "report_to": [],
        },
        lora=LoraConfig(r=1, target_modules="all-linear", task_type="CAUSAL_LM"),
        callbacks=[],
    )
    parts = [
        [int(lengths.sum()) for lengths in batch["attention_mask"]]
        for batch in BUILDERS["sft"](prepared).get_train_dataloader()
    ]
    assert sum(map(len, parts)) == 64
    steps = [first + second for first, second in zip(parts[::2], parts[1::2], strict=True)]
    assert all(len(set(lengths)) == 2 for lengths in steps), "or a step would be one person's"
    assert sum(len(set(lengths)) == 1 for lengths in parts) > len(parts) / 4, "and little of it is padding"


def test_the_loss_of_the_answers_alone_is_that_of_all_tokens(shallow: Student, tmp_path: Path) -> None:
    import torch
    import trl

    def row(prompt: str, answer: str) -> TrainingRow:
        return {
            "prompt": [{"role": "user", "content": prompt}],
            "completion": [{"role": "assistant", "content": answer}],
        }

    told = [row("How are you?", "Fine, as far as that can be said."), row("Tell me all. " * 9, "No.")]

    def trainer(of: type[Any]) -> Any:
        model, tokenizer = load_student(shallow)
        config = trl.SFTConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, report_to=[], max_length=256)
        return of(model=model, processing_class=tokenizer, args=config, train_dataset=to_dataset(told))

    whole, alone = trainer(trl.SFTTrainer), trainer(score_completions_only(trl.SFTTrainer))
    batch = whole.data_collator([whole.train_dataset[index] for index in range(2)])
    for tokens in (None, torch.tensor(40)):
        both = []
        for each in (whole, alone):
            each.model.zero_grad()
            loss = each.compute_loss(each.model, dict(batch), num_items_in_batch=tokens)
            loss.backward()
            both.append((float(loss.detach()), float(each.model.model.layers[0].mlp.up_proj.weight.grad.norm())))
        assert both[1] == pytest.approx(both[0], rel=1e-4)
        assert both[0][0] > 0
    nothing = {**batch, "labels": torch.full_like(batch["labels"], -100)}
    assert float(alone.compute_loss(alone.model, nothing).detach()) == 0, "every answer was cut away"
