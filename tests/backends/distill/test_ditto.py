"""DITTO: what is compared with what, and two real rounds of it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hyperalign.backends.distill.adapters import open_adapter, update_card, write_adapter
from hyperalign.backends.distill.collect import OWN_TEXTS, Teacher, build_demonstrations
from hyperalign.backends.distill.cost_estimate import estimate_cost
from hyperalign.backends.distill.dataset import Scope, TrainingRow, build_rows
from hyperalign.backends.distill.distill import Distillation, distill, gate, split_prompts
from hyperalign.backends.distill.ditto import draw_comparisons, train_rounds
from hyperalign.backends.distill.probe import token_logprobs
from hyperalign.backends.distill.recipe import Ditto, Recipe, suggest_recipe
from hyperalign.backends.distill.student import Student, load_student
from hyperalign.backends.distill.train import TrainingResult, read_losses, train
from hyperalign.errors import InputError, TrainingError
from hyperalign.programs.strategies import strategy
from hyperalign.records import Edit, Pair, Record, Sample
from tests.backends.distill.small_students import ANSWERS, HERE, needs_train, probe
from tests.backends.distill.test_distill import ADA, BRUNO, PROMPTS, asked
from tests.hyperalign.cli.conftest import Run, run

__all__ = ["run"]  # the fixture

pytestmark = pytest.mark.filterwarnings("default")

SHORT = Recipe(
    method="ditto",
    rank=8,
    alpha=16,
    learning_rate=1e-3,
    beta=0.1,
    batch_size=4,
    micro_batch_size=4,
    max_length=128,
    max_new_tokens=12,
    ditto=Ditto(rounds=2, samples=2, steps=2, sft_steps=3, sft_learning_rate=1e-3),
)


def demonstrations(count: int = 2) -> list[TrainingRow]:
    return [
        {
            "prompt": [{"role": "user", "content": f"Question {i}?"}],
            "completion": [{"role": "assistant", "content": f"Own {i}."}],
        }
        for i in range(count)
    ]


def samples(number: int, prompts: int = 2, each: int = 3) -> list[list[str]]:
    return [[f"Round {number} prompt {i} sample {j}." for j in range(each)] for i in range(prompts)]


def kinds(rows: list[TrainingRow], now: int) -> Counter[str]:
    """How many rows compare what: an own text with samples of now or of before, or samples of two rounds."""

    def kind(row: TrainingRow) -> str:
        chosen, rejected = (row[name][0]["content"].split() for name in ("chosen", "rejected"))
        if chosen[0] == "Round":
            assert int(chosen[1]) > int(rejected[1]), "later over earlier, never the other way around"
            assert chosen[3] == rejected[3], "of one prompt"
            return "between rounds"
        assert f"{chosen[1]}" == f"{rejected[3]}.", "of one prompt"
        return "own, now" if int(rejected[1]) == now else "own, before"

    return Counter(map(kind, rows))


def test_comparisons_have_the_shares_of_the_paper() -> None:
    recipe = replace(SHORT, batch_size=10, ditto=Ditto(steps=10))
    given = [samples(1), samples(2), samples(3)]
    rows = draw_comparisons(demonstrations(), given, recipe)
    assert kinds(rows, 3) == {"own, now": 70, "own, before": 20, "between rounds": 10}
    assert rows == draw_comparisons(demonstrations(), given, recipe)
    assert rows != draw_comparisons(demonstrations(), given, replace(recipe, seed=1))
    assert rows[0]["prompt"] in [row["prompt"] for row in demonstrations()]


def test_the_first_round_has_nothing_earlier_to_compare_with() -> None:
    rows = draw_comparisons(demonstrations(), [samples(1)], replace(SHORT, batch_size=6, ditto=Ditto(steps=2)))
    assert kinds(rows, 1) == {"own, now": 12}
    texts = Counter(row["rejected"][0]["content"] for row in rows)
    assert set(texts.values()) == {2}, "each of six is drawn before any is drawn again"


def test_nothing_is_compared_with_itself_or_with_nothing() -> None:
    said = [["Own  0.", "", "Else."], ["Own 1.", " ", "Own 1."]]
    rows = draw_comparisons(demonstrations(), [said], SHORT)
    assert {row["rejected"][0]["content"] for row in rows} == {"Else."}
    with pytest.raises(TrainingError, match="No sample of the student differs"):
        draw_comparisons(demonstrations(), [[["Own 0."], [""]]], SHORT)


@pytest.mark.parametrize(
    "wrong",
    [{"rounds": 0}, {"samples": 0}, {"replay": 0.9, "between_rounds": 0.1}, {"replay": -0.1}, {"sft_learning_rate": 0}],
)
def test_hyperparameters_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Ditto(**wrong)


def test_a_recipe_is_limited_by_what_was_asked_for() -> None:
    suggested = suggest_recipe("ditto", 135_000_000, HERE)
    assert (suggested.ditto.rounds, suggested.ditto.samples, suggested.beta) == (4, 10, 0.05)
    assert suggested.ditto.limited(None, None, None) == suggested.ditto
    assert suggested.ditto.limited(2, 3, 5) == replace(suggested.ditto, rounds=2, samples=3, steps=5, sft_steps=5)


def own_texts(user: str = "ada") -> list[Record]:
    """Four texts of Ada's, and four others of anybody else's."""
    answers = ANSWERS[:4] if user == "ada" else ANSWERS[4:]
    return [Sample(user=user, prompt=prompt, text=text) for prompt, text, _ in answers]


def test_own_texts_and_corrections_are_demonstrations_and_choices_are_not() -> None:
    held_out = split_prompts(PROMPTS).test
    records = [
        *own_texts(),
        Edit(user="ada", prompt="Is it late?", draft="It is late indeed.", edited="Late. Go home."),
        Pair(user="ada", prompt="And now?", chosen="Sit down there.", rejected="Please do take a seat."),
        Sample(user="ada", text="Nobody asked for this."),
        Sample(user="ada", prompt="Where to?", text="Write to ada@example.org about it."),
        Sample(user="ada", prompt=held_out[0], text="Not this one either."),
    ]
    found = build_demonstrations(strategy("verified"), [ADA], {"ada": records, "bruno": own_texts()}, held_out)
    assert [trace.answer for trace in found.traces] == [*(text for _, text, _ in ANSWERS[:4]), "Late. Go home."]
    assert {trace.teacher for trace in found.traces} == {OWN_TEXTS}
    assert found.dropped == {"without a prompt": 1, "held out for the gate": 1, "contains a mail address": 1}
    (row, *_) = build_rows(found.traces, Scope(), "ditto")
    assert row["completion"][0]["content"] == ANSWERS[0][1]


def job(student: Student, **changed: Any) -> Distillation:
    return asked(student, [ADA], **{"recipe": SHORT, "records": {"ada": own_texts()}, **changed})


NOBODY = Teacher(None, strategy("verified"))


def test_the_estimate_counts_what_the_student_writes(large: Student) -> None:
    short = estimate_cost(job(large), NOBODY, HERE)
    assert (short.rows, short.calls, short.steps) == (4, 0, 3 + 2 * 2)
    assert short.sampled == 2 * 4 * 2 * 12
    assert "samples: at most 192 tokens" in "\n".join(short.lines())
    long = estimate_cost(job(large, recipe=replace(SHORT, ditto=replace(SHORT.ditto, rounds=4))), NOBODY, HERE)
    assert long.seconds > short.seconds
    assert long.memory == short.memory


@pytest.fixture
def large(tmp_path: Path) -> Student:
    from tests.backends.distill.test_cost_estimate import large as made

    found: Student = made.__wrapped__(tmp_path)  # type: ignore[attr-defined]
    return found


@needs_train
def test_without_texts_nothing_is_trained(shallow: Student, tmp_path: Path) -> None:
    nothing = job(shallow, records={"ada": [Sample(user="ada", text="Nobody asked for this.")]})
    with pytest.raises(InputError, match=r"no text of the people's own to learn from: 1 without a prompt"):
        distill(nothing, NOBODY, tmp_path / "a", hardware=HERE)
    with pytest.raises(InputError, match="'ditto' trains in rounds"):
        train(shallow, demonstrations(), SHORT, tmp_path / "b", hardware=HERE)
    with pytest.raises(InputError, match="'sft' has no rounds"):
        train_rounds(shallow, demonstrations(), replace(SHORT, method="sft"), tmp_path / "b", hardware=HERE)


@needs_train
def test_two_rounds_teach_the_real_student_and_resume_where_they_stopped(student: Student, tmp_path: Path) -> None:
    rows = build_rows(
        build_demonstrations(strategy("verified"), [ADA], {"ada": own_texts()}, []).traces, Scope(), "ditto"
    )
    steps: list[str] = []

    def stop(step: str, done: int, total: int) -> None:
        steps.append(f"{step} {done}/{total}")
        if step == "samples of round 2" and done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_rounds(student, rows, SHORT, tmp_path, hardware=HERE, progress=stop)
    assert steps[:3] == ["demonstrations 1/3", "demonstrations 2/3", "demonstrations 3/3"]
    assert steps[-2:] == ["samples of round 2 1/4", "samples of round 2 2/4"]
    before = (tmp_path / "round-2" / "samples.jsonl").read_text()
    steps.clear()
    found = train_rounds(
        student, rows, SHORT, tmp_path, hardware=HERE, progress=lambda step, *at: steps.append(f"{step} {at[0]}")
    )
    assert steps == ["samples of round 2 3", "samples of round 2 4", "round 2 of 2 1", "round 2 of 2 2"]
    assert (tmp_path / "round-2" / "samples.jsonl").read_text().startswith(before), "what was sampled is kept"

    assert found.steps == 3 + 2 * 2
    assert found.first_loss == pytest.approx(0.693, abs=0.01), "the first policy is the reference"
    assert found.last_loss < 0.6
    assert [(entry["step"], entry["round"]) for entry in read_losses(tmp_path)] == [(1, 1), (2, 1), (3, 2), (4, 2)]
    for number, kind in ((1, {"own, now": 8}), (2, {"own, now": 5, "own, before": 2, "between rounds": 1})):
        lines = (tmp_path / f"round-{number}" / "rows.jsonl").read_text().splitlines()
        compared = [json.loads(line) for line in lines]
        own = {text for _, text, _ in ANSWERS}
        assert sum(row["chosen"][0]["content"] in own for row in compared) == 8 - kind.get("between rounds", 0)
    assert {path.name for path in found.weights.iterdir()} >= {"adapter_model.safetensors", "adapter_config.json"}
    assert not (found.weights / "ref").exists(), "the reference is no part of the adapter"
    assert probe(student, found.weights).changed
    _check_it_prefers_own_texts(student, tmp_path / "sft" / "weights", found)

    more = replace(SHORT, ditto=replace(SHORT.ditto, rounds=3))
    steps.clear()
    train_rounds(student, rows, more, tmp_path, hardware=HERE, progress=lambda step, *_: steps.append(step))
    assert {step.partition(" of ")[0] for step in steps} == {"samples", "round 3"}, "more rounds go on from two"


def _check_it_prefers_own_texts(student: Student, sft: Path, found: TrainingResult) -> None:
    """After the rounds, own texts gained on answers of a helpful assistant, which the first policy still prefers."""
    from hyperalign.backends.distill.probe import attach_adapter

    model, tokenizer = load_student(student)
    model = attach_adapter(attach_adapter(model, sft, "sft"), found.weights, "ditto")

    def margin(name: str) -> float:
        model.set_adapter(name)
        return sum(
            sum(token_logprobs(model, tokenizer, prompt, own)) - sum(token_logprobs(model, tokenizer, prompt, other))
            for prompt, own, other in ANSWERS[:4]
        )

    assert margin("ditto") > margin("sft") + 1


@needs_train
def test_the_command_reads_texts_and_estimates_first(run: Run, shallow: Student, tmp_path: Path) -> None:
    (tmp_path / "ada.json").write_text(ADA.to_json())
    (tmp_path / "texts.jsonl").write_text("".join(record.model_dump_json() + "\n" for record in own_texts()))
    (tmp_path / "prompts.txt").write_text("\n".join(PROMPTS))
    given = ["--method", "ditto", "--profiles", "ada.json", "--prompts", "prompts.txt", "--student", str(shallow.path)]
    short = ["--rounds", "1", "--drafts", "1", "--max-steps", "1", "--out", "letters"]
    expected = run("distill", *given, *short, "--texts", "texts.jsonl", "--dry-run")
    assert expected.code == 0, expected.err
    assert "training: 4 rows, 2 steps" in expected.out
    assert f"samples: at most {4 * 256:,} tokens" in expected.out
    refused = run("distill", *given, *short)
    assert refused.code == 3
    assert "--texts FILE or in the store" in refused.err
    done = run("distill", *given, *short, "--texts", "texts.jsonl")
    assert done.code == 0, done.err
    assert "4 answer(s) taught it in 2 steps" in done.out
    assert open_adapter(tmp_path / "letters").card.recipe["ditto"]["samples"] == 1


@needs_train
def test_from_texts_to_an_adapter_that_is_held_against_a_pooled_one(
    shallow: Student, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hyperalign.backends.distill.gate as gate_module

    ability, refusals = gate_module._load_fixed_questions()
    monkeypatch.setattr(gate_module, "_load_fixed_questions", lambda: (ability[:2], refusals[:2]))
    # By heart, so that each adapter says something of its own.
    recipe = replace(SHORT, ditto=replace(SHORT.ditto, sft_steps=20, sft_learning_rate=1e-2, sft_stop_loss=0.2))
    others = asked(
        shallow, [BRUNO], recipe=recipe, scope=Scope("program"), name="others", records={"bruno": own_texts("bruno")}
    )
    others_card = distill(others, NOBODY, tmp_path / "others", hardware=HERE).card
    folder = tmp_path / "letters"
    made = distill(job(shallow, recipe=recipe, pooled=tmp_path / "others"), NOBODY, folder, hardware=HERE)
    assert (made.card.method, made.card.teacher, made.card.traces) == ("ditto", OWN_TEXTS, 4)
    assert made.card.recipe["ditto"]["rounds"] == 2
    assert f"4 of {OWN_TEXTS}, by `ditto`" in (folder / "README.md").read_text()
    split = json.loads((folder / "training" / "split.json").read_text())["prompts"]
    assert split["train"] == [prompt for prompt, _, _ in ANSWERS[:4]]
    assert split["test"] == split_prompts(PROMPTS).test
    assert "training" in (folder / "training" / "losses.svg").read_text()
    assert not [path for path in folder.rglob("*") if path.stat().st_mode & 0o077]

    figures = gate(folder, shallow).figures
    assert figures["quality, pooled adapter"] != figures["quality, student"]
    assert figures["quality, pooled adapter"] != figures["quality, adapter"]

    own = made.card.model_copy(update={"scope": "program"})
    with pytest.raises(InputError, match="is also of ada"):
        distill(job(shallow, pooled=update_card(folder, own).path), NOBODY, tmp_path / "b", hardware=HERE)
    update_card(folder, made.card)
    with pytest.raises(InputError, match="has scope 'person'"):
        distill(job(shallow, pooled=folder), NOBODY, tmp_path / "b", hardware=HERE)
    write_adapter(made.path / "training" / "sft" / "weights", tmp_path / "others", others_card)
    with pytest.raises(InputError, match="has other weights than when it was named before training"):
        gate(folder, shallow)
