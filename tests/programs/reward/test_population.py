"""Feature spaces and priors: what ships, what is estimated from people, and another encoder."""

import numpy as np
import pytest
from numpy.typing import NDArray

from hyperalign.errors import InputError
from hyperalign.programs.reward import Reading, RewardPopulation, estimate_population, load_population
from hyperalign.programs.reward.directions import load_contrasts, read_contrasts
from hyperalign.programs.reward.empirical_bayes import choose_settings, estimate_from_rows
from hyperalign.programs.reward.features import EDIT_FEATURES, read_features
from hyperalign.programs.reward.population import (
    FeatureRow,
    adapt_to_encoder,
    read_rows,
)
from hyperalign.programs.reward.reward import Reward
from hyperalign.records import Edit, Pair, Sample
from hyperalign.space import load_space
from hyperalign.style.features import FEATURES, MARKS
from tests.programs.rewards import Letters

PLAIN = load_population().without_encoder()


def test_every_dimension_of_the_space_has_contrasts() -> None:
    named = {each.dimension for each in load_contrasts()}
    assert named == {dimension.name for dimension in load_space().dimensions}
    assert len(load_contrasts()) == 3 * len(named)
    assert len({(each.prompt, each.high, each.low) for each in load_contrasts()}) == 3 * len(named)


def test_most_directions_order_contrasts_that_they_were_not_learned_from() -> None:
    agreed = [each.agreement == 1.0 for each in load_population().directions.values()]
    assert len(agreed) == len(load_space().dimensions)
    # By chance, an eighth of them would order all three.
    assert np.mean(agreed) > 0.8
    assert not PLAIN.directions, "measured features alone tell too little"


def test_a_population_survives_its_file() -> None:
    again = RewardPopulation.from_json(PLAIN.to_json(), where="a file")
    assert again.space == PLAIN.space
    np.testing.assert_allclose(again.prior.covariance, PLAIN.prior.covariance, rtol=1e-4)
    with pytest.raises(InputError, match=r"a file: .*mean"):
        RewardPopulation.from_json(PLAIN.to_json().replace('"mean":[', '"mean":["x",', 1), where="a file")


def test_without_an_encoder_the_others_keep_their_prior() -> None:
    whole = load_population()
    names = whole.space.names
    kept = [at for at, name in enumerate(names) if not name.startswith("encoder")]
    assert [names[at] for at in kept] == list(PLAIN.space.names)
    np.testing.assert_array_equal(whole.prior.covariance[np.ix_(kept, kept)], PLAIN.prior.covariance)


def test_features_of_a_draft_say_how_much_was_changed() -> None:
    draft = "Send me the report by noon."
    same, longer, alone = read_features(
        PLAIN.space,
        [
            Reading("", draft, draft),
            Reading("", "Could you please send me the report by noon? Thank you so much.", draft),
            Reading("", draft),
        ],
    )
    at = [PLAIN.space.names.index(name) for name in EDIT_FEATURES]
    np.testing.assert_array_equal(same[at], 0.0)
    np.testing.assert_allclose(same, alone, atol=1e-12)
    dropped, added, grown = longer[at]
    assert dropped <= 0.0
    assert added > 0.5
    assert grown > 0.5


def test_an_empty_text_and_another_language_can_be_read() -> None:
    read = read_features(PLAIN.space, [Reading("", ""), Reading("", "你好，世界。"), Reading("", "!!!")])
    assert np.isfinite(read).all()
    assert read_features(PLAIN.space, []).shape == (0, len(PLAIN.space.names))


def test_another_encoder_s_features_are_refused() -> None:
    with pytest.raises(InputError, match="letters"):
        read_features(load_population().space, [Reading("", "A text.")], Letters())


def test_an_encoder_that_nobody_knew_learns_axes_from_the_contrasts() -> None:
    population = adapt_to_encoder(load_population(), Letters())
    axes = population.space.encoder_axes
    assert axes is not None
    assert axes.name == "letters"
    records = [Pair(user="u", prompt="", chosen=f"zzz {at} zz", rejected=f"aaa {at} aa") for at in range(6)]
    reward = Reward.fit(records, population=population, encoder=Letters())
    assert reward.prefer("", "zz zz z", "aa aa a").probability > 0.6
    readings = [
        (row @ np.array(population.directions[name].weights)).mean()
        for name, row in read_contrasts(population.space, Letters()).items()
    ]
    np.testing.assert_allclose(readings, 1.0, atol=0.02)


def people_with(tastes: NDArray[np.float64], noise: float, seed: int) -> dict[str, list[FeatureRow]]:
    """Simulated people: each one's weights are the common tastes with noise of their own; 40 choices each."""
    draw = np.random.default_rng(seed)
    size = len(tastes)
    found = {}
    for number in range(12):
        own = tastes + noise * draw.normal(size=size)
        rows = draw.normal(size=(40, size))
        won = draw.random(40) < 1 / (1 + np.exp(-rows @ own))
        found[f"u{number}"] = [
            FeatureRow(f"r{at}", "choice", row if first else -row)
            for at, (row, first) in enumerate(zip(rows, won, strict=True))
        ]
    return found


def test_common_tastes_are_found_and_people_left_out_are_predicted_better_by_them() -> None:
    tastes = np.zeros(len(PLAIN.space.names))
    tastes[0], tastes[5] = 1.5, -1.5
    people = people_with(tastes, 0.1, seed=0)
    settings = choose_settings(people, PLAIN)
    assert settings is not None
    found = estimate_from_rows(people, PLAIN, name="simulated", settings=settings)
    assert found.prior.mean[0] > 0.5
    assert found.prior.mean[5] < -0.5
    assert np.abs(np.delete(found.prior.mean, [0, 5])).max() < 0.5


def test_people_who_choose_by_coins_do_not_replace_the_base() -> None:
    coins = people_with(np.zeros(len(PLAIN.space.names)), 0.0, seed=1)
    settings = choose_settings(coins, PLAIN)
    found = estimate_from_rows(coins, PLAIN, name="coins", settings=settings) if settings else PLAIN
    reward = Reward(found, tuple(coins["u0"][:8]))
    other = np.array([row.values for row in coins["u1"]])
    assert np.abs(reward.posterior.probabilities(other) - 0.5).mean() < 0.2


def test_too_few_people_are_refused() -> None:
    few = {f"u{at}": [Sample(user=f"u{at}", text="A text.")] for at in range(4)}
    with pytest.raises(InputError, match="population of 4 people"):
        estimate_population(few, PLAIN, name="few")


def test_a_repeated_record_is_one_row() -> None:
    edit = Edit(user="u", prompt="", draft="Send it.", edited="Please send it.")
    again = Edit(user="u", prompt="", draft="Send it.", edited="Please send it.", id="another")
    rows = read_rows(PLAIN.space, [edit, again])
    assert [row.kind for row in rows] == ["edit"]


FRENCH = "Elle a encore perdu son parapluie ; j'en ai trois. Le chien du voisin dort chez nous, et cela lui plaît !"
CHINESE = "她又忘了雨伞，我这里已经有三把了。邻居家的狗住到我们门口来了，谁也不在意。"
ENGLISH = "She has left her umbrella again; I don't have more than three. The dog from next door sleeps at ours!"


@pytest.mark.parametrize("text", [FRENCH, CHINESE])
def test_english_words_are_no_evidence_in_another_language(text: str) -> None:
    names = PLAIN.space.names
    counted = [
        at
        for at, name in enumerate(names)
        if name.startswith("word choice") or (name in FEATURES and FEATURES[name].is_english)
    ]
    assert len(counted) == 33
    read = read_features(PLAIN.space, [Reading("", text), Reading("", ENGLISH), Reading("", f"{text} {text[:20]}")])
    assert not read[0, counted].any()
    assert np.count_nonzero(read[1, counted]) > 25
    (alone,) = read_rows(PLAIN.space, [Sample(user="ada", text=text)])
    measured = [at for at, name in enumerate(names) if name in PLAIN.space.centers and name not in MARKS]
    assert not alone.values[measured].any(), "how long its words are tells of the language"
    (same,) = read_rows(PLAIN.space, [Pair(user="ada", prompt="?", chosen=f"{text} {text[:20]}", rejected=text)])
    assert same.values[names.index("log_words")] > 0, "between two texts of one language length does tell"
    (mixed,) = read_rows(PLAIN.space, [Pair(user="ada", prompt="?", chosen=text, rejected=ENGLISH)])
    assert not mixed.values[measured + counted].any()
