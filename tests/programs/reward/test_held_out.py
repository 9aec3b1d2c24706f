"""How well a reward says that it predicts is how well it predicts records that it has not seen."""

from __future__ import annotations

import numpy as np
import pytest

from hyperalign.programs.reward import Reward, load_population
from hyperalign.programs.reward.population import FeatureRow
from hyperalign.records import Edit, Sample

POPULATION = load_population().without_encoder()
SIZE = len(POPULATION.space.names)


def choices(count: int, *, strength: float = 0.5, seed: int = 0) -> tuple[FeatureRow, ...]:
    """Choices of a person with random tastes; without strength, tossed coins."""
    rng = np.random.default_rng(seed)
    taste = strength * rng.normal(size=SIZE)
    rows = []
    for at in range(count):
        values = rng.normal(size=SIZE)
        if rng.random() > 1 / (1 + np.exp(-values @ taste)):
            values = -values
        rows.append(FeatureRow(f"r{at}", "choice", values))
    return tuple(rows)


@pytest.mark.parametrize("count", [4, 16, 40])
def test_leaving_out_one_by_one_gives_what_fitting_without_it_gives(count: int) -> None:
    rows = choices(count)
    losses = []
    for at, row in enumerate(rows):
        others = Reward(POPULATION, (*rows[:at], *rows[at + 1 :]))
        losses.append(-np.log(others.posterior.probabilities(row.values[None])[0]))
    found = Reward(POPULATION, rows).hold_out()
    assert found is not None
    assert found.log_loss == pytest.approx(float(np.mean(losses)), abs=0.003)


def test_tossed_coins_are_not_predicted() -> None:
    found = Reward(POPULATION, choices(600, strength=0.0)).hold_out()
    assert found is not None
    assert found.low < 0.5 < found.high
    assert str(found).startswith(f"picks {100 * found.picks / 600:.0f} % of 600 held-out choices (")


def test_own_texts_and_corrections_are_told_from_other_peoples() -> None:
    def text(user: str, at: int) -> str:
        return (
            f"Oh! The {at} boats! I saw them all!" if user == "ada" else f"There were, it is said, {at} boats; I slept."
        )

    def edit(user: str, at: int) -> Edit:
        draft = f"We regret that the {at} boats are late."
        return Edit(user=user, id=f"e{at}", prompt="Write.", draft=draft, edited=draft + " " + text(user, at))

    own = [Sample(user="ada", id=f"t{at}", text=text("ada", at)) for at in range(5)]
    others = [Sample(user="bob", id=f"o{at}", text=text("bob", at)) for at in range(5, 9)]
    mine = [edit("ada", at) for at in range(4)]
    reward = Reward.fit([*own, *mine])
    found = reward.hold_out_texts("text", others)
    assert found is not None
    assert (found.count, found.picks) == (5, 5.0)
    told = reward.to_profile([*others, *(edit("bob", at) for at in range(4, 8))]).predicts
    assert told.startswith("picks 100 % of 5 held-out texts, each against other people's (65 to 100); picks ")
    assert told.endswith("of 4 held-out corrections, each against other people's (60 to 100)")
    assert reward.hold_out_texts("edit", others) is None, "nobody else's corrections"
    assert reward.hold_out() is None, "no choices"
