"""Letters, tokens and numbers in the spellings that models and tokenizers have for them."""

from __future__ import annotations

import math

import pytest

from hyperalign.programs.replies import read_probabilities, read_probability


@pytest.mark.parametrize(
    ("said", "share"),
    [("Ａ", 1.0), ("Ｂ。", 0.0), ("１：Ｂ", 0.0), ("А", 1.0), ("В", 0.0)],
)
def test_letters_that_look_alike(said: str, share: float) -> None:
    assert read_probability(said) == share


@pytest.mark.parametrize("spelled", ["A", " A", "ĠA", "▁A", "ĊA", "Ａ"])
def test_tokens_are_read_however_a_tokenizer_spells_them(spelled: str) -> None:
    tops = [
        {"token": spelled, "logprob": math.log(0.75)},
        {"token": spelled.replace("A", "B").replace("Ａ", "Ｂ"), "logprob": math.log(0.25)},
    ]
    told = {"content": [{"token": spelled, "logprob": math.log(0.75), "top_logprobs": tops}]}
    assert read_probability("A", told) == pytest.approx(0.75)


@pytest.mark.parametrize("said", ["0: A\n1: B\n2: B\n3: A", '{"0": "A", "1": "B", "2": "B", "3": "A"}'])
def test_some_models_count_from_zero(said: str) -> None:
    assert read_probabilities(said, 4) == [1.0, 0.0, 0.0, 1.0]


def test_a_zero_beside_all_the_others_is_none_of_them() -> None:
    assert read_probabilities("0: B\n1: A\n2: A", 2) == [1.0, 1.0]
