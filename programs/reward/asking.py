"""Chooses the questions to ask a person: which of two answers would teach most about their reward.

The expected information of a question is the mutual information of its answer and the weights, H[E p] - E H[p]: high
where the answer is open and each set of weights is sure of it (Bayesian active learning by disagreement, Houlsby et al.
2011). Under a normal posterior the reward difference of two answers is normal, so both terms are integrals over one
number, by Gauss-Hermite quadrature. Alone it prefers odd answers that tell of nothing else, so it is weighted by what
the answer tells of the other questions (information density, Settles and Craven 2008). What an answer will shrink is
known before it is given, up to its probability (Sherman and Morrison 1950), which says about how many questions are
left.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from .features import Reading, read_features
from .posterior import Array, Posterior
from .reward import Reward

__all__ = [
    "ENOUGH",
    "Question",
    "QuestionPool",
    "choose_question",
    "count_questions_left",
    "expected_information",
    "relevance",
]

ENOUGH = 0.03
"""Nats below which a question is not worth asking; a coin's answer holds 0.69."""

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(32)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()
_SURE = 1e-12
_MOST = 200
_COMPARED = 150
"""At most so many questions stand for all others."""


@dataclass(frozen=True)
class Question:
    """Which of two answers to a prompt a person would choose.

    Attributes:
        prompt: what both answer.
        first: an answer.
        second: another one.
    """

    prompt: str
    first: str
    second: str


def expected_information(posterior: Posterior, differences: Array) -> Array:
    """What the answer to each question is expected to say about the weights, in nats, shape (n,).

    Args:
        posterior: what is known of the weights.
        differences: features of the first answer minus those of the second, shape (n, d).
    """
    mean, entropy = np.zeros(len(differences)), np.zeros(len(differences))
    for share, center, covariance in zip(posterior.shares, posterior.means, posterior.covariances, strict=True):
        spread = np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", differences, covariance, differences), 0.0))
        logits = (differences @ center)[:, None] + spread[:, None] * _NODES
        chosen = _logistic(logits)
        mean += share * (chosen @ _WEIGHTS)
        entropy += share * (_entropy(chosen) @ _WEIGHTS)
    information: Array = np.maximum(_entropy(mean) - entropy, 0.0)
    return information


def relevance(posterior: Posterior, differences: Array) -> Array:
    """What the answer to each question tells of the reward differences of all, in nats, shape (n,).

    It is the mean over the questions of the mutual information with a normal reading of the answer whose precision is
    the expected p (1 - p).

    Args:
        posterior: what is known of the weights.
        differences: features of the first answer minus those of the second, shape (n, d).
    """
    mean, covariance = posterior.mean, posterior.covariance
    others = differences[:: -(-len(differences) // _COMPARED)]
    shared = others @ covariance @ differences.T
    own = np.maximum(np.einsum("ij,jk,ik->i", differences, covariance, differences), _SURE)
    theirs = np.maximum(np.einsum("ij,jk,ik->i", others, covariance, others), _SURE)
    chosen = _logistic((differences @ mean)[:, None] + np.sqrt(own)[:, None] * _NODES)
    precision = (chosen * (1.0 - chosen)) @ _WEIGHTS
    settled = precision * shared**2 / (1.0 + precision * own) / theirs[:, None]
    told: Array = (-0.5 * np.log1p(-np.clip(settled, 0.0, 1.0 - _SURE))).mean(axis=0)
    return told


def choose_question(posterior: Posterior, differences: Array) -> tuple[int, float]:
    """The number of the question to ask next, and its expected information in nats.

    Args:
        posterior: what is known of the weights.
        differences: features of the first answer minus those of the second, at least one, shape (n, d).
    """
    information = expected_information(posterior, differences)
    best = int((information * relevance(posterior, differences)).argmax())
    return best, float(information[best])


def count_questions_left(
    posterior: Posterior, differences: Array, *, enough: float = ENOUGH, most: int = _MOST
) -> int | None:
    """About how many more questions it takes until none teaches much, each the best that is then left.

    Args:
        posterior: what is known of the weights.
        differences: of the questions that could be asked, each once, shape (n, d).
        enough: nats below which a question is not worth asking.
        most: to look ahead.

    Returns:
        The count; None where the questions, or ``most`` of them, are used up before.
    """
    left = differences
    means, covariances = posterior.means, posterior.covariances.copy()
    for count in range(most):
        if not len(left):
            return None
        best, information = choose_question(replace(posterior, covariances=covariances), left)
        if information < enough:
            return count
        asked, left = left[best], np.delete(left, best, axis=0)
        for at, covariance in enumerate(covariances):
            chosen = float(_logistic(means[at] @ asked))
            gain = covariance @ asked
            known = chosen * (1.0 - chosen)
            covariances[at] = covariance - known * np.outer(gain, gain) / (1.0 + known * float(asked @ gain))
    return None


@dataclass(frozen=True)
class QuestionPool:
    """The questions that could be asked of a person.

    Attributes:
        questions: the questions.
        differences: features of the first answer minus those of the second, shape (n, d).
    """

    questions: tuple[Question, ...]
    differences: Array

    @classmethod
    def read(cls, reward: Reward, answers: Mapping[str, Sequence[str]]) -> QuestionPool:
        """Read every two answers to a prompt into features.

        Args:
            reward: says how texts are read.
            answers: by prompt, candidate answers; those that say the same are one.

        Raises:
            InputError: the reward was learned with another encoder.
        """
        distinct = {prompt: list(dict.fromkeys(map(str.strip, texts))) for prompt, texts in answers.items()}
        readings = [Reading(prompt, text) for prompt, texts in distinct.items() for text in texts if text]
        rows = dict(zip(readings, read_features(reward.population.space, readings, reward.encoder), strict=True))
        pairs = [
            pair for prompt in distinct for pair in combinations([each for each in rows if each.prompt == prompt], 2)
        ]
        questions = tuple(Question(one.prompt, one.text, other.text) for one, other in pairs)
        differences = np.array([rows[one] - rows[other] for one, other in pairs])
        return cls(questions, differences.reshape(len(pairs), len(reward.population.space.names)))

    def choose(self, posterior: Posterior) -> tuple[int, float]:
        """The number of the question to ask next, and its expected information in nats.

        Args:
            posterior: what is known of the weights.
        """
        return choose_question(posterior, self.differences)

    def without(self, asked: Collection[Question]) -> QuestionPool:
        """The pool without some questions, whichever answer they name first."""
        gone = {(each.prompt, frozenset((each.first, each.second))) for each in asked}
        kept = [
            at
            for at, each in enumerate(self.questions)
            if (each.prompt, frozenset((each.first, each.second))) not in gone
        ]
        return QuestionPool(tuple(self.questions[at] for at in kept), self.differences[kept])


def _entropy(chosen: Array) -> Array:
    """The entropy of an answer with two outcomes, in nats."""
    inside = np.clip(chosen, _SURE, 1 - _SURE)
    entropy: Array = -(inside * np.log(inside) + (1 - inside) * np.log1p(-inside))
    return entropy


def _logistic(logits: Array) -> Array:
    shares: Array = 1.0 / (1.0 + np.exp(-np.clip(logits, -40.0, 40.0)))
    return shares
