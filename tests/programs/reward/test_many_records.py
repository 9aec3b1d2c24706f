"""A reward of ten thousand records: one more takes no second look at all of them, and changes what it should."""

from __future__ import annotations

import cProfile
import pstats
from collections.abc import Sequence

import numpy as np
import pytest

from hyperalign.dependence import fingerprint
from hyperalign.profile import RewardRow
from hyperalign.programs.reward import Reward, load_population
from hyperalign.records import Pair

POPULATION = load_population().without_encoder()


def make_choices(count: int) -> list[Pair]:
    return [
        Pair(user="ada", id=f"r{at}", prompt=f"Question {at}?", chosen=f"Yes {at}, thanks!", rejected=f"No {at}.")
        for at in range(count)
    ]


def make_rows(pairs: Sequence[Pair]) -> tuple[RewardRow, ...]:
    values = np.random.default_rng(len(pairs)).normal(size=(len(pairs), len(POPULATION.space.names))).round(4)
    return tuple(
        RewardRow(record=pair.id, kind="choice", values=row, shares=fingerprint(pair))
        for pair, row in zip(pairs, values.tolist(), strict=True)
    )


def count_calls(rows: int) -> int:
    """Function calls of an update with one choice, and of the weights that follow."""
    pairs = make_choices(rows + 1)
    known = Reward(POPULATION, make_rows(pairs[:-1]))
    assert known.posterior
    # The first text that is read loads what tells its language.
    assert known.update(pairs[-1:]).posterior
    profiler = cProfile.Profile()
    profiler.enable()
    mean = known.update(pairs[-1:]).posterior.mean
    profiler.disable()
    assert np.isfinite(mean).all()
    return int(pstats.Stats(profiler).total_calls)  # type: ignore[attr-defined]


def test_an_update_makes_no_call_for_each_record_that_is_known() -> None:
    assert count_calls(4_000) < count_calls(1_000) + 1_000


@pytest.mark.parametrize(
    "new",
    [
        Pair(user="ada", id="new", prompt="Anything else?", chosen="A new thing!", rejected="An old one."),
        Pair(user="ada", id="new", prompt="Question 3?", chosen="Yes 3, thanks!", rejected="Certainly not."),
        Pair(user="ada", id="new", prompt="Question 3?", chosen="No 3.", rejected="Yes 3, thanks!"),
        Pair(user="ada", id="new", prompt="Question 3?", chosen="Yes 3, thanks!", rejected="No 3."),
        Pair(user="ada", id="new", prompt="Another question?", chosen="Yes 3, thanks!", rejected="No 3."),
    ],
    ids=["shares nothing", "shares a text", "contradicts", "repeats", "has both texts"],
)
def test_what_is_carried_over_is_what_would_be_worked_out_anew(new: Pair) -> None:
    known = Reward(POPULATION, make_rows(make_choices(20)))
    assert known.posterior
    grown = known.update([new])
    anew = Reward(POPULATION, grown.rows)
    assert len(grown.rows) == 20 + (new.rejected != "No 3." or new.prompt != "Question 3?")
    assert grown.posterior.mean == pytest.approx(anew.posterior.mean, abs=1e-6)
    twice = grown.update([new.model_copy(update={"id": "again"}), *make_choices(22)[20:]])
    assert twice.posterior.mean == pytest.approx(Reward(POPULATION, twice.rows).posterior.mean, abs=1e-6)
    assert "again" not in {row.record for row in twice.rows}
    left = grown.forget({"new"})
    assert left.posterior.mean == pytest.approx(known.posterior.mean, abs=1e-6)
