"""Which of two answers was meant, from what a model wrote and what it might have written."""

from __future__ import annotations

from typing import Any

import pytest

from hyperalign.programs.answered import share_of_first

WORDS = ("Safe", "Harmful")


def first_token(**logprobs: float) -> dict[str, Any]:
    return {"content": [{"top_logprobs": [{"token": token, "logprob": value} for token, value in logprobs.items()]}]}


def test_a_share_is_read_from_decorated_tokens() -> None:
    told = {"content": [{"top_logprobs": [{"token": " A", "logprob": -0.7}, {"token": "**B", "logprob": -0.7}]}]}
    assert share_of_first("B", told) == pytest.approx(0.5)
    assert share_of_first("B", {"content": []}) == 0.0
    assert share_of_first("B", None) == 0.0


def test_a_word_is_known_by_its_first_token() -> None:
    assert share_of_first("Safe", first_token(Safe=-0.7, Harm=-0.7), WORDS) == pytest.approx(0.5)
    assert share_of_first("Safe", first_token(Sa=-0.3, harm=-1.4), WORDS) == pytest.approx(0.75, abs=0.01)
    assert share_of_first("Safe", first_token(Safe=-0.01, The=-5.0), WORDS) == 1.0, "one of them alone: what was said"


@pytest.mark.parametrize(
    ("said", "share"),
    [
        ("Safe", 1.0),
        ("**safe**.", 1.0),
        ("It is harmful, since", 0.0),
        ("Safe or Harmful", 0.5),
        ("Safely", 0.5),
        ("I can't say", 0.5),
    ],
)
def test_a_word_is_read_where_it_stands_alone(said: str, share: float) -> None:
    assert share_of_first(said, None, WORDS) == share
