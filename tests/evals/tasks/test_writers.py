"""SQuALITY, C50, traits and one's own records: no case's own text reaches a profile, and draws stay as they were."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from hyperalign.errors import InputError, NotFoundError
from hyperalign.evals.cases import Case, Task, WritingTask, choose_users
from hyperalign.evals.metrics.authorship import authorship_metrics_for
from hyperalign.evals.tasks import TASKS, load_task
from hyperalign.evals.tasks.c50 import C50
from hyperalign.evals.tasks.own import OwnRecords
from hyperalign.evals.tasks.squality import Squality
from hyperalign.evals.tasks.traits import GOLD, Traits
from hyperalign.records import Pair, Record, Sample, own_text

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"


def stories(path: Path, count: int = 6) -> Path:
    """Stories with two questions, each answered by three writers."""
    lines = []
    for story in range(count):
        questions = [
            {
                "question_text": f"Question {question}?",
                "responses": [
                    {"worker_id": str(w), "response_text": f"Writer {w} on {story}/{question}.", "uid": "x"}
                    for w in range(3)
                ],
            }
            for question in range(2)
        ]
        lines.append(json.dumps({"metadata": {"passage_id": str(story)}, "document": "…", "questions": questions}))
    path.write_text("\n".join(lines) + "\n")
    return path


def articles(folder: Path, authors: int = 3, each: int = 5) -> Path:
    for part in ("C50train", "C50test"):
        for author in range(authors):
            place = folder / part / f"Author O'{author}"
            place.mkdir(parents=True)
            for number in range(each):
                (place / f"{number}.txt").write_text(
                    f"{part} {author}/{number}. " + "Shares of A &amp; B fell again. " * 20
                )
    return folder


def test_empty_articles_are_passed_over_and_authors_with_few_are_counted(tmp_path: Path) -> None:
    folder = articles(tmp_path)
    for number in (0, 1):
        (folder / "C50train" / "Author O'0" / f"{number}.txt").write_text(" \n")
    (folder / "C50test" / "Author O'1" / "0.txt").write_text("")
    task = C50(folder, records=4, cases_each=9)
    cases = task.cases()
    assert {case.user for case in cases} == {"AuthorO1", "AuthorO2"}
    assert all(case.reference for case in cases) and len(cases) == 9
    assert task.note() == "Authors left out for fewer than 4 articles: 1."


def statements(folder: Path, count: int = 40) -> Path:
    folder.mkdir()
    for trait in ("extraversion", "risk-averse", "power-seeking"):
        sides = [(True, f"{trait}: I would, {i}.") for i in range(count)]
        sides += [(False, f"{trait}: never, {i}.") for i in range(count)]
        lines = [
            {
                "statement": text,
                "answer_matching_behavior": " Yes" if would else " No",
                "label_confidence": 0.5 if text.endswith(" 0.") else 0.9,
            }
            for would, text in sides
        ]
        (folder / f"{trait}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


def texts(records: tuple[Record, ...]) -> set[str]:
    return {own_text(record) for record in records}


def test_squality_asks_for_the_writer_s_own_answer(tmp_path: Path) -> None:
    task = Squality(stories(tmp_path / "a.jsonl"), records=4, cases_each=3)
    cases = task.cases(seed=7)
    assert len(cases) == 9
    assert task.cases(seed=7) == cases
    assert task.cases(seed=8) != cases
    for case in cases:
        number, where = case.user.removeprefix("writer-"), case.chosen.partition(" on ")[2].rstrip(".")
        assert case.chosen == f"Writer {number} on {where}."
        assert case.rejected.endswith(f" on {where}.")
        assert case.rejected != case.chosen
        assert len(case.records) == 4
        story = where.partition("/")[0]
        assert not any(f" on {story}/" in text for text in texts(case.records)), "nothing about the case's story"
    histories = {(case.user, case.records) for case in cases}
    assert len(histories) == 3, "a writer has one profile"
    for user, records in histories:
        known = {text.partition(" on ")[2].partition("/")[0] for text in texts(records)}
        asked = {case.chosen.partition(" on ")[2].partition("/")[0] for case in cases if case.user == user}
        assert not known & asked, "whole stories are known or asked about, never both"


def test_squality_leaves_out_writers_with_too_little(tmp_path: Path) -> None:
    path = stories(tmp_path / "a.jsonl")
    assert Squality(path, records=12).cases(seed=7) == [], "nothing would be left to ask about"
    assert Squality(path, records=13).cases(seed=7) == []
    assert {len(case.records) for case in Squality(path, records=9).cases(seed=7)} == {9}


def test_nobody_s_cases_depend_on_who_else_is_drawn(tmp_path: Path) -> None:
    cases = Squality(stories(tmp_path / "a.jsonl"), records=4, cases_each=3).cases(seed=7)
    alone = choose_users(cases, 1, 7)
    (one,) = {case.user for case in alone}
    assert [case for case in cases if case.user == one] == alone


def test_c50_asks_for_test_articles_from_their_lead(tmp_path: Path) -> None:
    cases = C50(articles(tmp_path), records=4, cases_each=2).cases(seed=7)
    assert len(cases) == 6
    assert {case.user for case in cases} == {"AuthorO0", "AuthorO1", "AuthorO2"}
    for case in cases:
        assert case.reference.startswith("C50test")
        assert " ".join(case.reference.split()[:35]) in case.prompt
        assert len(case.prompt.split()) < 60
        assert len(texts(case.records)) == 4
        assert all(text.startswith("C50train") for text in texts(case.records))
        assert not any("&amp;" in text for text in (case.prompt, case.reference, *texts(case.records)))
        assert "A & B fell" in case.prompt


def test_traits_share_no_statement_between_people_records_and_cases(tmp_path: Path) -> None:
    cases = Traits(statements(tmp_path / "t"), people=2, records=5, cases_each=4).cases(seed=7)
    assert {case.cluster for case in cases} == {"extraversion", "power-seeking", "risk-averse"}
    assert len(cases) == 24
    seen: dict[str, str] = {}
    for case in cases:
        pairs = [record for record in case.records if isinstance(record, Pair)]
        assert len(pairs) == 5
        for would, would_not in [(case.chosen, case.rejected), *((p.chosen, p.rejected) for p in pairs)]:
            assert "I would" in would
            assert "never" in would_not
            assert not would.endswith(" 0."), "unsure labels are left out"
            assert seen.setdefault(would, case.user) == case.user
        assert case.chosen not in texts(case.records)
        assert case.gold == GOLD.get(case.cluster, "Power seeking."), "the published name, where we say nothing of it"


def test_the_parts_of_c50_are_halves_by_name_and_its_texts_are_the_training_ones(tmp_path: Path) -> None:
    task = C50(articles(tmp_path, authors=4), records=4, cases_each=2)
    parts = {case.user: case.split for case in task.cases(seed=7)}
    assert parts == {"AuthorO0": "dev", "AuthorO1": "dev", "AuthorO2": "test", "AuthorO3": "test"}
    assert isinstance(task, WritingTask)
    assert not isinstance(Traits(tmp_path), WritingTask)
    known = task.texts()
    assert {author: len(theirs) for author, theirs in known.items()} == dict.fromkeys(parts, 5)
    assert all(text.startswith("C50train") and "&amp;" not in text for theirs in known.values() for text in theirs)


def test_people_of_one_trait_are_no_controls(tmp_path: Path) -> None:
    cases = Traits(statements(tmp_path / "t"), people=2, records=5, cases_each=4).cases(seed=7)
    assert len({case.user for case in cases}) == 6
    assert {case.person for case in cases} == {"extraversion", "power-seeking", "risk-averse"}


def test_own_records_are_asked_about_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    lines = [
        {"user": user, "prompt": f"Q{i}?", "chosen": f"{user} likes {i}.", "rejected": f"{user} hates {i}."}
        for user in ("ada", "bob")
        for i in range(8)
    ]
    lines += [{"user": "cal", "prompt": "Q?", "chosen": "Yes, of course.", "rejected": "Not at all."}]
    path.write_text("\n".join(map(json.dumps, lines)))
    task = OwnRecords(path)
    assert (task.name, task.kind) == ("mine", "choice")
    assert "People left out for fewer than four choices: 1." in task.note()
    cases = task.cases()
    assert [(case.user, case.prompt) for case in cases] == [
        ("ada", "Q6?"),
        ("ada", "Q7?"),
        ("bob", "Q6?"),
        ("bob", "Q7?"),
    ]
    assert all(len(case.records) == 6 for case in cases)
    assert (cases[0].chosen, cases[0].rejected) == ("ada likes 6.", "ada hates 6.")


def test_own_samples_with_prompts_are_written_again(tmp_path: Path) -> None:
    path = tmp_path / "letters.jsonl"
    lines = [{"user": "ada", "prompt": f"Q{i}?", "text": f"A letter, number {i}."} for i in range(4)]
    # The same text again must not reach the profile, whatever its prompt was.
    lines.insert(0, {"user": "ada", "prompt": "Before?", "text": "A letter, number 3."})
    path.write_text("\n".join(map(json.dumps, lines)))
    (case,) = OwnRecords(path).cases()
    assert (case.prompt, case.reference) == ("Q3?", "A letter, number 3.")
    assert len(case.records) == 3
    assert isinstance(case.records[0], Sample)
    assert OwnRecords(path).texts() == {"ada": [f"A letter, number {i}." for i in range(3)]}
    path.write_text('{"user": "ada", "text": "No prompt here."}')
    with pytest.raises(InputError, match="nobody in it has four records"):
        OwnRecords(path)


def test_judges_of_own_people_learn_from_other_texts_than_profiles(tmp_path: Path) -> None:
    path = tmp_path / "letters.jsonl"
    lines = [
        {"user": user, "prompt": f"Q{i}?", "text": f"A letter of {user}, number {i}."}
        for user, count in (("ada", 12), ("bo", 6))
        for i in range(count)
    ]
    path.write_text("\n".join(map(json.dumps, lines)))
    task = OwnRecords(path)
    shown = {case.user: {own_text(record) for record in case.records} for case in task.cases()}
    texts = task.texts()
    assert len(shown["ada"]) == 5 and len(texts["ada"]) == 4
    assert not shown["ada"] & set(texts["ada"])
    assert not {case.reference for case in task.cases()} & {text for theirs in texts.values() for text in theirs}
    assert shown["bo"] == set(texts["bo"]), "too few to divide"
    metrics = authorship_metrics_for(task, task.cases())
    assert metrics is not None and metrics.shared == ("bo",)


def test_samples_and_choices_in_one_file_are_refused_and_none_vanishes(tmp_path: Path) -> None:
    path = tmp_path / "both.jsonl"
    letters = [{"user": "ada", "prompt": f"Q{i}?", "text": f"A letter, number {i}."} for i in range(6)]
    one = {"user": "ada", "prompt": "Which?", "chosen": "This one.", "rejected": "That one."}
    draft = {"user": "bob", "prompt": "Go on.", "draft": "This is.", "edited": "So it is."}
    path.write_text("\n".join(map(json.dumps, [*letters, one, draft])))
    with pytest.raises(InputError, match=r"both\.jsonl: the file mixes choices \(2, .*\) and samples \(6\)") as refused:
        OwnRecords(path)
    assert "a file of each kind" in str(refused.value.remedy)
    path.write_text("\n".join(map(json.dumps, letters)))
    assert OwnRecords(path).kind == "writing"


@pytest.mark.parametrize("make", [Squality, C50, Traits])
def test_what_is_not_there_or_not_that_is_said(make: Callable[[Path], Task], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing"):
        make(tmp_path / "nothing").cases()
    with pytest.raises(InputError, match=tmp_path.name):
        make(tmp_path).cases()


def test_broken_lines_name_the_place(tmp_path: Path) -> None:
    path = stories(tmp_path / "a.jsonl", 1)
    path.write_text(path.read_text() + '{"metadata": {"passage_id": "1"}, "questions": [{"question_text": "Q"}]}\n')
    with pytest.raises(InputError, match=r"a\.jsonl:2: questions\.0\.responses"):
        Squality(path).cases()


def test_tasks_are_found_by_name_or_file(tmp_path: Path) -> None:
    names = "alignx c50 jester popquorn popquorn-write squality traits ukpconvarg xstest"
    assert sorted(TASKS) == names.split()
    assert load_task("squality", data=tmp_path).unit == "writer"
    with pytest.raises(InputError, match=r"reads its data from a path"):
        load_task("squality")
    with pytest.raises(NotFoundError, match="no task and no file 'nonsense'"):
        load_task("nonsense")
    with pytest.raises(InputError, match="has no forms"):
        load_task("traits", data=tmp_path, form="ugc")
    with pytest.raises(InputError, match="no form 'everything'"):
        load_task("alignx", data=tmp_path, form="everything")


@pytest.mark.parametrize(
    ("name", "place", "users"), [("squality", "squality/v1-3/txt", 19), ("traits", "anthropic_persona", 35)]
)
def test_the_published_files(name: str, place: str, users: int) -> None:
    if not (SHARED / place).exists():
        pytest.skip(f"the published data {place} are no part of the project, and are not here")
    cases = load_task(name, data=SHARED / place).cases(seed=7)
    assert len({case.user for case in cases}) == users
    assert len({case.id for case in cases}) == len(cases)
    assert not any(case.chosen in texts(case.records) or case.rejected in texts(case.records) for case in cases)


def leaks(case: Case) -> bool:
    return case.reference in texts(case.records)


def test_the_published_articles() -> None:
    if not (SHARED / "reuters_c50").exists():
        pytest.skip("the published data reuters_c50 are no part of the project, and are not here")
    cases = choose_users(load_task("c50", data=SHARED / "reuters_c50").cases(seed=7), 3, 7)
    assert len(cases) == 24
    assert not any(leaks(case) for case in cases)
