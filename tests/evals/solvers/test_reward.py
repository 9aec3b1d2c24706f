"""Choices without a model: priors know neither the person nor the items, and controls are what they say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from hyperalign.errors import InputError
from hyperalign.evals.cases import Case
from hyperalign.evals.conditions import wrong_users
from hyperalign.evals.solvers.reward import CollaborativeSolver, RewardSolver
from hyperalign.programs.reward.empirical_bayes import PriorSettings
from hyperalign.programs.reward.features import Reading, build_feature_space
from hyperalign.programs.reward.population import FeatureRow, RewardPopulation, load_population
from hyperalign.programs.reward.posterior import Prior
from hyperalign.records import own_text
from tests.evals.small_people import Tastes

BASE = load_population().without_encoder()


def is_blunt(user: str) -> bool:
    return int(user.partition("-")[2]) % 2 == 0


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return Tastes().cases()


@pytest.fixture(scope="module")
def solver(cases: list[Case]) -> RewardSolver:
    return RewardSolver(Tastes(), cases, wrong_users(cases, 0), base=BASE)


def test_a_reward_knows_its_person_and_a_stranger_s_does_not(solver: RewardSolver, cases: list[Case]) -> None:
    strangers = wrong_users(cases, 0)
    for case in cases:
        found = solver(case)
        assert found.own > 0.75
        assert found.inverted < found.everybody < found.own
        assert found.other is not None
        alike = is_blunt(case.user) == is_blunt(strangers[case.id].user)
        assert (found.other > 0.5) == alike
    assert np.mean([solver(case).everybody for case in cases]) == pytest.approx(0.5, abs=0.1)


def test_a_prior_knows_neither_the_person_nor_the_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[dict[str, list[FeatureRow]]] = []

    def keep(
        people: dict[str, list[FeatureRow]], base: RewardPopulation, *, name: str, settings: PriorSettings
    ) -> RewardPopulation:
        made.append(people)
        return RewardPopulation(name, base.space, base.prior)

    monkeypatch.setattr("hyperalign.evals.solvers.reward.estimate_from_rows", keep)
    monkeypatch.setattr("hyperalign.evals.solvers.reward.choose_settings", lambda people, base: PriorSettings())
    cases = Tastes().cases()
    people = Tastes().people(split="dev")
    for case in cases:
        made.clear()
        RewardSolver(Tastes(), [case], {}, base=BASE)(case)
        (known,) = made
        assert set(known) <= set(people) - {case.user}
        if case.split == "test":
            assert set(known) == set(people)
        used = {row.record for rows in known.values() for row in rows}
        asked = {record.id for theirs in people.values() for record in theirs if record.prompt == case.prompt}
        assert asked
        assert used
        assert not used & asked


def test_few_people_are_no_population() -> None:
    task = Tastes(people=6)
    cases = task.cases()
    assert RewardSolver(task, cases, {}, base=BASE).population(cases[0]) is BASE


def test_what_others_chose_between_the_same_items() -> None:
    task = Tastes()
    blunt = np.mean([is_blunt(name) for name in task.people(split="dev")])
    assert blunt != 0.5, "the dev people are not undecided"
    for case in task.cases():
        if case.split == "test":
            found = CollaborativeSolver(task)(case)
            assert found is not None
            assert (found > 0) == ((blunt > 0.5) == is_blunt(case.user))
    unknown = Case(id="1", user="x", cluster="x", prompt="?", records=(), chosen="Never seen.", rejected="Neither.")
    assert CollaborativeSolver(task)(unknown) is None


class Exclaims:
    """An encoder of one number that measured features would have to add up: whether a text exclaims or asks."""

    name = "exclaims@1"

    def __init__(self) -> None:
        self.read: list[str] = []

    def encode(self, items: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        self.read += [text for _, text in items]
        return np.array([[float("!" in text or "?" in text)] for _, text in items], dtype=np.float32)


def test_an_encoder_reads_each_text_once() -> None:
    encoder, task = Exclaims(), Tastes(people=8, cases_each=1)
    cases = task.cases()
    texts = [Reading(record.prompt or "", own_text(record)) for theirs in task.people().values() for record in theirs]
    space = build_feature_space([texts], BASE.space.words, encoder=encoder, encoder_components=1)
    size = len(space.names)
    base = RewardPopulation("made up", space, Prior(np.zeros(size), 0.1 * np.eye(size), {}))
    encoder.read.clear()
    found = [RewardSolver(task, cases, {}, base=base, encoder=encoder)(case) for case in cases[:2]]
    assert all(each.own > 0.6 for each in found)
    # For each solver: records once, and answers once.
    assert max(Counter(encoder.read).values()) <= 2 * 2
    with pytest.raises(InputError, match="exclaims@1"):
        RewardSolver(task, cases, {}, base=base)
