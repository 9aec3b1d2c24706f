"""Choices without a model: priors know neither the person nor the items, and controls are what they say."""

from __future__ import annotations

import importlib.util
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hyperalign.backends.models.scorers import OpenVINOScorer
from hyperalign.errors import InputError
from hyperalign.evals.cases import Case
from hyperalign.evals.conditions import wrong_users
from hyperalign.evals.solvers.reward import TONES, CollaborativeSolver, RewardSolver, ToneReader, with_tones
from hyperalign.programs.reward.empirical_bayes import PriorSettings
from hyperalign.programs.reward.features import Axes, Reading, build_feature_space, read_features
from hyperalign.programs.reward.population import FeatureRow, RewardPopulation, load_population
from hyperalign.programs.reward.posterior import Prior
from hyperalign.records import Pair, own_text
from hyperalign.scores import Scorer
from tests.evals.small_people import Tastes
from tests.evals.small_task import Given

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


# Not importorskip: importing OpenVINO as it comes reports to its makers.
READS = all(importlib.util.find_spec(name) for name in ("gguf", "openvino", "tokenizers"))
reads = pytest.mark.skipif(not READS, reason="the 'local' extra is not installed")
SAID = (
    "Thank you so much, that was lovely of you.",
    "The invoice is due on the third of the month.",
    "Stop talking and do the work at once.",
    "Oh well, the goat ate my homework again.",
    "The valve must be closed before the pump.",
    "I am heartbroken that the old library closed.",
    "Please find the minutes of the meeting attached.",
    "What a silly hat, I want three of them.",
    "Your plan is bad and you know it.",
    "The train leaves the station at nine.",
    "We are thrilled to bits to meet you there.",
    "It rained, so the game was put off.",
)
ITEMS = [("Say something.", text) for text in SAID]


@pytest.fixture(scope="module")
def scorer(smollm_path: Path) -> Iterator[Scorer]:
    with OpenVINOScorer(smollm_path, name="smol") as opened:
        yield opened


@reads
def test_a_taste_that_only_readings_show_is_learned_from_them(scorer: Scorer) -> None:
    reader = ToneReader(scorer)
    tones = dict(zip(SAID, reader.encode(ITEMS).sum(axis=1), strict=True))
    known, asked = SAID[:8], SAID[8:]

    def case(number: int, chosen: str, rejected: str) -> Case:
        records = [
            Pair(
                user="u",
                prompt="Say something.",
                chosen=max(two, key=tones.__getitem__),
                rejected=min(two, key=tones.__getitem__),
            )
            for two in itertools.combinations(known, 2)
        ]
        return Case(
            id=str(number),
            user="u",
            cluster="u",
            prompt="Say something.",
            records=tuple(records),
            chosen=chosen,
            rejected=rejected,
        )

    cases = [
        case(number, max(two, key=tones.__getitem__), min(two, key=tones.__getitem__))
        for number, two in enumerate(itertools.combinations(asked, 2))
    ]
    blind = RewardSolver(Given(cases), cases, {}, base=BASE)
    reading = RewardSolver(Given(cases), cases, {}, base=with_tones(BASE, reader, ITEMS), encoder=reader)
    assert np.mean([reading(each).own > 0.5 for each in cases]) > 0.9
    assert np.mean([np.log(reading(each).own / blind(each).own) for each in cases]) > 0.1


@reads
def test_a_reading_is_the_log_odds_of_two_words_of_the_space(scorer: Scorer) -> None:
    prompt, text = "May I come?", "No. Go away."
    (found,) = ToneReader(scorer).encode([(prompt, text)])
    context = [
        {"role": "system", "content": "You say in one word how an answer comes across."},
        {
            "role": "user",
            "content": f"<prompt>\n{prompt}\n</prompt>\n\n<answer>\n{text}\n</answer>\n\nThis answer comes across as:",
        },
    ]
    warm, cold = scorer.score(context, ["Warm", "Cold"])
    assert found[TONES.index("warm")] == pytest.approx(warm.logprob - cold.logprob, abs=0.1)


@reads
def test_readings_stand_after_what_another_encoder_reads(scorer: Scorer) -> None:
    space = BASE.space.with_encoder(Axes(name="exclaims@1", mean=(0.5,), axes=((2.0,),)))
    size = len(space.names)
    base = RewardPopulation("made up", space, Prior(np.full(size, 0.5), 0.1 * np.eye(size), {}))
    reader = ToneReader(scorer, encoder=Exclaims())
    wide = with_tones(base, reader, ITEMS)
    assert len(wide.space.names) == size + len(TONES)
    items = [Reading("Say something.", text) for text in SAID[:2]]
    kept = [wide.space.names.index(name) for name in space.names]
    assert read_features(wide.space, items, reader)[:, kept] == pytest.approx(read_features(space, items, Exclaims()))
    assert wide.prior.mean[kept] == pytest.approx(base.prior.mean)
    assert wide.prior.mean.sum() == pytest.approx(base.prior.mean.sum()), "no tone is expected of anybody"
    with pytest.raises(InputError, match="tones"):
        read_features(wide.space, items, Exclaims())
