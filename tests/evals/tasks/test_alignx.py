"""AlignX's two schemas: each distinct history and pair once, the three forms, and the shipped profile never."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hyperalign.errors import InputError
from hyperalign.evals.cases import Case, divergent
from hyperalign.evals.tasks.alignx import AlignX
from hyperalign.records import Pair, Sample, other_text, own_text

PSOUPS = Path(__file__).resolve().parents[4] / "shared" / "data" / "alignx_psoups" / "friendly_unfriendly.json"


def row(**changes: Any) -> dict[str, Any]:
    said = {"prompt": "Greet me.", "chosen": "Hello, dear!", "rejected": "What."}
    history = [{"prompt": f"Question {i}?", "chosen": "Yes, friend.", "rejected": "No."} for i in range(4)]
    extra = {"ground_truth_persona": "Be warm.", "profile": "SECRET", "Pair-wise Comparative Feedback": history}
    return {**said, **extra, **changes}


def written(path: Path, *rows: Any) -> AlignX:
    path.write_text(json.dumps(list(rows)))
    return AlignX(path)


def test_a_row_is_a_case_and_a_repeated_row_is_none(tmp_path: Path) -> None:
    cold = row(chosen="What.", rejected="Hello, dear!", ground_truth_persona="Be cold.")
    task = written(tmp_path / "a.json", row(), row(), cold)
    first, turned = task.cases()
    assert (first.prompt, first.chosen, first.rejected, first.gold) == (
        "Greet me.",
        "Hello, dear!",
        "What.",
        "Be warm.",
    )
    assert len(first.records) == 4
    assert all(isinstance(record, Pair) and record.user == first.user for record in first.records)
    assert first.cluster == turned.cluster, "the same two answers, whichever is preferred"
    assert "SECRET" not in repr(first)
    assert first.person != turned.person
    assert "2 personas and, for the people of all parts, 1 distinct earlier choice:" in task.note()
    assert "1 persona and" in written(tmp_path / "b.json", row()).note()


def test_what_gives_a_person_away_is_told(tmp_path: Path) -> None:
    told = {"prompt": "Warm how?", "chosen": "I was told: be as WARM, as can be.", "rejected": "Hm."}
    plain = row(ground_truth_persona="Be as warm as can be.", prompt="Greet him.")
    quoting = plain | {"Pair-wise Comparative Feedback": [told], "prompt": "Greet her."}
    assert "quotes what the file says" not in written(tmp_path / "a.json", plain).note()
    said = "In 1 of its 2 rows an earlier choice quotes what the file says of the person."
    assert written(tmp_path / "b.json", plain, quoting).note().endswith(said)


def test_a_case_never_stands_in_its_own_history(tmp_path: Path) -> None:
    (case,) = written(
        tmp_path / "a.json",
        row(**{"Pair-wise Comparative Feedback": [{"prompt": "Greet me.", "chosen": "Hello, dear!", "rejected": "?"}]}),
    ).cases()
    assert case.records == ()


def test_lines_are_read_too(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps(row(prompt=f"Greet {i}.")) for i in range(3)) + "\n")
    cases = AlignX(path).cases()
    assert (len(cases), len({case.cluster for case in cases}), len({case.user for case in cases})) == (3, 3, 1)


def other_history(number: int) -> dict[str, Any]:
    return {"Pair-wise Comparative Feedback": [{"prompt": f"Other {number}?", "chosen": "Sure.", "rejected": "Nah."}]}


def test_a_test_pair_is_asked_about_with_as_many_histories_as_were_asked_for(tmp_path: Path) -> None:
    rows = [row(**other_history(number)) for number in range(6)]
    rows += [row(ground_truth_persona="Be cold.", chosen="What.", rejected="Hello, dear!")]
    task = written(tmp_path / "a.json", *rows)
    assert [case.gold for case in task.cases(seed=1)] == ["Be warm.", "Be cold."]
    assert len({case.user for seed in range(20) for case in task.cases(seed=seed)}) > 3, "drawn by the seed"
    assert task.cases(seed=1) == task.cases(seed=1)
    assert len(AlignX(tmp_path / "a.json", histories=4).cases()) == 5
    everything = AlignX(tmp_path / "a.json", histories=99).cases()
    assert len(everything) == len({case.user for case in everything}) == 7
    assert len({case.person for case in everything}) == 2, "people of one persona are no controls for each other"
    assert "2 personas" in task.note()


def test_bad_files_name_the_place(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json: No such file"):
        AlignX(tmp_path / "none.json").cases()
    with pytest.raises(InputError, match=r"a\.json: row 2: chosen"):
        written(tmp_path / "a.json", row(), {"prompt": "p", "rejected": "r"}).cases()
    path = tmp_path / "b.jsonl"
    path.write_text(json.dumps(row()) + "\n{broken\n")
    with pytest.raises(InputError, match=r"b\.jsonl:2: this line is not JSON"):
        AlignX(path).cases()


# The full schema


def full(number: int = 1, **changes: Any) -> dict[str, Any]:
    direction = [0.5] * 90
    direction[number] = 1.0
    return {
        "prompt": "How do I keep basil alive?",
        "chosen": f"Water it at dawn, says gardener {number}.",
        "rejected": f"Buy a plastic one, says gardener {number}.",
        "Preference Direction": direction,
        "Demographic Information": f"  A gardener of {number} hectares.\n",
        "User-Generated Content": [
            {"prompt": "My tomatoes.", "comment": f"They grew {number} feet.", "Comment Aspects": "ignored"},
            {"prompt": "", "comment": "Rain at last!"},
        ],
        "Pair-wise Comparative Feedback": [
            {"prompt": "Roses?", "chosen": f"Prune {number} times.", "rejected": "Leave them."}
        ],
        **changes,
    }


def forms(path: Path, *rows: Any) -> dict[str, list[Case]]:
    path.write_text("\n".join(map(json.dumps, rows)))
    return {form: AlignX(path, form=form).cases() for form in ("pair", "ugc", "demo", "all")}


def said(case: Case) -> list[str]:
    return [own_text(record) for record in case.records]


def test_each_form_shows_its_part_of_a_person(tmp_path: Path) -> None:
    of_form = {form: cases[0] for form, cases in forms(tmp_path / "full.jsonl", full()).items()}
    pairs, posts = ["Prune 1 times."], ["They grew 1 feet.", "Rain at last!"]
    assert {form: said(case) for form, case in of_form.items()} == {
        "pair": pairs,
        "ugc": posts,
        "demo": [],
        "all": pairs + posts,
    }
    assert [type(record) for record in of_form["all"].records] == [Pair, Sample, Sample]
    described = "A gardener of 1 hectares."
    # What a form shows is no gold beside it: nobody may be held against what they were told.
    assert {form: (case.stated, case.gold) for form, case in of_form.items()} == {
        "pair": ("", described),
        "ugc": ("", described),
        "demo": (described, ""),
        "all": (described, ""),
    }
    assert len({case.user for case in of_form.values()}) == 1
    assert len({case.id for case in of_form.values()}) == 4, "runs of two forms are never taken for one"
    assert all(record.user == case.user for case in of_form.values() for record in case.records)
    for case in of_form.values():
        assert (len(case.direction), case.direction[1], sum(case.direction)) == (90, 1.0, 45.5)
        assert (case.persona, case.person) == ("", case.user)


def test_people_of_the_full_schema_are_their_own_persona(tmp_path: Path) -> None:
    rows = [full(number) for number in range(12)]
    for cases in forms(tmp_path / "full.jsonl", *rows, rows[0]).values():
        assert len(cases) == len({case.person for case in cases}) == 12
    assert AlignX(tmp_path / "full.jsonl").note() == "", "twelve people are not few"


def test_different_people_are_asked_about_the_same_test_pair(tmp_path: Path) -> None:
    asked = {"chosen": "Water it.", "rejected": "Buy one."}
    turned = {"chosen": "Buy one.", "rejected": "Water it."}
    cases = forms(tmp_path / "full.jsonl", full(1, **asked), full(2, **asked), full(3, **turned))["pair"]
    assert (len({case.user for case in cases}), len({case.cluster for case in cases})) == (3, 1)
    assert sorted(divergent(cases)) == sorted(case.id for case in cases)


def test_people_with_one_history_and_two_descriptions_are_two(tmp_path: Path) -> None:
    twins = [full(), full(**{"Demographic Information": "A sailor.", "prompt": "How do I keep mint alive?"})]
    assert len({case.user for case in forms(tmp_path / "full.jsonl", *twins)["pair"]}) == 2


@pytest.mark.parametrize("side", ["chosen", "rejected"])
def test_an_answer_of_the_test_pair_is_in_no_record(side: str, tmp_path: Path) -> None:
    row = full()
    row["User-Generated Content"].append({"prompt": "Basil.", "comment": row[side]})
    row["Pair-wise Comparative Feedback"] += [
        {"prompt": "Basil?", "chosen": row[side], "rejected": "No idea."},
        {"prompt": "Basil?", "chosen": "No idea.", "rejected": row[side]},
    ]
    for (case,) in forms(tmp_path / "full.jsonl", row).values():
        assert not {case.chosen, case.rejected} & {text for r in case.records for text in (own_text(r), other_text(r))}
    assert len(said(AlignX(tmp_path / "full.jsonl", form="all").cases()[0])) == 3


def test_blank_texts_are_no_records(tmp_path: Path) -> None:
    row = full()
    row["User-Generated Content"].append({"prompt": "Nothing.", "comment": " "})
    row["Pair-wise Comparative Feedback"].append({"prompt": "Nothing?", "chosen": "Yes.", "rejected": ""})
    (case,) = forms(tmp_path / "full.jsonl", row)["all"]
    assert len(case.records) == 3


@pytest.mark.parametrize("direction", [[0.5] * 89, [0.5] * 91, [0.25] + [0.5] * 89, ["high"] * 90])
def test_a_direction_that_is_none_names_file_and_row(direction: list[Any], tmp_path: Path) -> None:
    path = tmp_path / "full.jsonl"
    path.write_text("\n".join(map(json.dumps, [full(), full(**{"Preference Direction": direction})])))
    with pytest.raises(InputError, match=r"full\.jsonl:2: Preference Direction"):
        AlignX(path).cases()
    with pytest.raises(InputError, match=r"a\.json: row 2: Preference Direction"):
        written(tmp_path / "a.json", full(), full(**{"Preference Direction": direction})).cases()


def test_an_unknown_form_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no form 'PAIRS'") as caught:
        AlignX(tmp_path / "full.jsonl", form="PAIRS")
    assert caught.value.remedy == "Choose all, demo, pair or ugc."


@pytest.mark.skipif(not PSOUPS.exists(), reason=f"{PSOUPS.name} is no part of the project, and is not here")
def test_the_published_file() -> None:
    cases = AlignX(PSOUPS).cases()
    assert len({case.cluster for case in cases}) == 128
    assert len({case.person for case in cases}) == 2
    assert len(cases) == 128, "each test pair is about one persona, and is asked about once"
    assert len({case.id for case in cases}) == len(cases)
    assert all(3 <= len(case.records) <= 4 for case in cases)
    for case in cases:
        assert not any(
            isinstance(r, Pair) and r.prompt == case.prompt and r.chosen == case.chosen for r in case.records
        )
