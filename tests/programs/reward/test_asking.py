"""Which question teaches most, and how many are left."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hyperalign.programs.reward import Reward
from hyperalign.programs.reward.asking import (
    Question,
    QuestionPool,
    choose_question,
    count_questions_left,
    expected_information,
    relevance,
)
from hyperalign.programs.reward.posterior import Array, Observations, Posterior, Prior, infer_posterior
from hyperalign.records import Pair
from tests.programs.rewards import LONG, SHORT, population


def normal(mean: Array, covariance: Array) -> Posterior:
    return Posterior(np.ones(1), mean[None], covariance[None])


def test_information_is_that_of_sampled_weights() -> None:
    draw = np.random.default_rng(3)
    mean, root = draw.normal(size=3), draw.normal(size=(3, 3))
    posterior, rows = normal(mean, root @ root.T), draw.normal(size=(5, 3))
    weights = draw.multivariate_normal(mean, root @ root.T, size=200_000)
    chosen = 1 / (1 + np.exp(-weights @ rows.T))

    def entropy(p: Array) -> Array:
        found: Array = -(p * np.log(p) + (1 - p) * np.log(1 - p))
        return found

    sampled = entropy(chosen.mean(axis=0)) - entropy(chosen).mean(axis=0)
    assert expected_information(posterior, rows) == pytest.approx(sampled, abs=4e-3)


def test_a_mixture_knows_less_than_each_of_its_parts() -> None:
    row, sure = np.array([[1.0]]), np.array([[0.01]])
    both = Posterior(np.array([0.5, 0.5]), np.array([[3.0], [-3.0]]), np.array([sure, sure]))
    assert expected_information(both, row)[0] > 0.4
    assert expected_information(normal(np.array([3.0]), sure), row)[0] < 0.01


def test_nothing_is_learned_from_two_answers_that_are_alike_or_whose_choice_is_known() -> None:
    posterior = normal(np.array([4.0, 0.0]), np.diag([0.01, 1.0]))
    same, known, open_one = expected_information(posterior, np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    assert same == pytest.approx(0.0, abs=1e-9)
    assert open_one > 10 * known


def test_an_odd_question_that_tells_of_no_other_waits() -> None:
    posterior = normal(np.zeros(3), np.eye(3))
    alike = np.array([[1.0, 0.02 * at, 0.0] for at in range(20)])
    rows = np.vstack([alike, [[0.0, 0.0, 1.5]]])
    assert expected_information(posterior, rows).argmax() == 20
    assert relevance(posterior, rows).argmin() == 20
    assert choose_question(posterior, rows)[0] < 20
    told = relevance(posterior, np.array([[2.0, 0.0, 0.0]]))[0]
    nodes, weights = np.polynomial.hermite_e.hermegauss(32)
    precision = float((1 / (2 + 2 * np.cosh(2.0 * nodes))) @ weights / weights.sum())
    assert told == pytest.approx(0.5 * np.log1p(4 * precision)), "of itself, all that a reading of it tells"


def test_as_many_questions_are_left_as_the_answers_then_take() -> None:
    draw = np.random.default_rng(0)
    prior = Prior(np.zeros(3), np.eye(3), {})
    rows = draw.normal(size=(200, 3))
    told = count_questions_left(infer_posterior(prior, Observations.of(dimensions=3)), rows, enough=0.05)
    truth, asked, left = draw.normal(size=3), list[Array](), list(range(len(rows)))
    while True:
        seen = Observations.of(np.array(asked) if asked else None, dimensions=3)
        best, information = choose_question(infer_posterior(prior, seen), rows[left])
        if information < 0.05:
            break
        row = rows[left.pop(best)]
        asked.append(row if draw.random() < 1 / (1 + np.exp(-row @ truth)) else -row)
    assert told is not None
    assert len(asked) / 2 <= told <= 2 * len(asked)
    assert count_questions_left(normal(np.zeros(3), np.eye(3)), 4 * np.eye(3)[:1], enough=0.05) is None, (
        "too few to be sure"
    )
    assert count_questions_left(normal(np.zeros(3), np.eye(3)), rows, enough=0.69) == 0
    assert count_questions_left(normal(np.zeros(3), np.eye(3)), rows, enough=0.0, most=5) is None


def test_every_two_distinct_answers_make_a_question(tmp_path: Path) -> None:
    reward = Reward.fit([], population=population(tmp_path))
    pool = QuestionPool.read(
        reward, {"Rain?": [SHORT, LONG, "Perhaps.", f" {SHORT} "], "Snow?": [SHORT], "?": [" ", SHORT]}
    )
    assert {(each.prompt, each.first, each.second) for each in pool.questions} == {
        ("Rain?", SHORT, LONG),
        ("Rain?", SHORT, "Perhaps."),
        ("Rain?", LONG, "Perhaps."),
    }
    best, information = pool.choose(reward.posterior)
    assert information == pytest.approx(expected_information(reward.posterior, pool.differences)[best])
    asked = pool.questions[best]
    rest = pool.without([Question(asked.prompt, asked.second, asked.first), Question("Snow?", SHORT, LONG)])
    assert asked not in rest.questions
    assert len(rest.differences) == len(rest.questions) == 2
    assert not QuestionPool.read(reward, {}).questions


def test_an_answer_makes_its_question_and_those_like_it_less_worth_asking(tmp_path: Path) -> None:
    reward = Reward.fit([], population=population(tmp_path))
    pool = QuestionPool.read(reward, {f"{at}?": [SHORT, LONG] for at in range(3)})
    before = pool.choose(reward.posterior)[1]
    pairs = [Pair(user="ada", prompt=f"{at}.", chosen=SHORT, rejected=f"{LONG} {at}") for at in range(6)]
    assert pool.choose(reward.update(pairs).posterior)[1] < 0.8 * before
