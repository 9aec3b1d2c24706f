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
    expected_gain,
    expected_information,
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


def sampled_gain(weights: Array, row: Array, other: Array) -> float:
    """The mutual information of two answers, from drawn weights."""
    here, there = 1 / (1 + np.exp(-weights @ row)), 1 / (1 + np.exp(-weights @ other))
    total = 0.0
    for one in (here, 1 - here):
        for two in (there, 1 - there):
            joint = float((one * two).mean())
            total += joint * float(np.log(joint / (one.mean() * two.mean())))
    return total


def test_gain_is_that_of_sampled_weights_also_of_a_mixture() -> None:
    draw = np.random.default_rng(5)
    roots = draw.normal(size=(2, 3, 3))
    covariances = roots @ roots.transpose(0, 2, 1)
    posterior = Posterior(np.array([0.3, 0.7]), draw.normal(size=(2, 3)), covariances)
    rows, others = draw.normal(size=(4, 3)), draw.normal(size=(6, 3))
    parts = draw.choice(2, p=posterior.shares, size=400_000)
    weights = np.where(
        parts[:, None] == 0,
        draw.multivariate_normal(posterior.means[0], covariances[0], size=len(parts)),
        draw.multivariate_normal(posterior.means[1], covariances[1], size=len(parts)),
    )
    sampled = [np.mean([sampled_gain(weights, row, other) for other in others]) for row in rows]
    found = expected_gain(posterior, rows, others)
    assert found == pytest.approx(sampled, rel=0.05)
    assert (found <= expected_information(posterior, rows)).all(), "another answer holds no more than the weights do"
    assert expected_gain(posterior, rows, -others) == pytest.approx(found), "whichever answer is named first"


def test_an_odd_question_that_tells_of_no_other_waits() -> None:
    posterior = normal(np.zeros(3), np.eye(3))
    alike = np.array([[1.0, 0.02 * at, 0.0] for at in range(20)])
    rows = np.vstack([alike, [[0.0, 0.0, 1.5]]])
    assert expected_information(posterior, rows).argmax() == 20
    assert expected_gain(posterior, rows, rows).argmin() == 20
    assert choose_question(posterior, rows)[0] < 20
    assert choose_question(posterior, rows, rows[20:])[0] == 20, "unless it is what is to be predicted"


def test_of_a_large_pool_the_question_with_the_largest_gain_is_found() -> None:
    draw = np.random.default_rng(1)
    posterior, rows = normal(draw.normal(size=4), 2 * np.eye(4)), draw.normal(size=(900, 4)) * [2.0, 1.0, 0.5, 0.2]
    gain = expected_gain(posterior, rows, rows)
    assert gain[choose_question(posterior, rows)[0]] >= 0.97 * gain.max()
    assert gain.max() > 2 * np.median(gain)


def log_loss(posterior: Posterior, held_out: Array, weights: Array) -> float:
    """The expected log loss on questions that a person with these weights answers."""
    told, truth = posterior.probabilities(held_out), 1 / (1 + np.exp(-held_out @ weights))
    return float(-(truth * np.log(told) + (1 - truth) * np.log1p(-told)).mean())


def test_chosen_questions_reach_the_log_loss_of_twice_as_many_random_ones() -> None:
    size, by_gain, at_random = 20, [], []
    prior = Prior(np.zeros(size), 0.3 * np.eye(size), {})
    for person in range(12):
        draw = np.random.default_rng(person)
        # Answers differ in few directions, and some differ much more than others.
        rows = draw.standard_normal((240, size)) * 0.8 ** np.arange(size)
        rows *= np.sqrt(3 / draw.chisquare(3, size=len(rows)))[:, None]
        weights = draw.normal(size=size) * np.sqrt(0.3)
        answers = np.where(draw.random(len(rows)) < 1 / (1 + np.exp(-rows @ weights)), 1, -1)[:, None] * rows
        pool, held_out = answers[:120], rows[120:]

        def learn(asked: list[int], pool: Array = pool) -> Posterior:
            return infer_posterior(prior, Observations.of(pool[asked] if asked else None, dimensions=size))

        asked, left = list[int](), list(range(len(pool)))
        for _ in range(8):
            asked.append(left.pop(choose_question(learn(asked), pool[left], pool)[0]))
        by_gain.append([log_loss(learn(asked[:count]), held_out, weights) for count in (4, 8)])
        order = draw.permutation(len(pool)).tolist()
        at_random.append([log_loss(learn(order[:count]), held_out, weights) for count in (8, 16)])
    chosen, random = np.mean(by_gain, axis=0), np.mean(at_random, axis=0)
    assert (chosen < random - 0.004).all(), f"{chosen} against {random}"
    assert (np.mean(np.array(by_gain) < at_random, axis=0) > 0.6).all()


def test_as_many_questions_are_left_as_the_answers_then_take() -> None:
    draw = np.random.default_rng(0)
    prior = Prior(np.zeros(3), np.eye(3), {})
    rows = draw.normal(size=(200, 3))
    told = count_questions_left(infer_posterior(prior, Observations.of(dimensions=3)), rows, enough=0.05)
    assert told is not None
    taken = []
    for _ in range(6):
        truth, asked, left = draw.normal(size=3), list[Array](), list(range(len(rows)))
        while True:
            seen = Observations.of(np.array(asked) if asked else None, dimensions=3)
            best, information = choose_question(infer_posterior(prior, seen), rows[left], rows)
            if information < 0.05:
                break
            row = rows[left.pop(best)]
            asked.append(row if draw.random() < 1 / (1 + np.exp(-row @ truth)) else -row)
        taken.append(len(asked))
    assert told == pytest.approx(np.mean(taken), rel=0.15)
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
    assert rest.others == pytest.approx(pool.differences), "what was asked still stands for what the person may meet"
    assert not QuestionPool.read(reward, {}).questions


def test_an_answer_makes_its_question_and_those_like_it_less_worth_asking(tmp_path: Path) -> None:
    reward = Reward.fit([], population=population(tmp_path))
    pool = QuestionPool.read(reward, {f"{at}?": [SHORT, LONG] for at in range(3)})
    before = pool.choose(reward.posterior)[1]
    pairs = [Pair(user="ada", prompt=f"{at}.", chosen=SHORT, rejected=f"{LONG} {at}") for at in range(6)]
    assert pool.choose(reward.update(pairs).posterior)[1] < 0.8 * before
