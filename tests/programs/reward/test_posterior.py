"""The posterior of weights: against integration by a grid, and against the two-covariance model in closed form."""

import numpy as np
import pytest

from hyperalign.programs.reward.posterior import Context, Observations, Posterior, Prior, infer_posterior

D = 3


def covariance(seed: int, size: float = 1.0) -> np.ndarray:
    """A random covariance."""
    rows = np.random.default_rng(seed).normal(size=(3 * D, D))
    return size * rows.T @ rows / len(rows)


def flat_prior(**changes: object) -> Prior:
    return Prior(np.zeros(D), np.eye(D), {}, **changes)  # type: ignore[arg-type]


def test_one_weight_is_what_a_grid_gives() -> None:
    prior = Prior(np.array([0.3]), np.array([[1.5]]), {})
    differences = np.array([[1.0], [0.4], [-0.8]])
    chosen = np.array([1.0, 1.0, 0.5])
    found = infer_posterior(prior, Observations.of(differences, dimensions=1, chosen=chosen))
    grid = np.linspace(-8, 8, 20001)
    logits = grid[:, None] * differences[:, 0]
    log = (chosen * logits - np.logaddexp(0, logits)).sum(axis=1) - (grid - 0.3) ** 2 / 3.0
    density = np.exp(log - log.max())
    density /= density.sum()
    # Laplace's approximation is at the mode, which is not quite the mean.
    assert found.mean[0] == pytest.approx(grid[density.argmax()], abs=2e-3)
    spread = ((grid - (grid * density).sum()) ** 2 * density).sum()
    assert found.covariance[0, 0] == pytest.approx(spread, rel=0.1)
    exact = (density / (1 + np.exp(-2.0 * grid))).sum()
    assert found.probabilities(np.array([[2.0]]))[0] == pytest.approx(exact, abs=0.02)


def test_own_texts_give_the_two_covariance_model() -> None:
    within, between = covariance(1), covariance(2)
    inverse = np.linalg.inv(within)
    center = np.array([0.5, -1.0, 2.0])
    # Weights are the discriminant of the person's mean: their prior follows from the covariance between people.
    prior = Prior(np.zeros(D), inverse @ between @ inverse, {"text": Context(center, within)})
    texts = center + np.random.default_rng(3).normal(size=(6, D))
    found = infer_posterior(prior, Observations.of(texts={"text": texts}, dimensions=D))
    precision = np.linalg.inv(between) + len(texts) * inverse
    own = np.linalg.solve(precision, inverse @ (texts - center).sum(axis=0))
    np.testing.assert_allclose(found.mean, inverse @ own, atol=1e-8)
    np.testing.assert_allclose(found.covariance, inverse @ np.linalg.inv(precision) @ inverse, atol=1e-8)


def test_what_a_genre_shares_is_not_the_person_s() -> None:
    within = covariance(1)
    apart = np.full((8, D), 3.0) + np.random.default_rng(0).normal(size=(8, D))
    known = Context(np.zeros(D), within)
    of_any_genre = Context(np.zeros(D), within, 100.0 * np.eye(D))
    seen = Observations.of(texts={"text": apart}, dimensions=D)

    def size(context: Context) -> float:
        posterior = infer_posterior(Prior(np.zeros(D), np.eye(D), {"text": context}), seen)
        return float(np.linalg.norm(posterior.mean))

    assert size(of_any_genre) < 0.1 * size(known)
    nothing_shared = Context(np.zeros(D), within, np.zeros((D, D)))
    assert size(nothing_shared) == pytest.approx(size(known))


def test_a_weight_of_two_is_two_records() -> None:
    rows = np.random.default_rng(1).normal(size=(4, D))
    twice = Observations.of(np.vstack([rows, rows[:1]]), dimensions=D)
    weighted = Observations.of(rows, dimensions=D, choice_weights=np.array([2.0, 1.0, 1.0, 1.0]))
    np.testing.assert_allclose(
        infer_posterior(flat_prior(), twice).mean, infer_posterior(flat_prior(), weighted).mean, atol=1e-6
    )


def test_consistent_choices_speak_for_a_large_scale() -> None:
    draw = np.random.default_rng(0)
    rows = draw.normal(size=(60, D))
    consistent = rows * np.sign(rows @ np.array([1.0, -1.0, 0.5]))[:, None]
    mixture = flat_prior(scales=np.array([0.1, 4.0]), scale_weights=np.array([0.5, 0.5]))
    shares = [infer_posterior(mixture, Observations.of(each, dimensions=D)).shares for each in (consistent, rows)]
    assert shares[0][-1] > 0.95
    assert len(shares[1]) == 2
    assert shares[1][0] > 0.5, "coins speak for a small scale"


def test_random_choices_stay_near_one_half() -> None:
    draw = np.random.default_rng(5)
    mixture = flat_prior(scales=np.array([0.25, 0.5, 1.0, 2.0]), scale_weights=np.full(4, 0.25))
    found = []
    for _ in range(100):
        posterior = infer_posterior(mixture, Observations.of(draw.normal(size=(8, D)), dimensions=D))
        found.append(posterior.probabilities(draw.normal(size=(10, D))))
    shares = np.concatenate(found)
    assert abs(shares.mean() - 0.5) < 0.03
    picks = shares > 0.5
    assert abs(picks.mean() - 0.5) < 0.06


def test_a_prediction_is_sure_only_where_its_interval_is() -> None:
    narrow = Posterior(np.ones(1), np.array([[1.0, 0.0, 0.0]]), np.array([0.01 * np.eye(D)]))
    wide = Posterior(np.ones(1), np.array([[1.0, 0.0, 0.0]]), np.array([4.0 * np.eye(D)]))
    sure, unsure = (each.predict(np.array([1.0, 0.0, 0.0])) for each in (narrow, wide))
    assert sure.is_sure
    assert not unsure.is_sure
    assert unsure.low < 0.5 < unsure.high
    assert 0.5 < unsure.probability < sure.probability
