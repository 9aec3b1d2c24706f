"""Where a run lies, and what makes it another run."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dspy
import pytest

from hyperalign.errors import InputError, StorageError
from hyperalign.evals import Plan, Result, evaluate
from hyperalign.evals.cases import Case, Task
from hyperalign.evals.tasks import load_task
from hyperalign.files import lock_folder
from hyperalign.programs.selection import Rules
from hyperalign.records import Pair, Sample
from tests.evals.small_task import TEXTS, FirstWords, GivenTexts, jsonl, pairs, personalizer
from tests.fixtures.scripted_server import ScriptedServer
from tests.programs.toys import FixedPopulation


class Careless(dspy.Module):
    """Has instructions of its own, and does not ask any model."""

    def __init__(self, instructions: str) -> None:
        super().__init__()
        self.ask = dspy.Predict(dspy.Signature("prompt, records -> answer", instructions))

    def forward(self, prompt: str, records: list[Pair | Sample]) -> dspy.Prediction:
        del prompt, records
        return dspy.Prediction(answer="A" if "A" in self.ask.signature.instructions else "B")


def test_two_runs_in_one_folder_do_not_both_ask(choices: Task, tmp_path: Path) -> None:
    plan = Plan(controls=())
    run = evaluate(Careless("Say A."), choices, plan=plan, out=tmp_path / "run").folder
    (run / "cases.jsonl").unlink()
    with lock_folder(run), pytest.raises(StorageError, match="Another process is at work"):
        evaluate(Careless("Say A."), choices, plan=plan, out=run)
    assert not (run / "cases.jsonl").exists()


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
    for changed in ({"rules": Rules(fdr=0.5)}, {"reference": 3}, {"population": FixedPopulation(pairs()[:4])}):
        assert evaluate(personalizer(scripted_server, **changed), choices, plan=plan).folder != usual


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


def test_a_text_changed_under_its_id_makes_another_run(tmp_path: Path) -> None:
    """Or what was measured on the one text would be told of the other."""

    def ask(records: Sequence[Pair | Sample]) -> Result:
        task = load_task(str(jsonl(tmp_path / "own.jsonl", records)))
        return evaluate(FirstWords(), task, plan=Plan(controls=()), out=tmp_path / "run")

    known = pairs()
    ask(known)
    ask(known)
    for place, changed in ((0, {"rejected": "Another one."}), (-1, {"prompt": "Say something else."})):
        mended = list(known)
        mended[place] = known[place].model_copy(update=changed)
        with pytest.raises(InputError, match=r"differs in cases\."):
            ask(mended)


def test_other_texts_to_judge_by_make_another_run(tmp_path: Path) -> None:
    case = Case("1", "ada", "ada", "Write.", (), reference="r")

    def ask(texts: Mapping[str, Sequence[str]]) -> Result:
        return evaluate(FirstWords(), GivenTexts([case], texts), plan=Plan(controls=()), out=tmp_path / "run")

    ask(TEXTS | {"ada": TEXTS["hed"]})
    with pytest.raises(InputError, match=r"differs in texts, judges\."):
        ask(TEXTS | {"ada": TEXTS["blu"]})


def test_how_many_ran_at_a_time_is_kept_and_decides_nothing(choices: Task, tmp_path: Path) -> None:
    plan = {"seed": 1, "controls": ()}
    folders = {evaluate(FirstWords(), choices, plan=Plan(**plan, concurrency=count)).folder for count in (3, 5)}
    (folder,) = folders
    mark = folder / "eval.json"
    asked = json.loads(mark.read_text())
    assert asked.pop("concurrency") == 3, "of the first sitting"
    # A folder from before it was kept.
    mark.write_text(json.dumps(asked))
    program = FirstWords()
    evaluate(program, choices, plan=Plan(**plan, concurrency=1), out=folder)
    assert program.asked == []
    assert json.loads(mark.read_text()) == asked


def test_a_folder_with_something_else_in_it_is_left_alone(choices: Task, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("Dear")
    (tmp_path / "file").write_text("Dear")
    for name in ("mine", "file"):
        with pytest.raises(InputError, match="holds no eval"):
            evaluate(FirstWords(), choices, out=tmp_path / name)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter.txt"]
    (tmp_path / "empty").mkdir()
    assert evaluate(FirstWords(), choices, out=str(tmp_path / "empty")).folder == tmp_path / "empty"
