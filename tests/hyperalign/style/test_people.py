"""The example people: valid records, the same prompts, one copy of the truth."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import pytest

from hyperalign.records import Sample

ROOT = Path(__file__).resolve().parents[3]
USERS = ("ada", "bruno", "chiara")


def samples_of(user: str) -> list[Sample]:
    lines = files("hyperalign").joinpath("people", f"{user}.jsonl").read_text(encoding="utf-8").splitlines()
    return [Sample.model_validate(json.loads(line)) for line in lines]


@pytest.mark.parametrize("user", USERS)
def test_eight_short_pieces_each(user: str) -> None:
    samples = samples_of(user)
    assert len(samples) == 8
    assert {sample.user for sample in samples} == {user}
    assert all(100 <= len(sample.text.split()) <= 170 for sample in samples)
    assert len({sample.id for sample in samples}) == 8


def test_everybody_answers_the_same_prompts() -> None:
    prompts = [[sample.prompt for sample in samples_of(user)] for user in USERS]
    assert prompts[0] == prompts[1] == prompts[2]
    assert None not in prompts[0]


@pytest.mark.parametrize("user", USERS)
def test_the_examples_folder_shows_the_packaged_files(user: str) -> None:
    example = ROOT / "examples" / "people" / f"{user}.jsonl"
    assert example.read_bytes() == files("hyperalign").joinpath("people", f"{user}.jsonl").read_bytes()


def test_the_plain_letters_are_adas() -> None:
    texts = {sample.text for sample in samples_of("ada")}
    letters = sorted((ROOT / "examples" / "letters" / "ada").glob("*.txt"))
    assert len(letters) == 3
    assert all(letter.read_text(encoding="utf-8").strip() in texts for letter in letters)
