"""What a distillation will take, and how it is made to fit."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from hyperalign.backends.distill.cost_estimate import fit_to_memory
from hyperalign.backends.distill.recipe import Hardware, Recipe
from hyperalign.backends.distill.student import Student
from tests.backends.distill.test_distill import ADA, asked


@pytest.fixture
def large(tmp_path: Path) -> Student:
    """A student's shape without its weights: of those, the header alone is read."""
    size = {"num_hidden_layers": 28, "hidden_size": 1536, "intermediate_size": 8960, "vocab_size": 151_936}
    (tmp_path / "config.json").write_text(json.dumps(size))
    header = json.dumps({"w": {"dtype": "F32", "shape": [1_540_000_000], "data_offsets": [0, 6_160_000_000]}}).encode()
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    return Student("local:large", tmp_path, "b1", "")


def test_a_large_student_is_made_to_fit_a_small_card(large: Student) -> None:
    wanted = asked(large, [ADA], recipe=Recipe(micro_batch_size=8, bf16=True))
    seen = [fit_to_memory(wanted, Hardware("cuda", True, size * 2**30)).recipe for size in (80, 15, 10, 7)]
    assert [(each.micro_batch_size, each.gradient_checkpointing) for each in seen] == [
        (8, False),
        (2, False),
        (2, True),
        (1, True),
    ]
    assert {each.accumulation_steps * each.micro_batch_size for each in seen} == {8}, "a step teaches the same"


def test_where_memory_is_unknown_nothing_is_changed(large: Student) -> None:
    wanted = asked(large, [ADA], recipe=Recipe(micro_batch_size=8))
    assert fit_to_memory(wanted, Hardware("cpu", False, 0)) == wanted
