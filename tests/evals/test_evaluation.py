"""``evaluate`` from a program and a task to a folder, with a whole ``Personalizer`` and with programs of one's own."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import dspy
import pytest

from hyperalign.budget import Budget
from hyperalign.errors import BudgetExceededError, InputError, ModelError
from hyperalign.evals import Plan, Result, evaluate, load_task
from hyperalign.evals.cases import Task
from hyperalign.evals.plan import drawn
from hyperalign.profile import Profile
from hyperalign.programs.select import Rules
from hyperalign.records import Pair, Sample
from hyperalign.scores import Message
from tests.fixtures.scripted_server import ScriptedServer, error, reply
from tests.programs.parts import People

from .parts import FirstWords, answered, jsonl, pairs, personalizer, read_lines, samples
from .test_summary import SCHEMA

STRATEGIES = ("few-shot", "verified")


@pytest.fixture
def choices(tmp_path: Path) -> Task:
    """Six choices of three people, of whom six records each are known."""
    return load_task(str(jsonl(tmp_path / "choices.jsonl", pairs())))


@pytest.fixture
def texts(tmp_path: Path) -> Task:
    """Four texts of two people, of whom six records each are known."""
    return load_task(str(jsonl(tmp_path / "texts.jsonl", samples())))


def whole(folder: Path) -> dict[str, Any]:
    """What a run's folder holds, but for how long it took and which case paid for a profile that several share."""
    cases = {entry["case"]: entry for entry in read_lines(folder / "cases.jsonl")}
    for entry in cases.values():
        entry.pop("seconds")
        entry["found"].pop("tokens")
    summary = json.loads((folder / "summary.json").read_text())
    for step in summary["cost"].values():
        step.pop("seconds")
    return {"cases": cases, "summary": summary}


def kept(folder: Path, name: str, key: str) -> list[str]:
    return [entry[key] for entry in read_lines(folder / name)]


# A Personalizer


def test_choices_of_a_personalizer(scripted_server: ScriptedServer, choices: Task, tmp_path: Path) -> None:
    scripted_server.default = reply(answered)
    told: list[tuple[str, int, int]] = []
    budget = Budget()
    result = evaluate(
        personalizer(scripted_server, budget),
        choices,
        plan=Plan(STRATEGIES, curve=(2,), seed=7),
        out=tmp_path / "run",
        budget=budget,
        progress=lambda *said: told.append(said),
    )
    SCHEMA.validate(dict(result.summary))
    assert json.loads((tmp_path / "run" / "summary.json").read_text()) == result.summary
    assert result.folder == tmp_path / "run"
    arms = result.summary["strategies"]
    assert set(arms) == {
        *STRATEGIES, "wrong-user", "inverted", "vote-length", "vote-word-length", "vote-readability"
    }  # fmt: skip
    assert result.summary["switched_off"] == []
    assert result.summary["cases"] == {"scored": 6, "errors": 0}
    assert result.summary["cluster"] == {"unit": "person", "n": 3}
    assert set(arms["few-shot"]) == {"accuracy", "accuracy_sum", "own_over_other", "own_over_other_sum"}
    # The scorer counts known words: a person's own texts hold those of the answer they prefer, a stranger's do not.
    assert arms["few-shot"]["accuracy"]["mean"] == arms["few-shot"]["own_over_other"]["mean"] == 1.0
    assert set(result.summary["curves"]) == set(STRATEGIES)
    assert set(result.summary["curves"]["verified"]) == {"2", "all"}
    assert ("cases", 6, 6) in told
    assert [said for said in told if said[0] == "profiles"][-1] == ("profiles", 6, 6), "all records, and two of them"
    outcome = result.outcomes[0]
    assert {"prompt", "chosen", "rejected", "margins", "said", "scores", "tokens"} <= set(outcome.found)
    assert result.summary["cost"]["infer"]["calls"] == len(scripted_server.requests) > 0


def test_letters_are_asked_for_in_both_orders(scripted_server: ScriptedServer, choices: Task, tmp_path: Path) -> None:
    scripted_server.default = reply(lambda request: answered(request) if "hypothesis" in request.prompt else "A")
    plan = Plan(("few-shot",), letters=True, controls=("none",), users=1)
    result = evaluate(personalizer(scripted_server), choices, plan=plan, out=tmp_path / "run")
    arms = result.summary["strategies"]
    # The scorer, not the model, gives the letters here; neither letter is among the words it has seen.
    assert set(arms["few-shot"]) == {"accuracy", "accuracy_sum", "accuracy_letter", "order_consistency"}
    assert set(arms["none"]) == {"accuracy_letter", "order_consistency"}
    assert result.summary["switched_off"] == ["wrong-user", "inverted", "votes", "gold"]
    without = evaluate(personalizer(scripted_server, scorer=None), choices, plan=plan, out=tmp_path / "asked")
    arms = without.summary["strategies"]
    assert set(arms["few-shot"]) == {"accuracy", "order_consistency"}
    # A model that always says A has a position and no opinion.
    assert arms["few-shot"]["accuracy"]["mean"] == 0.5
    assert arms["few-shot"]["order_consistency"]["mean"] == 0.0


def test_writing_of_a_personalizer(scripted_server: ScriptedServer, texts: Task, tmp_path: Path) -> None:
    scripted_server.default = reply(answered, tokens_in=50, cached=20)
    budget = Budget()
    plan = Plan(STRATEGIES, concurrency=1)
    result = evaluate(personalizer(scripted_server, budget), texts, plan=plan, out=tmp_path / "run", budget=budget)
    SCHEMA.validate(dict(result.summary))
    arms = result.summary["strategies"]
    assert {*STRATEGIES, "none", "wrong-user", "own-text"} <= set(arms)
    assert result.summary["instruments"] == {"style": 1.0, "characters": 1.0}
    # The model writes with doubts only where texts of the one who has them are shown.
    assert arms["few-shot"]["win_rate_vs_none"]["mean"] == 0.75
    assert {"author_logprob", "burrows_delta", "copied_words", "words"} <= set(arms["verified"])
    (tokens,) = {tuple(outcome.found["tokens"]) for outcome in result.outcomes}
    assert tokens == ("in", "out", "cached")
    spent = Counter[str]()
    for outcome in result.outcomes:
        spent.update(outcome.found["tokens"])
    assert spent["in"] == 50 * len(scripted_server.requests) == budget.spent.tokens_in
    assert spent["cached"] == 20 * len(scripted_server.requests)
    assert spent["out"] == budget.spent.tokens_out > 0
    cost = json.loads((tmp_path / "run" / "cost.json").read_text())
    assert sum(step["tokens_in"] for step in cost.values()) == spent["in"]


@pytest.mark.parametrize("kind", ["choices", "texts"])
def test_how_many_run_at_a_time_decides_nothing(
    scripted_server: ScriptedServer, tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    scripted_server.default = reply(answered)
    task: Task = request.getfixturevalue(kind)
    folders = [tmp_path / str(count) for count in (1, 8)]
    for folder, count in zip(folders, (1, 8), strict=True):
        plan = Plan(STRATEGIES, concurrency=count, curve=(2,))
        budget = Budget()
        evaluate(personalizer(scripted_server, budget), task, plan=plan, out=folder, budget=budget)
    one, eight = (whole(folder) for folder in folders)
    assert one == eight
    profiles = [sorted(kept(folder, "profiles.jsonl", "key")) for folder in folders]
    assert profiles[0] == profiles[1]
    assert len(profiles[0]) == len(set(profiles[0])) > 0


def test_after_a_budget_it_goes_on_and_nothing_runs_twice(
    scripted_server: ScriptedServer, choices: Task, tmp_path: Path
) -> None:
    scripted_server.default = reply(answered)
    plan = Plan(STRATEGIES, concurrency=1)
    undisturbed = evaluate(personalizer(scripted_server), choices, plan=plan, out=tmp_path / "whole")
    each = len(scripted_server.requests) // 3
    assert each * 3 == len(scripted_server.requests), "each person's profile takes as many calls"

    # Enough for two profiles, the person's and the stranger's: the first person's cases, and not the third profile.
    budget = Budget(max_calls=2 * each + 1)
    with pytest.raises(BudgetExceededError) as stopped:
        evaluate(personalizer(scripted_server, budget), choices, plan=plan, out=tmp_path / "run", budget=budget)
    assert "higher --max-calls" in str(stopped.value.remedy)
    done = kept(tmp_path / "run", "cases.jsonl", "case")
    assert 0 < len(done) < 6
    assert len(kept(tmp_path / "run", "profiles.jsonl", "key")) == 2
    cost = json.loads((tmp_path / "run" / "cost.json").read_text())
    assert cost["infer"]["calls"] == 2 * each + 1
    assert not (tmp_path / "run" / "summary.json").exists()

    before = len(scripted_server.requests)
    budget = Budget()
    again = evaluate(personalizer(scripted_server, budget), choices, plan=plan, out=tmp_path / "run", budget=budget)
    assert len(scripted_server.requests) - before == each, "the profile that was not whole, and no other"
    cases = kept(tmp_path / "run", "cases.jsonl", "case")
    assert (cases[: len(done)], len(cases), len(set(cases))) == (done, 6, 6)
    profiles = kept(tmp_path / "run", "profiles.jsonl", "key")
    assert len(profiles) == len(set(profiles)) == 3
    assert again.summary["cost"]["infer"]["calls"] == 3 * each + 1, "both sittings"
    assert whole(tmp_path / "run")["cases"] == whole(tmp_path / "whole")["cases"]
    assert again.summary["strategies"] == undisturbed.summary["strategies"]

    # A third time there is nothing left to do.
    before = len(scripted_server.requests)
    third = evaluate(personalizer(scripted_server), choices, plan=plan, out=tmp_path / "run")
    assert len(scripted_server.requests) == before
    assert third.summary == again.summary


def test_a_case_that_failed_is_counted_and_tried_again(
    scripted_server: ScriptedServer, texts: Task, tmp_path: Path
) -> None:
    plan = Plan(("few-shot",), concurrency=1, controls=("none",))
    scripted_server.script(error(400, "This one I refuse."))
    scripted_server.default = reply(answered)
    first = evaluate(personalizer(scripted_server), texts, plan=plan, out=tmp_path / "run")
    assert first.summary["cases"] == {"scored": 3, "errors": 1}
    assert [bool(outcome.error) for outcome in first.outcomes] == [True, False, False, False]
    assert first.summary["strategies"]["few-shot"]["author_logprob"]["n_cases"] == 3, "an error is no score"
    again = evaluate(personalizer(scripted_server), texts, plan=plan, out=tmp_path / "run")
    assert again.summary["cases"] == {"scored": 4, "errors": 0}


def test_where_every_case_failed_there_is_no_summary(
    scripted_server: ScriptedServer, texts: Task, tmp_path: Path
) -> None:
    plan = Plan(("few-shot",), controls=("none",))
    scripted_server.default = error(400, "I refuse.")
    with pytest.raises(ModelError, match=r"All 4 cases ended in an error; the first: .*I refuse"):
        evaluate(personalizer(scripted_server), texts, plan=plan, out=tmp_path / "run")
    assert len(kept(tmp_path / "run", "cases.jsonl", "case")) == 4
    assert not (tmp_path / "run" / "summary.json").exists()


# Any other program


def test_choices_of_any_program(choices: Task, tmp_path: Path) -> None:
    program = FirstWords()
    result = evaluate(program, choices, plan=Plan(concurrency=2), out=tmp_path / "run")
    SCHEMA.validate(dict(result.summary))
    arms = result.summary["strategies"]
    assert set(arms) == {"program", "wrong-user", "vote-length", "vote-word-length", "vote-readability"}
    assert arms["program"]["accuracy"]["mean"] == arms["program"]["order_consistency"]["mean"] == 1.0
    # Texts of others share no word with either answer; then it says A, and both orders disagree.
    assert arms["wrong-user"]["order_consistency"]["mean"] < 1.0
    assert arms["program"]["own_over_other"]["mean"] > 0.5
    assert len(program.asked) == 6 * 4, "own and a stranger's records, in both orders"
    for outcome in result.outcomes:
        shown = [prompt for prompt, _ in program.asked if outcome.found["chosen"] in prompt]
        assert len(shown) == 4
        assert (
            sum(prompt.index(outcome.found["chosen"]) < prompt.index(outcome.found["rejected"]) for prompt in shown)
            == 2
        )
    assert not any(case in ids for _, ids in program.asked for case in ("ada-6", "ada-7", "bob-6", "cal-7"))


def test_writing_of_any_program(texts: Task, tmp_path: Path) -> None:
    program = FirstWords()
    result = evaluate(program, texts, out=tmp_path / "run")
    SCHEMA.validate(dict(result.summary))
    arms = result.summary["strategies"]
    assert set(arms) == {"program", "none", "wrong-user", "own-text"}
    # It answers with the first record of whomever it is shown.
    assert arms["program"]["win_rate_vs_none"]["mean"] == arms["program"]["win_rate_vs_wrong_user"]["mean"] == 1.0
    assert arms["program"]["copied_words"]["mean"] == arms["program"]["words"]["mean"] > 20
    assert arms["none"]["copied_words"]["mean"] < 5
    assert len(program.asked) == 4 * 3


def test_controls_of_a_program_can_be_off(choices: Task, texts: Task, tmp_path: Path) -> None:
    chosen = evaluate(FirstWords(), choices, plan=Plan(controls=()), out=tmp_path / "a")
    assert set(chosen.summary["strategies"]) == {"program"}
    assert chosen.summary["switched_off"] == ["none", "wrong-user", "inverted", "votes", "gold"]
    assert chosen.summary["wins"] == {}
    program = FirstWords()
    wrote = evaluate(program, texts, plan=Plan(controls=("wrong-user",)), out=tmp_path / "b")
    assert set(wrote.summary["strategies"]) == {"program", "wrong-user", "own-text"}
    assert all(ids for _, ids in program.asked)


def test_a_program_s_own_model_is_named_and_paid_for(
    scripted_server: ScriptedServer, texts: Task, tmp_path: Path
) -> None:
    scripted_server.default = reply(lambda request: "[[ ## answer ## ]]\nSo it was.\n[[ ## completed ## ]]")
    budget = Budget()
    lm = personalizer(scripted_server, budget).lm
    assert lm is not None
    program = dspy.Predict("prompt, records -> answer")
    with dspy.context(lm=lm):
        result = evaluate(program, texts, users=2, seed=5, out=tmp_path / "run", budget=budget)
    assert result.summary["model"] == lm.model
    assert result.summary["seed"] == 5
    assert {answer for outcome in result.outcomes for answer in outcome.found["answers"].values()} == {"So it was."}
    assert all(outcome.found["tokens"]["in"] == 30 for outcome in result.outcomes), "three arms of ten tokens"
    assert sum(step["calls"] for step in result.summary["cost"].values()) == 12


class Careless(dspy.Module):
    """Has instructions of its own, and does not ask any model."""

    def __init__(self, instructions: str) -> None:
        super().__init__()
        self.ask = dspy.Predict(dspy.Signature("prompt, records -> answer", instructions))

    def forward(self, prompt: str, records: list[Pair | Sample]) -> dspy.Prediction:
        del prompt, records
        return dspy.Prediction(answer="A" if "A" in self.ask.signature.instructions else "B")


def test_a_program_with_other_instructions_or_demonstrations_is_another_run(choices: Task, tmp_path: Path) -> None:
    plan = Plan(controls=())
    first = evaluate(Careless("Say A."), choices, plan=plan)
    other = evaluate(Careless("Say B."), choices, plan=plan)
    assert first.folder != other.folder, "or figures of the one would be told of the other"
    taught = Careless("Say A.")
    taught.ask.demos = [dspy.Example(prompt="p", records=pairs()[:2], answer="A").with_inputs("prompt", "records")]
    assert evaluate(taught, choices, plan=plan).folder not in {first.folder, other.folder}
    assert evaluate(Careless("Say A."), choices, plan=plan).folder == first.folder
    evaluate(Careless("Say A."), choices, plan=plan, out=tmp_path / "run")
    with pytest.raises(InputError, match="differs in state"):
        evaluate(taught, choices, plan=plan, out=tmp_path / "run")


def test_a_personalizer_with_other_rules_or_other_people_is_another_run(
    choices: Task, scripted_server: ScriptedServer
) -> None:
    plan = Plan(strategies=("few-shot",), controls=())
    usual = evaluate(personalizer(scripted_server), choices, plan=plan).folder
    assert evaluate(personalizer(scripted_server), choices, plan=plan).folder == usual
    for changed in ({"rules": Rules(fdr=0.5)}, {"reference": 3}, {"contrast": People(pairs()[:4])}):
        assert evaluate(personalizer(scripted_server, **changed), choices, plan=plan).folder != usual


def test_a_strategy_of_ones_own_is_measured(choices: Task, scripted_server: ScriptedServer) -> None:
    class Shouting:
        name = "shouting"

        def condition(self, profile: Profile, prompt: str, budget: int) -> list[Message]:
            del budget
            return [{"role": "user", "content": f"FOR {profile.user.upper()}: {prompt}"}]

    result = evaluate(personalizer(scripted_server), choices, plan=Plan(strategies=(Shouting(), "few-shot")))
    assert {"shouting", "few-shot"} <= set(result.summary["strategies"])
    assert json.loads((result.folder / "eval.json").read_text())["strategies"] == ["shouting", "few-shot"]


def test_a_plan_and_its_parts_are_not_both_given(choices: Task) -> None:
    with pytest.raises(InputError, match="beside it"):
        evaluate(FirstWords(), choices, plan=Plan(), users=2)


# The folder


def test_without_a_folder_it_lands_among_the_runs_of_the_data_folder(choices: Task) -> None:
    result = evaluate(FirstWords(), choices, seed=2)
    assert result.folder.parent == Path(os.environ["HYPERALIGN_DATA"]) / "runs"
    assert result.folder.name.startswith("eval-choices-")
    assert {path.name for path in result.folder.iterdir()} >= {"eval.json", "cases.jsonl", "cost.json", "summary.json"}
    assert evaluate(FirstWords(), choices, seed=3).folder != result.folder
    program = FirstWords()
    assert evaluate(program, choices, seed=2).folder == result.folder
    assert program.asked == [], "the same question goes on where it was"


def test_a_folder_of_another_run_is_refused_and_told_why(choices: Task, texts: Task, tmp_path: Path) -> None:
    def ask(task: Task = choices, program: dspy.Module | None = None, **plan: Any) -> Result:
        return evaluate(program or FirstWords(), task, plan=Plan(**plan), out=tmp_path / "run")

    ask(seed=1, concurrency=1)
    before = (tmp_path / "run" / "eval.json").read_bytes()
    for changed, match in (
        ({"seed": 2}, r"differs in seed\."),
        ({"seed": 1, "users": 2}, r"differs in cases, users\."),
        ({"seed": 1, "letters": True}, r"differs in letters\."),
        ({"seed": 1, "curve": (1, 2)}, r"differs in curve\."),
        ({"seed": 1, "controls": ("none",)}, r"differs in controls\."),
        ({"seed": 1, "task": texts}, "differs in task, cases"),
        ({"seed": 1, "program": Careless("Say A.")}, "differs in program, state"),
    ):
        with pytest.raises(InputError, match=match) as refused:
            ask(**changed)
        assert "--out" in str(refused.value.remedy)
    assert (tmp_path / "run" / "eval.json").read_bytes() == before
    ask(seed=1, concurrency=4)


def test_a_folder_with_something_else_in_it_is_left_alone(choices: Task, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("Dear")
    (tmp_path / "file").write_text("Dear")
    for name in ("mine", "file"):
        with pytest.raises(InputError, match="something else lies there"):
            evaluate(FirstWords(), choices, out=tmp_path / name)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter.txt"]
    (tmp_path / "empty").mkdir()
    assert evaluate(FirstWords(), choices, out=str(tmp_path / "empty")).folder == tmp_path / "empty"


# What is drawn


def test_users_cases_and_parts_are_drawn_as_asked(choices: Task) -> None:
    assert len(drawn(choices, Plan())) == 6
    assert Counter(case.user for case in drawn(choices, Plan(cases_each=1))) == {"ada": 1, "bob": 1, "cal": 1}
    two = drawn(choices, Plan(users=2, seed=4))
    assert len({case.user for case in two}) == 2
    assert two == drawn(choices, Plan(users=2, seed=4))
    parts = [drawn(choices, Plan(part=part)) for part in ("development", "report")]
    assert sum(map(len, parts)) == 6
    assert not {case.user for case in parts[0]} & {case.user for case in parts[1]}


def test_what_cannot_be_asked_is_refused_before_anything_is_done(
    scripted_server: ScriptedServer, choices: Task, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="numbers of records"):
        Plan(curve=(0,))
    with pytest.raises(InputError, match="all cases are one user's"):
        evaluate(FirstWords(), choices, users=1, out=tmp_path / "run")
    with pytest.raises(InputError, match="no strategy 'nonsense'"):
        evaluate(personalizer(scripted_server), choices, plan=Plan(("nonsense",)), out=tmp_path / "run")
    with pytest.raises(InputError, match="at least two authors"):
        one = [sample for sample in samples() if sample.user == "hed"]
        task = load_task(str(jsonl(tmp_path / "one.jsonl", one)))
        evaluate(FirstWords(), task, plan=Plan(controls=()), out=tmp_path / "run")
    assert not (tmp_path / "run").exists(), "a slip must not mark the folder as another run's"
    assert scripted_server.requests == []
