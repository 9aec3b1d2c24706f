"""Published sets of choices: which answer was chosen, under which prompt, and by whom."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hyperalign.errors import RecordError
from hyperalign.ingest import Reading, read_records
from hyperalign.records import Pair

FAULTS = Path(__file__).resolve().parents[4] / "shared" / "data" / "faults"


def turn(role: str, text: Any) -> dict[str, Any]:
    return {"role": role, "content": text}


def talk(*texts: str) -> list[dict[str, Any]]:
    return [turn(("user", "assistant")[at % 2], text) for at, text in enumerate(texts)]


def read(tmp_path: Path, rows: Any, name: str = "rows.jsonl", **options: Any) -> Reading:
    path = tmp_path / name
    whole = name.endswith(".json")
    path.write_text(json.dumps(rows) if whole else "\n".join(map(json.dumps, rows)), encoding="utf-8")
    return read_records([path], **options)


def triples(reading: Reading) -> list[tuple[str, str, str]]:
    return [(pair.prompt, pair.chosen, pair.rejected) for pair in reading.records if isinstance(pair, Pair)]


DRYING = {"chosen": talk("Dry sage?", "Hang it."), "rejected": talk("Dry sage?", "Oven.")}
FIELDS = {
    "texts": {"prompt": "Dry sage?", "chosen": "Hang it.", "rejected": "Oven."},
    "message lists": {
        "prompt": talk("Dry sage?"),
        "chosen": talk("", "Hang it.")[1:],
        "rejected": talk("", "Oven.")[1:],
    },
    "one message": {
        "prompt": "Dry sage?",
        "chosen": turn("assistant", "Hang it."),
        "rejected": turn("assistant", "Oven."),
    },
    "dialogs": DRYING,
    "dialogs with the prompt": {"prompt": "Dry sage?", **DRYING},
    "UltraFeedback": {
        "prompt": "Dry sage?",
        "messages": DRYING["chosen"],
        "score_chosen": 8.0,
        "score_rejected": 4.5,
        **DRYING,
    },
    "HH-RLHF": {
        "chosen": "\n\nHuman: Dry sage?\n\nAssistant: Hang it.",
        "rejected": "\n\nHuman: Dry sage?\n\nAssistant: Oven.",
    },
    "ShareGPT's keys": {
        "chosen": [{"from": "human", "value": "Dry sage?"}, {"from": "gpt", "value": "Hang it."}],
        "rejected": [{"from": "human", "value": "Dry sage?"}, {"from": "gpt", "value": "Oven."}],
    },
    "parts": {
        "prompt": [turn("user", [{"type": "text", "text": "Dry sage?"}])],
        "chosen": [turn("assistant", [{"type": "text", "text": "Hang it."}])],
        "rejected": [turn("assistant", [{"type": "text", "text": "Oven."}])],
    },
    "lists by key": {
        "chosen": {"role": ["user", "assistant"], "content": ["Dry sage?", "Hang it."]},
        "rejected": {"role": ["user", "assistant"], "content": ["Dry sage?", "Oven."]},
    },
}


@pytest.mark.parametrize("fields", FIELDS.values(), ids=FIELDS.keys())
def test_one_choice_in_every_published_shape(tmp_path: Path, fields: dict[str, Any]) -> None:
    reading = read(tmp_path, [{"user": "mira", **fields}])
    assert triples(reading) == [("Dry sage?", "Hang it.", "Oven.")]
    assert reading.records[0].user == "mira"
    assert triples(read(tmp_path, [fields], user="ada")) == [("Dry sage?", "Hang it.", "Oven.")]
    assert triples(read_records([{"user": "mira", **fields}])) == [("Dry sage?", "Hang it.", "Oven.")]


def test_what_was_said_before_is_the_prompt_in_one_form(tmp_path: Path) -> None:
    before = ("Which herb?", "Sage.", "How to dry it?")
    shown = "User: Which herb?\n\nAssistant: Sage.\n\nUser: How to dry it?"
    texts = "\n\nHuman: Which herb?\n\nAssistant: Sage.\n\nHuman: How to dry it?\n\nAssistant: "
    rows: list[dict[str, Any]] = [
        {"chosen": talk(*before, "Hang it."), "rejected": talk(*before, "Oven.")},
        {"prompt": talk(*before), "chosen": talk("", "Hang it.")[1:], "rejected": talk("", "Oven.")[1:]},
        {"chosen": f"{texts}Hang it.", "rejected": f"{texts}Oven."},
    ]
    for row in rows:
        assert triples(read(tmp_path, [{"user": "mira", **row}])) == [(shown, "Hang it.", "Oven.")]


def test_a_dialog_that_begins_with_one_mark_alone_has_no_prompt(tmp_path: Path) -> None:
    row = {"user": "mira", "prompt": "", "chosen": "Assistant: not a mark here.", "rejected": "The Human: neither."}
    ((prompt, *_),) = triples(read(tmp_path, [row]))
    assert prompt == ""


def test_system_turns_and_ties_are_passed_over_and_counted(tmp_path: Path) -> None:
    system = [turn("system", "You are terse.")]
    rows = [
        {"chosen": system + DRYING["chosen"], "rejected": system + DRYING["rejected"]},
        {**DRYING, "score_chosen": 7.0, "score_rejected": 7.0},
    ]
    reading = read(tmp_path, rows, user="mira")
    assert triples(reading) == [("Dry sage?", "Hang it.", "Oven.")]
    assert reading.files[0].passed_over == {"system turns": 1, "ties": 1}


def test_answers_that_were_liked_or_not_are_ratings(tmp_path: Path) -> None:
    rows = [
        {"prompt": "Dry sage?", "completion": "Hang it.", "label": True},
        {"prompt": talk("Dry sage?"), "completion": talk("", "Oven.")[1:], "label": False},
    ]
    reading = read(tmp_path, rows, user="mira")
    assert (triples(reading), reading.ratings) == ([("Dry sage?", "Hang it.", "Oven.")], 2)


def utterance(turn: int, prompt: str, answer: str, *, chosen: bool, user: str = "user7", **more: Any) -> dict[str, Any]:
    row = {"utterance_id": f"ut{turn}{answer}", "conversation_id": "c1", "user_id": user, "turn": turn}
    return {**row, "user_prompt": prompt, "model_response": answer, "score": 9, "if_chosen": chosen, **more}


def test_prism_pairs_the_chosen_answer_with_each_other_one_of_its_turn(tmp_path: Path) -> None:
    rows = [
        utterance(1, "And in winter?", "Indoors.", chosen=True),
        utterance(0, "Dry sage?", "Oven.", chosen=False),
        utterance(0, "Dry sage?", "Hang it.", chosen=True),
        utterance(0, "Dry sage?", "Sun.", chosen=False),
        utterance(1, "And in winter?", "Not at all.", chosen=False),
        utterance(0, "Whose?", "Mine.", chosen=True, user="user8", conversation_id="c2"),
        utterance(0, "Whose?", "Yours.", chosen=False, user="user8", conversation_id="c2"),
    ]
    reading = read(tmp_path, rows, me="user7")
    winter = "User: Dry sage?\n\nAssistant: Hang it.\n\nUser: And in winter?"
    expected = [
        ("Dry sage?", "Hang it.", "Oven."),
        ("Dry sage?", "Hang it.", "Sun."),
        (winter, "Indoors.", "Not at all."),
    ]
    assert triples(reading) == expected
    assert {record.user for record in reading.records} == {"user7"}
    assert reading.files[0].format == "PRISM"
    history = [
        {"turn": row["turn"], "role": role, "content": content, "if_chosen": row["if_chosen"]}
        for row in sorted(rows[:5], key=lambda row: row["turn"])
        for role, content in (("user", row["user_prompt"]), ("model", row["model_response"]))
    ]
    talks = [{"conversation_id": "c1", "user_id": "user7", "conversation_history": history}]
    assert triples(read(tmp_path, talks)) == expected


def test_prism_says_who_is_in_it_and_refuses_its_survey(tmp_path: Path) -> None:
    rows = [
        utterance(0, "Dry sage?", f"{user} {chosen}", chosen=chosen, user=user, conversation_id=user)
        for user in ("user7", "user8")
        for chosen in (True, False)
    ]
    with pytest.raises(RecordError, match=r"2 people are in it: user7 \(1 choice\), user8 \(1 choice\)"):
        read(tmp_path, rows)
    with pytest.raises(RecordError, match="survey") as refused:
        read(tmp_path, [{"user_id": "user7", "system_string": "Be kind.", "stated_prefs": {}}], user="user7")
    assert "utterances.jsonl" in refused.value.remedy


def battle(winner: str, **more: Any) -> dict[str, Any]:
    sides = {"conversation_a": DRYING["chosen"], "conversation_b": DRYING["rejected"]}
    return {"model_a": "one", "model_b": "two", "winner": winner, "judge": "arena_user_1", "turn": 1, **sides, **more}


def test_arena_takes_what_won_and_passes_over_ties(tmp_path: Path) -> None:
    rows = [battle("model_a"), battle("tie"), battle("tie (bothbad)"), battle("model_b", judge="arena_user_2")]
    reading = read(tmp_path, rows, me="arena_user_1", user="mira")
    assert triples(reading) == [("Dry sage?", "Hang it.", "Oven.")]
    assert reading.files[0].passed_over == {"ties": 2}
    assert triples(read(tmp_path, rows, user="arena_user_2")) == [("Dry sage?", "Oven.", "Hang it.")]


def test_arena_without_a_judge_needs_a_user_and_models_are_no_judges(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="nothing says whose"):
        read(tmp_path, [battle("model_a", judge=None)])
    assert len(read(tmp_path, [battle("model_a", judge=None)], user="mira").records) == 1
    reading = read(
        tmp_path, [battle("model_a"), battle("model_b", judge=["gpt-4", "pair"]), battle("tie", judge="gpt4_pair")]
    )
    assert (len(reading.records), reading.files[0].passed_over) == (1, {"judgments of a model": 2})


def test_arena_in_tables_has_prompts_and_responses_as_json(tmp_path: Path) -> None:
    row = {
        "prompt": json.dumps(["Dry sage?", "And mint?"]),
        "response_a": json.dumps(["Hang it.", "Too."]),
        "response_b": json.dumps(["Oven.", "No."]),
        **{"winner_model_a": 0, "winner_model_b": 1, "winner_tie": 0, "judge": "ada"},
    }
    assert triples(read(tmp_path, [row])) == [
        ("User: Dry sage?\n\nUser: And mint?", "Oven.\n\nNo.", "Hang it.\n\nToo.")
    ]


def test_the_small_examples_are_read_as_meant() -> None:
    if not FAULTS.is_dir():
        pytest.skip("the examples are no part of the project, and are not here")
    assert triples(read_records([FAULTS / "message_lists.jsonl"])) == [("Fence?", "Mend it.", "Buy one.")]
    null = read_records([FAULTS / "null_columns.jsonl"])
    assert triples(null) == [("How are you?", "Fine, thank you.", "ok")]
    assert len(null.records) == 2


def test_battles_of_a_table_say_who_won_in_numbers(tmp_path: Path) -> None:
    table = tmp_path / "train.csv"
    table.write_text(
        "id,model_a,model_b,prompt,response_a,response_b,winner_model_a,winner_model_b,winner_tie\n"
        '1,x,y,"[""Why does it rain?""]","[""Clouds.""]","[""It just does.""]",1,0,0\n'
        '2,x,y,"[""Is tea warm?""]","[""No.""]","[""Yes.""]",0,1,0\n'
        '3,x,y,"[""Is it late?""]","[""A bit.""]","[""Rather.""]",0,0,1\n',
        encoding="utf-8",
    )
    reading = read_records([table], user="ada")
    assert triples(reading) == [
        ("Why does it rain?", "Clouds.", "It just does."),
        ("Is tea warm?", "Yes.", "No."),
    ]
    assert reading.files[0].passed_over == {"ties": 1}
