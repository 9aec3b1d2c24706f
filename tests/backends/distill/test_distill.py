"""From people and prompts to an adapter that was judged: with a scripted teacher and a student that really trains."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import hyperalign.backends.distill.gate as gate_module
from hyperalign.backends.distill.adapters import open_adapter
from hyperalign.backends.distill.collect import GuidedTeacher, Teacher
from hyperalign.backends.distill.dataset import Scope
from hyperalign.backends.distill.distill import Distillation, distill, gate, loss_chart, split_prompts
from hyperalign.backends.distill.gate import Criteria, find_failures
from hyperalign.backends.distill.probe import prefers_first
from hyperalign.backends.distill.recipe import Recipe
from hyperalign.backends.distill.student import Student
from hyperalign.backends.distill.traces import TraceFilter
from hyperalign.backends.distill.train import read_losses
from hyperalign.backends.models.connect import connect
from hyperalign.budget import Budget
from hyperalign.errors import BudgetExceededError, InputError, ModelError, StorageError
from hyperalign.files import lock_folder
from hyperalign.ingest import read_records
from hyperalign.profile import Hypothesis, Profile
from hyperalign.programs.guided import GuidedGenerate
from hyperalign.programs.strategies import strategy
from tests.backends.distill.small_students import HERE, needs_train
from tests.fixtures.scripted_server import Recorded, ScriptedServer, reply
from tests.house.source_tree import ROOT
from tests.programs.rewards import brief_reward

pytestmark = pytest.mark.filterwarnings("default")

THINGS = "rain wind sea city road boat rope lamp soup bread night snow hill train garden window letter song clock river"
PROMPTS = [f"What do you say of the {thing}?" for thing in THINGS.split()]
RECIPE = Recipe(
    rank=8,
    alpha=16,
    learning_rate=2e-3,
    max_steps=3,
    batch_size=4,
    micro_batch_size=4,
    max_length=128,
    eval_steps=2,
    max_new_tokens=32,
)


def person(user: str, said: str) -> Profile:
    return Profile(
        user=user,
        hypotheses=[
            Hypothesis(id=f"{user}-{i}", statement=f"{said} ({i})", aspect="style", source="inferred", weight=0.5)
            for i in range(6)
        ],
        reward=brief_reward(user),
    )


ADA, BRUNO = person("ada", "Short sentences."), person("bruno", "Speaks of ropes.")


def answer(request: Recorded) -> str:
    said = "The rope knows." if "ropes" in request.prompt else "It is short."
    return f"{said} {request.prompt.split()[-1]} Good."


def asked(student: Student, people: list[Profile], **changed: object) -> Distillation:
    given = {"name": "letters", "profiles": people, "prompts": PROMPTS, "student": student, "recipe": RECIPE}
    return Distillation(**{**given, **changed})  # type: ignore[arg-type]


def teacher(server: ScriptedServer, budget: Budget | None = None) -> Teacher:
    server.default = reply(answer)
    return Teacher(connect("openai/any", api_base=server.base, api_key="k", budget=budget), strategy("verified"))


def test_prompts_are_split_by_their_own_words() -> None:
    split = split_prompts(PROMPTS)
    assert sorted([*split.train, *split.validation, *split.test]) == sorted(PROMPTS)
    fewer = split_prompts(PROMPTS[:12])
    assert set(fewer.test) <= set(split.test)
    assert split.test
    assert split.validation


def test_who_and_what_is_asked_for_is_checked_first(tmp_path: Path) -> None:
    nobody = Student("s", tmp_path, "", "")
    with pytest.raises(InputError, match="nobody to distill"):
        asked(nobody, [])
    with pytest.raises(InputError, match="Two profiles are of one person"):
        asked(nobody, [ADA, ADA], scope=Scope("tag"))
    with pytest.raises(InputError, match="for one person, and there are 2"):
        asked(nobody, [ADA, BRUNO])


@needs_train
def test_answers_that_may_not_teach_end_the_run_before_training(
    scripted_server: ScriptedServer, shallow: Student, tmp_path: Path
) -> None:
    wanted = asked(shallow, [ADA], trace_filter=TraceFilter(threshold=1e9))
    with pytest.raises(InputError, match=r"No answer passed the trace filter: \d+ score below 1e\+09"):
        distill(wanted, teacher(scripted_server), tmp_path / "a", hardware=HERE)
    found = json.loads((tmp_path / "a" / "training" / "split.json").read_text())
    assert found["kept"] == 0


def test_too_few_prompts_and_folders_of_others_end_the_run_before_anybody_is_asked(
    scripted_server: ScriptedServer, tmp_path: Path
) -> None:
    nobody = Student("s", tmp_path, "", "")
    with pytest.raises(InputError, match="too few to train on"):
        distill(asked(nobody, [ADA], prompts=[]), teacher(scripted_server), tmp_path / "b", hardware=HERE)
    some = [prompt for prompt in PROMPTS if prompt not in split_prompts(PROMPTS).test]
    with pytest.raises(InputError, match="too few to judge the adapter by"):
        distill(asked(nobody, [ADA], prompts=some), teacher(scripted_server), tmp_path / "b", hardware=HERE)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.md").write_text("My own.")
    with pytest.raises(InputError, match="is not empty"):
        distill(asked(nobody, [ADA]), teacher(scripted_server), tmp_path / "mine", hardware=HERE)
    assert not scripted_server.requests


@needs_train
def test_two_commands_for_one_adapter_do_not_both_ask(
    scripted_server: ScriptedServer, shallow: Student, tmp_path: Path
) -> None:
    with lock_folder(tmp_path / "a" / "training"), pytest.raises(StorageError, match="Another process is at work"):
        distill(asked(shallow, [ADA]), teacher(scripted_server), tmp_path / "a", hardware=HERE)
    assert not scripted_server.requests


@needs_train
@pytest.mark.parametrize(
    ("template", "said"),
    [
        (
            "{{ raise_exception('System role not supported') }}",
            "does not support system turns: System role not supported",
        ),
        ("{{ raise_exception('') }}", "does not support system turns: it rejects them"),
        (
            "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}",
            "does not support system turns: it ignores them",
        ),
    ],
)
def test_a_student_that_takes_no_system_turn_is_refused_before_anybody_is_asked(
    template: str, said: str, scripted_server: ScriptedServer, shallow: Student, tmp_path: Path
) -> None:
    shutil.copytree(shallow.path, tmp_path / "gem")
    (tmp_path / "gem" / "chat_template.jinja").write_text(template)
    wanted = asked(replace(shallow, path=tmp_path / "gem"), [ADA])
    with pytest.raises(ModelError, match=said):
        distill(wanted, teacher(scripted_server), tmp_path / "a", hardware=HERE)
    assert not scripted_server.requests


@needs_train
def test_several_people_one_adapter_and_its_verdict(
    scripted_server: ScriptedServer, shallow: Student, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "letters"
    loose = Criteria(quality=10.0, gain=-10.0, broken=1.0, ability=1.0, refusals=1.0)
    wanted = asked(shallow, [ADA, BRUNO], scope=Scope("tag"), criteria=loose)
    capped = Budget(max_calls=10)
    with pytest.raises(BudgetExceededError):
        distill(wanted, teacher(scripted_server, capped), folder, budget=capped, hardware=HERE)
    made = distill(wanted, teacher(scripted_server), folder, hardware=HERE)
    split = split_prompts(PROMPTS)
    taught = 2 * len([*split.train, *split.validation])
    assert len(scripted_server.requests) == taught, "what was answered before the cap is not asked again"
    assert not any(prompt in request.prompt for request in scripted_server.requests for prompt in split.test)
    assert made.card.users == ("ada", "bruno")
    assert made.card.traces == made.card.training["rows"] == 2 * len(split.train)
    assert made.card.training["steps"] == 3
    looked = [each["step"] for each in read_losses(folder / "training") if "eval_loss" in each]
    assert looked == [2, 3], "the last steps are looked at, too, though they are fewer than lie between two looks"
    assert made.card.gate is None
    assert not [path for path in folder.rglob("*") if path.stat().st_mode & 0o077], "it may hold the people's words"
    assert "training" in (folder / "training" / "losses.svg").read_text()
    assert "Short sentences" not in (folder / "training" / "rows.jsonl").read_text()
    told: set[str] = set()

    def noted(*asked: Any, system: str) -> bool:
        told.add(system)
        return prefers_first(*asked, system=system)

    monkeypatch.setattr("hyperalign.backends.distill.gate.prefers_first", noted)
    ability, refusals = gate_module._load_fixed_questions()
    monkeypatch.setattr(gate_module, "_load_fixed_questions", lambda: (ability[:3], refusals[:3]))
    with lock_folder(folder / "training"), pytest.raises(StorageError, match="Another process is at work"):
        gate(folder, shallow)
    assert not told, "a second one asks nothing"
    verdict = gate(folder, shallow)
    assert verdict.passed, verdict.reasons
    assert told == {"Write for ada.", "Write for bruno."}, "fixed questions stand under everybody's system turn"
    figures = verdict.figures
    assert figures["prompts"] == 2 * len(split.test)
    assert figures["prompt tokens, adapter"] < 0.7 * figures["prompt tokens, student with profile"]
    assert figures["probe, nats a token"] > 1e-4
    assert open_adapter(folder).card.gate == verdict
    again = distill(wanted, teacher(scripted_server), folder, hardware=HERE)
    assert again.card.gate == verdict, "what is through is not made anew, and keeps its verdict"

    people = folder / "training" / "people.json"
    people.write_text(json.dumps([json.loads(ADA.to_json())]))
    with pytest.raises(InputError, match="is for other people"):
        gate(folder, shallow)

    other = Student(shallow.name, shallow.path, "other weights", "")
    with pytest.raises(InputError, match="trained on other weights"):
        gate(folder, other)


@needs_train
def test_the_bench_sets_adapters_beside_the_teachers_that_taught_them(
    scripted_server: ScriptedServer, shallow: Student, tmp_path: Path
) -> None:
    for user, said in (("ada", "It is short"), ("bruno", "The rope knows")):
        rows = [{"user": user, "prompt": f"{said} {n}?", "text": f"{said}. It is number {n}. Good."} for n in range(4)]
        (tmp_path / f"{user}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    records = {user: read_records([tmp_path / f"{user}.jsonl"], user=user).records for user in ("ada", "bruno")}
    told = teacher(scripted_server)
    guide = GuidedTeacher(GuidedGenerate("medium"), "medium", records=records)
    for name, way in (("told", told), ("guided", replace(told, guide=guide))):
        wanted = asked(shallow, [ADA, BRUNO], scope=Scope("tag"), name=name, trace_filter=TraceFilter(threshold=None))
        made = distill(wanted, way, tmp_path / name, hardware=HERE)
        assert made.card.effort == ("medium" if name == "guided" else "low")
    given = ["--people", str(tmp_path), "--out", f"{tmp_path}/runs", "--max-new-tokens", "8"]

    def bench(teacher: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "benches.distillation", f"{tmp_path}/guided", f"{tmp_path}/told", *given]
        known = os.environ | {"OPENAI_API_BASE": scripted_server.base, "OPENAI_API_KEY": "k"}
        return subprocess.run(
            [*command, "--teacher", teacher], cwd=ROOT, env=known, capture_output=True, text=True, check=False
        )

    shown = bench("openai/any")
    assert not shown.returncode, shown.stderr
    rows = re.findall(r"^\| ([^|]*\w) \|", shown.stdout, re.MULTILINE)
    assert [re.sub(r"-\w{8}$", "", row) for row in rows] == [
        "teacher, guided at medium by verified",
        "teacher, told by verified",
        "student",
        "student with profile",
        "student with guided",
        "student with told",
    ]
    assert re.search(r"- student with guided-\w+ over student with told-\w+: -?\d", shown.stdout)
    number = len(scripted_server.requests)
    assert bench("openai/any").stdout == shown.stdout
    assert len(scripted_server.requests) == number, "what is answered is kept"
    assert "openai/other, and the teacher of guided was openai/any" in bench("openai/other").stderr


def test_the_loss_chart_has_a_line_for_training_and_one_for_validation() -> None:
    entries = [{"step": n, "loss": 4.0 / n} for n in range(1, 101)] + [{"step": 50, "eval_loss": 0.4}]
    chart = loss_chart(entries)
    assert chart.count("<polyline") == 2
    assert "training 0.04" in chart
    assert "validation 0.40" in chart
    assert loss_chart([]).count("<polyline") == 0


def test_each_term_that_is_missed_is_a_reason() -> None:
    good = {
        "quality, adapter": 0.5,
        "quality, student with profile": 0.5,
        "quality, student": 0.1,
        "broken, adapter": 0.2,
        "broken, student with profile": 0.2,
        "ability, adapter": 0.8,
        "ability, base": 0.8,
        "refusals, adapter": 0.9,
        "refusals, base": 0.9,
        "prompt tokens, adapter": 30.0,
        "prompt tokens, student with profile": 100.0,
    }
    assert find_failures(good, Criteria(), changed=True) == []
    for worse, reason in (
        (
            {"quality, adapter": 0.45, "quality, student": 0.46},
            "quality 0.450, not above the student without profile or adapter (0.460)",
        ),
        ({"quality, pooled adapter": 0.5}, "quality 0.500, not above the pooled adapter of other people (0.500)"),
        ({"quality, adapter": 0.39}, "quality 0.390, below the student with the profile (0.500) less 0.1"),
        (
            {"quality, student": 0.5},
            "quality unknown: all answers score the same, as for profiles without a reward",
        ),
        ({"broken, adapter": 0.4}, "40% of answers empty, too short or repetitive, above 20% plus 10%"),
        ({"ability, adapter": 0.69}, "ability 69%, below the base's 80% less 10%"),
        ({"refusals, adapter": 0.7}, "refusals 70%, below the base's 90% less 10%"),
        ({"prompt tokens, adapter": 80.0}, "80 prompt tokens of 100: 20% saved, below 30%"),
    ):
        assert find_failures({**good, **worse}, Criteria(), changed=True) == [reason]
    assert find_failures(good, Criteria(), changed=False) == [
        "the adapter changes nothing: its log-probabilities are the base's"
    ]
