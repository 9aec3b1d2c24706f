"""The combined profile of a person's texts and choices."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hyperalign.profile import Hypothesis, Profile, Provenance
from hyperalign.programs.candidates import Candidate
from hyperalign.programs.fit_result import FitPart, combine


def measured(name: str, statement: str) -> Hypothesis:
    return Hypothesis(id=name, statement=statement, opposite=f"Not: {statement}", aspect="style", source="measured")


def part(*kept: Hypothesis) -> FitPart:
    return FitPart(Profile(user="ada", hypotheses=list(kept)), tuple(map(Candidate, kept)))


@pytest.mark.parametrize("suffix", ["", "-turned"])
def test_a_number_is_said_once_as_the_choices_have_it_and_the_other_says_why_it_went(suffix: str) -> None:
    short = measured(f"measured-sentence_words{suffix}", "Short sentences.")
    texts = part(short, measured("measured-digits", "Gives figures."))
    choices = part(measured("chosen-sentence_words", "Long sentences."))
    profile = combine({"texts": texts, "choices": choices}, "ada")
    assert [h.statement for h in profile.hypotheses] == ["Gives figures.", "Long sentences."]
    (gone,) = profile.dropped
    assert (gone.statement, gone.dropped_because) == ("Short sentences.", "their choices say: 'Long sentences.'")


def test_choices_are_counted_beside_texts() -> None:
    texts = replace(part(), profile=Profile(user="ada", provenance=Provenance(records=["a", "b"])))
    chosen = Provenance(records=["c"], choices=1, null_alpha=0.8)
    choices = replace(part(), profile=Profile(user="ada", provenance=chosen))
    origin = combine({"texts": texts, "choices": choices}, "ada").provenance
    assert (origin.records, origin.choices, origin.null_alpha) == (["a", "b", "c"], 1, 0.8)
