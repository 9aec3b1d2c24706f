"""Guided writing as a condition: what it learns from, whose records a control takes, and what judges never see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import dspy
import pytest

from hyperalign.errors import InputError
from hyperalign.evals import Plan, evaluate
from hyperalign.evals.cases import Case
from hyperalign.evals.conditions import Conditions, Fitter, resolve_strategies, wrong_users
from hyperalign.evals.metrics.authorship import AuthorshipMetrics
from hyperalign.evals.metrics.nearness import NEARNESS, Nearness
from hyperalign.evals.solvers.writing import Guide, WritingSolver
from hyperalign.profile import Profile
from hyperalign.programs.decoding import Author, Branch
from hyperalign.records import Edit, Record, Sample
from hyperalign.scores import Message
from tests.evals.small_task import BLUNT, GARDEN, HEDGER, SEA, TEXTS, Given, GivenTexts, personalizer, written
from tests.fixtures.scripted_server import Recorded, ScriptedServer, reply
from tests.programs.toys import FixedPopulation

PROMPT = "Write about the sea."
CASES = [
    Case(
        id=f"{user}1",
        user=user,
        cluster=user,
        prompt=PROMPT,
        records=tuple(Sample(user=user, id=f"{user}-{n}", text=text) for n, text in enumerate(TEXTS[user][:3])),
        reference=written(habits, SEA, 77),
    )
    for user, habits in (("hed", HEDGER), ("blu", BLUNT))
]
HED, BLU = CASES
BARE = "The sea is large, and it is blue."


def others(name: str, habits: Sequence[str], **fields: Any) -> list[Record]:
    return [
        Sample(user=name, id=f"{name}-{seed}", text=written(habits, GARDEN, seed + 50), **fields) for seed in range(3)
    ]


POPULATION = FixedPopulation([*others("dot", BLUNT), *others("eve", HEDGER)])


class Session:
    """An answer of which there are two ways to write it: with doubts, and with orders."""

    def __init__(self) -> None:
        self.text = ""
        self._now: list[Branch] = []

    def branch(self, count: int, tokens: int, *, temperature: float = 0.8) -> list[Branch]:
        del tokens, temperature
        ways = [written(HEDGER, SEA, 3), written(BLUNT, SEA, 3)] if count > 1 else [BARE]
        self._now = [Branch(ways[number % len(ways)], 90, True) for number in range(count)]
        return self._now

    def keep(self, index: int) -> None:
        self.text += self._now[index].text


class TwoWays:
    """A model that writes both ways whoever is asked for, and remembers what it was told."""

    name = "two ways"

    def __init__(self) -> None:
        self.told: list[list[Message]] = []

    def open(
        self, context: Sequence[Message], *, author: Author | None = None, seed: int = 0, room: int = 1
    ) -> Session:
        del seed, room
        assert author is None or author.kept is None, "an eval leaves nothing of its people in their folders"
        self.told.append(list(context))
        return Session()


def never(records: Sequence[Record]) -> Profile:
    pytest.fail(f"a profile was fitted to {len(records)} records")


def guided(fit: Fitter = never, **settings: Any) -> Conditions:
    return Conditions(resolve_strategies(["few-shot", "guided"]), fit, other_users=wrong_users(CASES, 1), **settings)


@pytest.fixture(autouse=True)
def free_to_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The writers have so few sentences that they cannot but repeat those of the examples."""
    for module in ("generate", "decoding", "guided"):
        monkeypatch.setattr(f"hyperalign.programs.{module}.MAX_COPIED", 1_000)
    for share in ("_LOOPED", "_ECHOED"):
        monkeypatch.setattr(f"hyperalign.programs.decoding.{share}", 1.0)


def test_the_reward_of_the_case_s_records_chooses_and_the_other_user_s_under_theirs(
    scripted_server: ScriptedServer,
) -> None:
    scripted_server.default = reply(BARE)
    writer = TwoWays()
    with dspy.context(lm=personalizer(scripted_server).lm):
        solver = WritingSolver(
            guided(), AuthorshipMetrics.train(TEXTS), guide=Guide("medium", writer, POPULATION), best_of=2
        )
        found = solver(HED)
    assert set(found["answers"]) == {"none", "few-shot", "guided", "wrong-user"}, "raw records have no opposite"
    assert (found["answers"]["none"], found["answers"]["few-shot"]) == (BARE, BARE)
    # The model offers the same ways to both: only the records differ.
    assert found["answers"]["guided"] == written(HEDGER, SEA, 3)
    assert found["answers"]["wrong-user"] == written(BLUNT, SEA, 3)
    assert len(scripted_server.requests) == 2, "none and few-shot; the writer wrote the rest"
    told = ["\n".join(turn["content"] for turn in turns) for turns in writer.told]
    assert [TEXTS["hed"][0] in each for each in told] == [False, True, False], "one bare answer comes first"
    assert [TEXTS["blu"][0] in each for each in told] == [False, False, True]
    assert not any(HED.reference in each for each in told)
    own = found["guided"]["guided"]
    assert own["rewards"][0] > own["rewards"][1] and own["bare"] == BARE
    assert own["tokens"] == 90 + 3 * 90
    assert found["scores"]["guided"]["win_rate_vs_wrong_user"] == 1.0


def test_of_fewer_records_less_is_shown() -> None:
    conditions = {each.name: each for each in guided(curve=[2]).of(HED)}
    assert conditions["guided@2"].records == HED.records[:2]
    assert conditions["guided"].records == HED.records
    assert conditions["wrong-user"].records == BLU.records
    assert conditions["few-shot"].records is None
    assert conditions["guided"].profile.style and not conditions["few-shot"].profile.style
    assert conditions["guided"].strategy.name == "few-shot"


def test_who_answered_the_case_s_own_prompt_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    class Program:
        def __init__(self, *args: Any, population: FixedPopulation, **settings: Any) -> None:
            read.extend(record.user for record in population.records("hed"))

        def __call__(self, **asked: Any) -> dspy.Prediction:
            return dspy.Prediction(answer="x")

    monkeypatch.setattr("hyperalign.evals.solvers.writing.GuidedGenerate", Program)
    population = FixedPopulation([*others("dot", BLUNT, prompt=PROMPT), *others("eve", BLUNT, prompt="Other.")])
    (condition,) = [each for each in guided().of(HED) if each.name == "guided"]
    Guide(population=population).write(condition, HED)
    assert set(read) == {"eve"}


def test_a_hosted_model_drafts_and_no_judge_is_trained_on_what_it_is_steered_by(
    scripted_server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[str] = []
    authors: list[set[str]] = []
    train = AuthorshipMetrics.train

    def watch(texts: dict[str, list[str]], shared: Sequence[str]) -> AuthorshipMetrics:
        trained.extend(text for theirs in texts.values() for text in theirs)
        authors.append(set(texts))
        return train(texts, shared)

    monkeypatch.setattr(AuthorshipMetrics, "train", watch)
    scripted_server.default = reply(lambda request: written(HEDGER, SEA, seed=len(scripted_server.requests)))
    texts = {user: [written(habits, SEA + GARDEN, seed) for seed in range(12)] for user, habits in
             (("hed", HEDGER), ("blu", BLUNT), ("dot", BLUNT))}  # fmt: skip
    cases = [
        replace(case, records=tuple(Sample(user=case.user, text=text) for text in texts[case.user][:3]))
        for case in CASES
    ]
    population = FixedPopulation([Sample(user="dot", text=text) for text in texts["dot"][:3]])
    plan = Plan(("guided",), controls=("none",), effort="medium", concurrency=1)
    task = GivenTexts(cases, texts)
    result = evaluate(personalizer(scripted_server), task, plan=plan, population=population, out=tmp_path / "run")
    assert set(result.summary["conditions"]) == {"none", "guided", "own-text"}
    assert not set(trained) & set(texts["dot"][:3]), "these are the others that the reward is learned against"
    assert set(texts["dot"][3:]) <= set(trained)
    assert result.summary["note"] == task.note()
    # Where there are others enough, those that the reward is learned against are no rivals at all.
    more = texts | {f"o{i}": [written(BLUNT, SEA + GARDEN, 100 * i + seed) for seed in range(4)] for i in range(3)}
    evaluate(
        personalizer(scripted_server), GivenTexts(cases, more), plan=plan, population=population, out=tmp_path / "more"
    )
    assert authors == [set(texts), set(more) - {"dot"}]
    # A bare answer and two drafts, at least, after what 'none' asked once.
    assert len(scripted_server.requests) >= 2 * 3
    assert (tmp_path / "run" / "profiles.jsonl").exists() is False, "nothing was fitted"
    with pytest.raises(InputError, match="guided"):
        evaluate(
            personalizer(scripted_server), task, plan=replace(plan, effort="high"), population=population,
            out=tmp_path / "run",
        )  # fmt: skip


def test_a_choice_is_not_written(scripted_server: ScriptedServer, tmp_path: Path) -> None:
    task = Given([Case(f"q{user}", user, user, "p", HED.records, chosen="a", rejected="b") for user in ("hed", "blu")])
    with pytest.raises(InputError, match="nothing to write"):
        evaluate(personalizer(scripted_server), task, plan=Plan(("guided",)), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


# Rewriting

DRAFT = "Send me the report today. I need it, and you promised that I would have it by now."
OWN = written(HEDGER, GARDEN, 4, sentences=3)
OTHER = written(BLUNT, GARDEN, 4, sentences=3)


def rewriting(user: str, own: str, other: str, habits: Sequence[str]) -> Case:
    prompt = f"Rewrite this mail:\n\n{DRAFT}"
    edits = [
        Edit(user=user, prompt=f"Rewrite this mail:\n\nMail {n}.", draft=f"Mail {n}.", edited=written(habits, SEA, n))
        for n in range(3)
    ]
    return Case(f"r-{user}", user, user, prompt, tuple(edits), rejected=other, reference=own, draft=DRAFT)


REWRITINGS = [rewriting("hed", OWN, OTHER, HEDGER), rewriting("blu", OTHER, OWN, BLUNT)]


def test_rewrites_are_compared_with_two_people_s_and_with_the_draft(scripted_server: ScriptedServer) -> None:
    scripted_server.default = reply(lambda request: OWN if "suppose" in request.prompt else DRAFT)
    conditions = Conditions(resolve_strategies(["few-shot"]), never, other_users=wrong_users(REWRITINGS, 1))
    with dspy.context(lm=personalizer(scripted_server).lm):
        found = WritingSolver(conditions, Nearness(REWRITINGS))(REWRITINGS[0])
    assert found["answers"]["draft"] == found["answers"]["none"] == DRAFT
    scores = found["scores"]
    assert [scores["few-shot"][metric] for metric in NEARNESS.values()] == [1.0, 1.0, 1.0]
    assert [scores["draft"][metric] for metric in NEARNESS.values()] == [
        scores["none"][metric] for metric in NEARNESS.values()
    ]
    # What a rewrite keeps of its draft is its content: it is not left out, as what repeats a prompt is elsewhere.
    assert scores["draft"]["words"] == len(DRAFT.split())
    assert scores["draft"]["on_topic"] > 0.3
    assert "author_logprob" not in scores["few-shot"]


def in_three_sentences(request: Recorded) -> str:
    return OWN if "suppose" in request.prompt else OTHER


def test_a_run_of_rewriting_has_its_report(scripted_server: ScriptedServer, tmp_path: Path) -> None:
    from hyperalign.evals import write_report
    from tests.evals.test_summary import SCHEMA

    class Rewriting(Given):
        primary = NEARNESS["style"]

    scripted_server.default = reply(in_three_sentences)
    population = FixedPopulation(
        [
            Edit(user="dot", prompt=f"Mail {n}", draft="No.", edited=written(habits, GARDEN, n + 30))
            for n, habits in enumerate((HEDGER, BLUNT, HEDGER))
        ]
    )
    result = evaluate(
        personalizer(scripted_server),
        Rewriting(REWRITINGS, kind="writing"),
        plan=Plan(("few-shot", "guided"), effort="medium"),
        population=population,
        out=tmp_path / "run",
    )
    SCHEMA.validate(dict(result.summary))
    conditions = result.summary["conditions"]
    assert set(conditions) == {"none", "few-shot", "guided", "wrong-user", "draft", "own-text"}
    assert result.summary["primary"] == "nearer_style"
    assert conditions["few-shot"]["nearer_style"]["mean"] == conditions["guided"]["nearer_style"]["mean"] == 1.0
    assert conditions["wrong-user"]["nearer_style"]["mean"] == 0.0
    assert conditions["draft"]["keeps_content"]["mean"] == 1.0
    assert "keeps_content" in conditions["guided"] and "keeps_content" in conditions["own-text"]
    assert result.summary["judges"] == {}
    assert "draft" in result.summary["controls"]
    assert "draft" in result.summary["differences"]
    told = "\n".join(file.read_text(encoding="utf-8") for file in write_report(result.folder))
    assert "nearer to own (edit distance)" in told
    assert "Authorship" not in told
    assert "on topic" in told and "keeps what the draft says" in told
