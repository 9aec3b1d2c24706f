"""The example people: valid records, the same prompts, one copy of the truth."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import pytest

from hyperalign.records import Pair, Sample

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


@pytest.mark.parametrize("name", [*USERS, "choices"])
def test_the_examples_folder_shows_the_packaged_files(name: str) -> None:
    example = ROOT / "examples" / "people" / f"{name}.jsonl"
    assert example.read_bytes() == files("hyperalign").joinpath("people", f"{name}.jsonl").read_bytes()


def test_everybody_chooses_between_the_same_answers_and_not_alike() -> None:
    lines = files("hyperalign").joinpath("people", "choices.jsonl").read_text(encoding="utf-8").splitlines()
    chosen: dict[str, set[str]] = {}
    for pair in (Pair.model_validate_json(line) for line in lines):
        chosen.setdefault(pair.prompt, set()).add(pair.chosen)
    assert len(chosen) == 4
    assert all(len(taken) == 2 for taken in chosen.values()), "what all of them prefer would set nobody apart"


def test_the_plain_letters_are_adas() -> None:
    texts = {sample.text for sample in samples_of("ada")}
    letters = sorted((ROOT / "examples" / "letters" / "ada").glob("*.txt"))
    assert len(letters) == 3
    assert all(letter.read_text(encoding="utf-8").strip() in texts for letter in letters)
