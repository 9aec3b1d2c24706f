"""Choices that share what they teach count once, contradictions cancel, and time decides what is newer: in statements,
in the reward, in audits, in held-out predictions and in what is asked."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path

import dspy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperalign.backends.models.connect import connect
from hyperalign.ingest import read_records
from hyperalign.profile import Profile
from hyperalign.programs.audit import Audit
from hyperalign.programs.fit_result import Fit, Memory
from hyperalign.programs.personalizer import Personalizer
from hyperalign.programs.reward import Reward
from hyperalign.programs.reward.asking import Question, QuestionPool
from hyperalign.programs.update import HALF_LIFE
from hyperalign.records import Pair, Record
from tests.fixtures.scripted_server import ScriptedServer, reply

from .toys import SPACE, FixedPopulation, OverlapScorer

FAULTS = Path(__file__).parents[3] / "shared" / "data" / "faults"
JAM, OIL = "Toast with jam and marmalade", "An engine with oil and smoke"
LENGTHS = ("Cut it.", "Cut it, and water it.", "Cut it to three buds, water it, and keep the wind off until May.")


def choice(number: int, *, likes_jam: bool = True, **more: object) -> Pair:
    texts = [f"{JAM}, {number}.", f"{OIL}, {number}."]
    chosen, rejected = texts if likes_jam else texts[::-1]
    fields = {"user": "ada", "prompt": f"Say {number}.", "chosen": chosen, "rejected": rejected, **more}
    return Pair.model_validate(fields)


def ranking(texts: Sequence[str], prompt: str = "How?", user: str = "ada") -> list[Record]:
    return [Pair(user=user, prompt=prompt, chosen=one, rejected=other) for one, other in combinations(texts, 2)]


UNDECIDED = [choice(n, likes_jam=n % 2 == 0, user=f"other{n % 3}", id=f"o{n}") for n in range(6)]
RANKED = [*(f"{JAM}, {at}." for at in range(3)), *(f"{OIL}, {at}." for at in range(3))]


def fit(server: ScriptedServer, records: Sequence[Record], scorer: OverlapScorer | None = None, **more: object) -> Fit:
    return person(server, scorer, **more).fit_detailed(records)


def person(server: ScriptedServer, scorer: OverlapScorer | None = None, **more: object) -> Personalizer:
    server.default = reply("Nothing that could be read.")
    lm: dspy.LM = connect("openai/any", api_base=server.base, api_key="k", num_retries=0)
    options = {"population": FixedPopulation(UNDECIDED), "space": SPACE, **more}
    return Personalizer(lm, scorer=scorer or OverlapScorer(), **options)  # type: ignore[arg-type]


def believed(profile: Profile) -> dict[str, float]:
    return {each.statement: each.weight for each in profile.hypotheses}


def test_ten_different_choices_are_believed(scripted_server: ScriptedServer) -> None:
    found = fit(scripted_server, [choice(n) for n in range(10)])
    assert "Marmalade jam toast." in believed(found.profile)
    assert found.skipped == {}


@pytest.mark.parametrize(
    "records",
    [
        pytest.param(ranking(RANKED), id="a ranking as fifteen pairs"),
        pytest.param(ranking(RANKED, prompt=""), id="a ranking without a question"),
        pytest.param(
            [each for each in ranking(RANKED) if isinstance(each, Pair) and each.chosen == RANKED[0]], id="best of six"
        ),
        pytest.param([choice(n, prompt="Say it.") for n in range(12)], id="twelve pairs of answers to one question"),
        pytest.param([choice(1, prompt=f"Say it, {n}.") for n in range(12)], id="the same answers to twelve questions"),
        pytest.param(
            [Pair(user="ada", prompt="Say.", chosen=JAM + n * " ", rejected=OIL) for n in range(12)], id="spaces"
        ),
        pytest.param(
            [choice(n, likes_jam=likes) for n in range(8) for likes in (True, False)], id="each choice and its reverse"
        ),
    ],
)
def test_choices_that_share_what_they_teach_are_too_few_to_say_anything(
    scripted_server: ScriptedServer, records: list[Record]
) -> None:
    for given_as in (records, records[::-1], random.Random(0).sample(records, len(records))):
        profile = fit(scripted_server, given_as).profile
        assert believed(profile) == {}
        assert profile.reward is not None
        assert profile.reward.predicts == "", "there is no second question to predict"


def test_a_question_counts_as_one_beside_others(scripted_server: ScriptedServer) -> None:
    # Three questions about jam outweigh one question about oil, in however many pairs it was answered.
    against = ranking([*RANKED[3:], *RANKED[:3]])
    profile = fit(scripted_server, [*(choice(n) for n in range(10, 20)), *against]).profile
    assert "Marmalade jam toast." in believed(profile)
    test = next(each.test for each in profile.hypotheses if each.test and each.statement == "Marmalade jam toast.")
    assert len(test.records) <= 11, "one for each question"


def test_ties_are_not_read_and_are_counted(scripted_server: ScriptedServer) -> None:
    scorer = OverlapScorer()
    tied: list[Record] = [
        Pair(user="ada", prompt=f"Q{n}?", chosen=f"It is {n}.", rejected=f"It is {n}.\n") for n in range(12)
    ]
    found = fit(scripted_server, tied, scorer)
    assert (scorer.asked, scripted_server.requests) == ([], [])
    assert list(found.skipped.values()) == ["both of its texts say the same"] * 12
    assert believed(found.profile) == {}
    scorer = OverlapScorer()
    assert believed(fit(scripted_server, [*tied, *(choice(n) for n in range(10))], scorer).profile)
    assert not any("It is" in str(asked) for asked in scorer.asked)


def test_the_order_of_records_without_a_time_does_not_matter(scripted_server: ScriptedServer) -> None:
    records: list[Record] = [choice(n, likes_jam=n != 7, id=f"r{n:02}") for n in range(18)]
    first = fit(scripted_server, records).profile
    assert believed(first)
    for seed in range(2):
        again = fit(scripted_server, random.Random(seed).sample(records, len(records))).profile
        assert (again.hypotheses, again.dropped, again.direction) == (first.hypotheses, first.dropped, first.direction)


def test_hypotheses_are_not_tested_on_the_question_that_they_came_from(scripted_server: ScriptedServer) -> None:
    said = {"quote": "Toast with jam", "statement": "Loves toast.", "opposite": "Hates toast."}
    records = [
        record for n in range(8) for record in ranking([f"{text} So it is, {n}." for text in LENGTHS], f"How {n}?")
    ]
    records += [choice(n) for n in range(8)]
    server = scripted_server
    fitter = person(server)
    server.default = reply(json.dumps({"hypothesis": said}))
    found = fitter.fit_detailed(records)
    questions = {record.id: record.prompt for record in records if isinstance(record, Pair)}
    made_from = next(
        set(one.made_from)
        for part in found.memory.parts.values()
        for one in part.candidates
        if one.hypothesis.source == "inferred"
    )
    seen = {questions[name] for name in made_from}
    assert made_from == {name for name, prompt in questions.items() if prompt in seen}


# Reward


def reward_of(records: Sequence[Record], **more: float) -> Reward:
    return Reward.fit(records, **more)  # type: ignore[arg-type]


def test_contradictions_leave_the_reward_as_it_was_and_forgetting_one_restores_the_other() -> None:
    prior, one, back = reward_of([]), choice(1), choice(1, likes_jam=False)
    both = reward_of([one, back, choice(2), choice(2, likes_jam=False)])
    np.testing.assert_allclose(both.posterior.mean, prior.posterior.mean)
    assert both.hold_out() is None
    left = both.forget([back.id])
    np.testing.assert_allclose(left.posterior.mean, reward_of([one]).posterior.mean, atol=1e-6)


def test_a_ranking_teaches_the_reward_about_as_much_as_its_ratings_do() -> None:
    texts = [f"{text} It is so." for text in (*LENGTHS, LENGTHS[-1] + " " + LENGTHS[1], 3 * LENGTHS[-1])]
    rated = read_records(
        [{"user": "ada", "prompt": "How?", "text": text, "rating": -at} for at, text in enumerate(texts)]
    )
    by_pairs, by_ratings = reward_of(ranking(texts)), reward_of(rated.records)
    one, other = ("Short.", "Rather long, and then some more, and more still.")
    said = [each.prefer("Why?", one, other).probability for each in (by_pairs, by_ratings)]
    assert said[0] == pytest.approx(said[1], abs=0.06)
    every_pair = Reward(by_pairs.population, tuple(row.model_copy(update={"shares": None}) for row in by_pairs.rows))  # type: ignore[union-attr]
    assert every_pair.prefer("Why?", one, other).probability > max(said) + 0.05, "which it is not as ten choices"


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_copies_spaces_and_order_do_not_change_the_reward(data: st.DataObject) -> None:
    records: list[Record] = [choice(n, likes_jam=n != 3, id=f"r{n}") for n in range(6)]
    copies = [
        record.model_copy(
            update={"id": f"{record.id}-{data.draw(st.integers(0, 99))}", "chosen": f" {record.chosen}\r\n"}
        )
        for record in data.draw(st.lists(st.sampled_from(records), max_size=6))
        if isinstance(record, Pair)
    ]
    given_as = data.draw(st.permutations([*records, *copies]))
    known, again = reward_of(records), reward_of(given_as)
    np.testing.assert_allclose(again.posterior.mean, known.posterior.mean, atol=2e-3)
    assert str(again.hold_out()) == str(known.hold_out())
    step = reward_of(given_as[:3]).update(given_as[3:])
    np.testing.assert_allclose(step.posterior.mean, known.posterior.mean, atol=2e-3)


def test_held_out_choices_are_of_questions_that_no_other_choice_is_about() -> None:
    records = [*ranking([*LENGTHS, *RANKED], "How?"), *(choice(n) for n in range(10, 13))]
    reward = reward_of(records)
    held_out = reward.hold_out()
    assert held_out is not None
    assert held_out.count == 4, "one question of 36 pairs, and three others"
    asked = [reward.rows.index(row) for row in reward.rows if row.record == choice(11).id]
    left = reward.forget([choice(11).id])
    one = left.posterior.probabilities(np.array([reward.rows[asked[0]].values]))
    assert held_out.log_loss > 0
    parts = {tuple(each.tolist()): part for each, part in reward._leave_out(reward._questions("choice"))}
    assert sorted(map(len, parts)) == [1, 1, 1, 36]
    assert parts[tuple(asked)].probabilities(np.array([reward.rows[asked[0]].values])) == pytest.approx(one, abs=1e-3)


def test_the_audit_counts_questions(scripted_server: ScriptedServer) -> None:
    audit = Audit(OverlapScorer())
    said, poles = ["Marmalade jam toast."], {"Marmalade jam toast.": "Engine oil smoke."}
    (held,) = audit(statements=said, records=[choice(n) for n in range(10)], others=UNDECIDED, opposites=poles).findings
    assert held.verdict == "holds"
    told = audit(statements=said, records=[*ranking(RANKED), *[choice(11)] * 2], others=UNDECIDED, opposites=poles)
    assert (told.findings[0].verdict, told.findings[0].test) == ("not shown", None)
    assert "only 2 of the person's choices" in told.findings[0].reason


def test_a_question_about_texts_that_were_asked_about_teaches_less() -> None:
    pool = QuestionPool.read(
        reward_of([]), {"How?": [*LENGTHS, f"{LENGTHS[0]}\n", LENGTHS[1].replace(" ", "  ")], "Why?": LENGTHS[:2]}
    )
    assert len(pool.questions) == 4, "three of the first prompt, one of the second"
    later = pool.answer([Question("How? ", f" {LENGTHS[1]}", LENGTHS[0])])
    shares = {
        (each.prompt, each.first, each.second): share
        for each, share in zip(later.questions, later.shares.tolist(), strict=True)
    }
    assert shares == {
        ("How?", LENGTHS[0], LENGTHS[2]): 0.5,
        ("How?", LENGTHS[1], LENGTHS[2]): 0.5,
        ("Why?", LENGTHS[0], LENGTHS[1]): 1.0,
    }


# Update


def test_updates_know_copies_and_contradictions_of_all_that_was_read(scripted_server: ScriptedServer) -> None:
    fitter = person(scripted_server, half_life=HALF_LIFE)
    records: list[Record] = [choice(n, id=f"r{n}") for n in range(24)]
    memory = fitter.update(records).memory
    old_copy = choice(1, id="copy", chosen=f"{JAM},  1.\n")
    found = fitter.update([old_copy], memory)
    assert found.skipped == {"copy": "it repeats a record that was read before"}
    for back in (choice(2, likes_jam=False, id="back"), choice(23, likes_jam=False, id="back")):
        found = fitter.update([back], memory)
        assert found.skipped == {"back": "it contradicts a choice that was read before: neither counts"}
        gone = back.prompt.removeprefix("Say ").removesuffix(".")
        rows = {row.record for matrix in found.memory.parts["choices"].matrices for row in matrix.rows}
        assert f"r{gone}" not in rows
        again = fitter.update([choice(int(gone), id="again")], Memory.from_json(found.memory.to_json(), where="memory"))
        assert again.added == [], "it was contradicted"
        reward = Reward.from_profile(again.profile.reward) if again.profile.reward else reward_of([])
        rest = reward_of([record for record in records if record.id != f"r{gone}"])
        np.testing.assert_allclose(reward.posterior.mean, rest.posterior.mean, atol=1e-3)


# Time


def dated(count: int, turned_at: int) -> list[Record]:
    start = datetime(2024, 1, 1, tzinfo=UTC)
    return [choice(n, likes_jam=n < turned_at, id=f"d{n:02}", time=start + timedelta(days=n)) for n in range(count)]


def test_dated_records_in_any_order_of_lines_give_the_taste_of_the_end(scripted_server: ScriptedServer) -> None:
    records = dated(32, 16)
    profiles = [
        person(scripted_server, half_life=5.0, reward_half_life=5.0).update(given_as).profile
        for given_as in (records, records[::-1], random.Random(1).sample(records, len(records)))
    ]
    for profile in profiles:
        assert profile.direction["jam"] < 0.3
        assert profile.reward is not None
        assert Reward.from_profile(profile.reward).prefer("Say.", f"{OIL}, 9.", f"{JAM}, 9.").probability > 0.6
        assert believed(profile) == believed(profiles[0])
        assert profile.reward.weights == profiles[0].reward.weights  # type: ignore[union-attr]


def test_records_that_are_older_than_known_ones_take_their_place(scripted_server: ScriptedServer) -> None:
    records = dated(32, 16)
    fitter = person(scripted_server, half_life=5.0, reward_half_life=5.0, tested=200)
    late_first = fitter.update(records[:16], fitter.update(records[16:]).memory)
    in_order = fitter.update(records[16:], fitter.update(records[:16]).memory)
    assert late_first.profile.direction["jam"] == pytest.approx(in_order.profile.direction["jam"], abs=1e-4)
    assert late_first.profile.direction["jam"] < 0.3
    assert [record.id for record in late_first.memory.parts["choices"].recent] == [f"d{n:02}" for n in range(16, 32)]
    for one, other in zip(
        [late_first.profile.reward, in_order.profile.reward],
        [in_order.profile.reward, late_first.profile.reward],
        strict=True,
    ):
        assert one is not None and other is not None
        assert one.weights == pytest.approx(other.weights, abs=2e-3)


def test_half_lives_go_by_time_and_without_it_by_place() -> None:
    records = dated(12, 6)
    ages = [reward_of(given_as, half_life=2.0) for given_as in (records, records[::-1])]
    np.testing.assert_allclose(ages[0].posterior.mean, ages[1].posterior.mean, atol=1e-6)
    bare = [record.model_copy(update={"time": None}) for record in records]
    turned = [
        reward_of(given_as, half_life=2.0).prefer("Say.", f"{OIL}, 9.", f"{JAM}, 9.").probability
        for given_as in (bare, bare[::-1])
    ]
    assert turned[0] > 0.5 > turned[1]


# The files


@pytest.mark.skipif(not FAULTS.is_dir(), reason="needs ../shared/data/faults")
@pytest.mark.parametrize(
    ("name", "questions"),
    [
        ("ranking_as_pairs", 1),
        ("ranking_as_ratings", 1),
        ("trailing_space", 1),
        ("each_choice_and_its_reverse", 0),
        ("ties", 0),
    ],
)
def test_files_of_dependent_choices_keep_nothing(scripted_server: ScriptedServer, name: str, questions: int) -> None:
    scorer = OverlapScorer()
    found = fit(scripted_server, read_records([FAULTS / f"{name}.jsonl"]).records, scorer)
    assert believed(found.profile) == {}
    assert found.profile.reward is not None
    assert Reward.from_profile(found.profile.reward).hold_out() is None
    assert len(Reward.from_profile(found.profile.reward)._questions("choice")) == questions
    assert scripted_server.requests == []


@pytest.mark.skipif(not FAULTS.is_dir(), reason="needs ../shared/data/faults")
def test_files_of_dated_choices_prefer_long_answers_by_the_end_in_either_order() -> None:
    records = [read_records([FAULTS / f"{name}.jsonl"]).records for name in ("newest_first", "oldest_first")]
    rewards = [Reward.fit(each, half_life=10.0) for each in records]
    (first,) = (each for each in records[0] if isinstance(each, Pair) and each.prompt.endswith("(0)"))
    for reward in rewards:
        assert reward.prefer("What about tea?", first.rejected, first.chosen).probability > 0.7
    np.testing.assert_allclose(rewards[0].posterior.mean, rewards[1].posterior.mean, atol=1e-9)
