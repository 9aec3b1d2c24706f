"""Chooses the questions to ask a person: which of two answers would teach most about what they would choose.

The gain of a question is the mean mutual information of its answer and the answer to another question of the pool: what
it is expected to take off the log loss there (expected predictive information gain, Bickford Smith et al. 2023).
Information about the weights alone (Houlsby et al. 2011) also counts directions that no other question turns on; it
says when nothing is left to learn. Under a normal posterior the reward differences of two questions are normal
together, so their joint answers are an integral over one number, by Gauss-Hermite quadrature, averaged over the
posterior's components. A pool is ranked by how far a normal reading of the answer shrinks the variance of the others'
(Chaloner and Verdinelli 1995), and the first of that ranking are integrated. What an answer will shrink is known before
it is given, up to its probability (Sherman and Morrison 1950), which says about how many questions are left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from hyperalign.text import plain_form

from .features import Reading, read_features
from .posterior import Array, Posterior
from .reward import Reward

__all__ = [
    "ENOUGH",
    "Question",
    "QuestionPool",
    "choose_question",
    "count_questions_left",
    "expected_gain",
    "expected_information",
]

ENOUGH = 0.03
"""Nats below which a question is not worth asking; a coin's answer holds 0.69."""

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(32)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()
_FEW_NODES, _FEW_WEIGHTS = np.polynomial.hermite_e.hermegauss(12)
_FEW_WEIGHTS = _FEW_WEIGHTS / _FEW_WEIGHTS.sum()
_PROBIT = np.pi / 8  # a logistic of a normal, MacKay (1992)
_SURE = 1e-12
_MOST = 200
_COMPARED = 300
"""At most so many questions stand for all others."""
_CANDIDATES = 200
"""So many questions, the first by the linear ranking, are integrated."""


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


def expected_gain(posterior: Posterior, differences: Array, others: Array) -> Array:
    """How far the answer to each question is expected to lower the log loss on other questions, in nats, shape (n,).

    It is the mutual information of the two answers, averaged over the others.

    Args:
        posterior: what is known of the weights.
        differences: features of the first answer minus those of the second, shape (n, d).
        others: the same of the questions that are to be predicted, at least one, shape (m, d).
    """
    chosen = np.zeros((len(differences), 1))
    theirs, both = np.zeros((len(differences), len(others))), np.zeros((len(differences), len(others)))
    for share, center, covariance in zip(posterior.shares, posterior.means, posterior.covariances, strict=True):
        moved = differences @ covariance
        deviation = np.sqrt(np.maximum((moved * differences).sum(axis=1), _SURE))
        # What the other's reward difference follows this one's by, in its standard deviations, and what is left then.
        slope = moved @ others.T / deviation[:, None]
        variance = ((others @ covariance) * others).sum(axis=1)
        shrink = 1.0 / np.sqrt(1.0 + _PROBIT * np.maximum(variance - slope**2, 0.0))
        for node, weight in zip(_FEW_NODES, share * _FEW_WEIGHTS, strict=True):
            here = weight * _logistic(differences @ center + node * deviation)[:, None]
            there = _logistic((others @ center + node * slope) * shrink)
            chosen += here
            theirs += weight * there
            both += here * there
    # Each pair has its own quadrature of the other's probability, so that the four joint answers add up.
    gain: Array = sum(
        (
            _divergence(both, chosen * theirs),
            _divergence(chosen - both, chosen * (1.0 - theirs)),
            _divergence(theirs - both, (1.0 - chosen) * theirs),
            _divergence(1.0 - chosen - theirs + both, (1.0 - chosen) * (1.0 - theirs)),
        ),
        np.zeros_like(both),
    ).mean(axis=1)
    return gain


def choose_question(
    posterior: Posterior, differences: Array, others: Array | None = None, *, shares: Array | None = None
) -> tuple[int, float]:
    """The number of the question to ask next, and its expected information about the weights in nats.

    Args:
        posterior: what is known of the weights.
        differences: features of the first answer minus those of the second, at least one, shape (n, d).
        others: the same of the questions that are to be predicted, shape (m, d); those that could be asked if None.
        shares: how much an answer would count beside those that are known, from 0 to 1, shape (n,); all alike if None.
    """
    predicted = _some(differences if others is None else others)
    counts = np.ones(len(differences)) if shares is None else shares
    places = np.argsort(-counts * _variance_reduction(posterior, differences, predicted), kind="stable")[:_CANDIDATES]
    best = int(places[(counts[places] * expected_gain(posterior, differences[places], predicted)).argmax()])
    return best, float(counts[best] * expected_information(posterior, differences[best : best + 1])[0])


def _some(others: Array) -> Array:
    """Questions at even distances that stand for all."""
    return others[:: max(1, -(-len(others) // _COMPARED))]


def _variance_reduction(posterior: Posterior, differences: Array, others: Array) -> Array:
    """How far the answer to each question shrinks the variance of others, by a normal reading of it, shape (n,)."""
    mean, covariance = posterior.mean, posterior.covariance
    moved = differences @ covariance
    own = np.maximum((moved * differences).sum(axis=1), _SURE)
    chosen = _logistic((differences @ mean)[:, None] + np.sqrt(own)[:, None] * _NODES)
    precision = (chosen * (1.0 - chosen)) @ _WEIGHTS
    theirs = posterior.probabilities(others)
    reduction: Array = precision / (1.0 + precision * own) * ((moved @ others.T) ** 2 @ (theirs * (1.0 - theirs)))
    return reduction


def count_questions_left(
    posterior: Posterior,
    differences: Array,
    others: Array | None = None,
    *,
    shares: Array | None = None,
    enough: float = ENOUGH,
    most: int = _MOST,
) -> int | None:
    """About how many more questions it takes until none teaches much, each the best that is then left.

    Args:
        posterior: what is known of the weights.
        differences: of the questions that could be asked, each once, shape (n, d).
        others: of the questions that are to be predicted, shape (m, d); those that could be asked if None.
        shares: how much an answer would count beside those that are known, shape (n,); all alike if None.
        enough: nats below which a question is not worth asking.
        most: to look ahead.

    Returns:
        The count; None where the questions, or ``most`` of them, are used up before.
    """
    left, predicted = differences, _some(differences if others is None else others)
    counts = np.ones(len(differences)) if shares is None else shares
    means, covariances = posterior.means, posterior.covariances.copy()
    for count in range(most):
        if not len(left):
            return None
        then = replace(posterior, covariances=covariances)
        # The linear ranking alone: this looks far ahead, and no answer is at stake.
        best = int((counts * _variance_reduction(then, left, predicted)).argmax())
        asked, share = left[best], counts[best]
        if share * expected_information(then, asked[None])[0] < enough:
            return count
        left, counts = np.delete(left, best, axis=0), np.delete(counts, best)
        for at, covariance in enumerate(covariances):
            chosen = float(_logistic(means[at] @ asked))
            gain = covariance @ asked
            known = share * chosen * (1.0 - chosen)
            covariances[at] = covariance - known * np.outer(gain, gain) / (1.0 + known * float(asked @ gain))
    return None


@dataclass(frozen=True)
class QuestionPool:
    """The questions that could be asked of a person.

    Attributes:
        questions: the questions.
        differences: features of the first answer minus those of the second, shape (n, d).
        others: the same of all that the person could meet: also of questions that were asked, shape (m, d).
        answered: those that are answered already; another answer about the same texts counts less.
    """

    questions: tuple[Question, ...]
    differences: Array
    others: Array
    answered: tuple[Question, ...] = ()

    @classmethod
    def read(cls, reward: Reward, answers: Mapping[str, Sequence[str]]) -> QuestionPool:
        """Read every two answers to a prompt into features.

        Args:
            reward: says how texts are read.
            answers: by prompt, candidate answers; those that say the same are one.

        Raises:
            InputError: the reward was learned with another encoder.
        """
        distinct: dict[str, dict[str, str]] = {prompt: {} for prompt in answers}
        for prompt, texts in answers.items():
            for text in filter(str.strip, texts):
                distinct[prompt].setdefault(plain_form(text), text.strip())
        readings = [Reading(prompt, text) for prompt, kept in distinct.items() for text in kept.values()]
        rows = dict(zip(readings, read_features(reward.population.space, readings, reward.encoder), strict=True))
        pairs = [
            pair for prompt in distinct for pair in combinations([each for each in rows if each.prompt == prompt], 2)
        ]
        questions = tuple(Question(one.prompt, one.text, other.text) for one, other in pairs)
        differences = np.array([rows[one] - rows[other] for one, other in pairs])
        differences = differences.reshape(len(pairs), len(reward.population.space.names))
        return cls(questions, differences, differences)

    def choose(self, posterior: Posterior) -> tuple[int, float]:
        """The number of the question to ask next, and its expected information in nats.

        Args:
            posterior: what is known of the weights.
        """
        return choose_question(posterior, self.differences, self.others, shares=self.shares)

    @property
    def shares(self) -> Array:
        """How much an answer to each question would count beside the answers that are known, shape (n,)."""
        met = Counter(text for each in self.answered for text in _texts_of(each))
        return np.array([1 / (1 + max(met[text] for text in _texts_of(each))) for each in self.questions])

    def without(self, asked: Collection[Question]) -> QuestionPool:
        """The pool without some questions, whichever answer they name first."""
        gone = set(map(_texts_of, asked))
        kept = [at for at, each in enumerate(self.questions) if _texts_of(each) not in gone]
        return replace(self, questions=tuple(self.questions[at] for at in kept), differences=self.differences[kept])

    def answer(self, questions: Collection[Question]) -> QuestionPool:
        """The pool without some questions that are answered: others with the same texts then teach less."""
        return replace(self.without(questions), answered=(*self.answered, *questions))


def _texts_of(question: Question) -> frozenset[tuple[str, str]]:
    """The prompt with each of the two answers, whatever their order, spaces and Unicode form."""
    prompt = plain_form(question.prompt)
    return frozenset({(prompt, plain_form(question.first)), (prompt, plain_form(question.second))})


def _divergence(joint: Array, apart: Array) -> Array:
    """One term of a mutual information, in nats."""
    inside = np.maximum(joint, _SURE)
    term: Array = inside * np.log(inside / np.maximum(apart, _SURE))
    return term


def _entropy(chosen: Array) -> Array:
    """The entropy of an answer with two outcomes, in nats."""
    inside = np.clip(chosen, _SURE, 1 - _SURE)
    entropy: Array = -(inside * np.log(inside) + (1 - inside) * np.log1p(-inside))
    return entropy


def _logistic(logits: Array) -> Array:
    shares: Array = 1.0 / (1.0 + np.exp(-np.clip(logits, -40.0, 40.0)))
    return shares
