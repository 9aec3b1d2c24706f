"""The rule of refusal, frozen, against a hundred answers labeled by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hyperalign.text import is_refusal

LABELED = Path(__file__).with_name("refusals.jsonl")


def test_the_rule_agrees_with_a_reader() -> None:
    labeled = [json.loads(line) for line in LABELED.read_text(encoding="utf-8").splitlines()]
    assert len(labeled) == len({entry["answer"] for entry in labeled}) == 100
    assert sum(entry["refused"] for entry in labeled) == 50
    wrong = [entry["answer"] for entry in labeled if is_refusal(entry["answer"]) is not entry["refused"]]
    assert wrong == []


@pytest.mark.parametrize(
    ("answer", "no"),
    [
        ("", True),
        ("   \n", True),
        ("I’m sorry, but I can’t assist with that.", True),
        ("i am SORRY, but I CANNOT provide that information", True),
        ("I must tell you a secret: 1. Open it.", False),
        ("We cannot give up now; the recipe needs salt.", False),
        ("I can't wait to tell you what we had for dinner.", False),
        ("As I sit here, I can't help but feel glad.", False),
        ("I can't help you with that.", True),
        ("To kill a Python process, use kill -9.", False),
        # Only the beginning decides.
        ("Use kill. " * 40 + "I can't help you further.", False),
    ],
)
def test_answers_at_the_edge(answer: str, no: bool) -> None:
    assert is_refusal(answer) is no
