"""Traces, what of them may teach, and the rows that trainers read: no model runs here."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from hyperalign.backends.distill.collect import (
    GuidedTeacher,
    Teacher,
    build_unanswered,
    collect_traces,
    describe_person,
    find_metric,
)
from hyperalign.backends.distill.dataset import Scope, assign_split, build_prefix, build_rows, write_rows
from hyperalign.backends.distill.traces import Trace, TraceFilter, append_trace, read_traces
from hyperalign.backends.models.connect import connect
from hyperalign.errors import InputError, ModelError, RecordError, UnusableAnswersError
from hyperalign.population import StorePopulation
from hyperalign.privacy import find_private_parts
from hyperalign.profile import Hypothesis, Profile
from hyperalign.programs.guided import GuidedGenerate
from hyperalign.programs.strategies import strategy
from hyperalign.records import Sample
from tests.fixtures.scripted_server import ScriptedServer, error, reply

from ...programs.rewards import LONG, SHORT, brief_reward

ADA = Profile(
    user="ada",
    hypotheses=[
        Hypothesis(id="h1", statement="Writes short sentences.", aspect="style", source="inferred", weight=0.5)
    ],
    reward=brief_reward("ada"),
)


def trace(number: int = 0, **changed: object) -> Trace:
    given = {
        "id": f"t{number}",
        "user": "ada",
        "prompt": f"Question {number}?",
        "answer": f"Answer number {number} is here.",
        "teacher": "t",
        "strategy": "verified",
        "profile": "p",
        "profile_context": "Short.",
        "score": 1.0,
    }
    return Trace.model_validate({**given, **changed})


# Traces


def test_a_teacher_is_asked_each_prompt_once_over_all_runs(scripted_server: ScriptedServer, tmp_path: Path) -> None:
    scripted_server.default = reply(SHORT)
    lm = connect("openai/any", api_base=scripted_server.base, api_key="k")
    teacher, path = Teacher(lm, strategy("verified")), tmp_path / "traces.jsonl"
    first = collect_traces(teacher, [ADA], ["Will it rain?", "Shall I go?"], path)
    assert [t.prompt for t in first] == ["Will it rain?", "Shall I go?"]
    assert {t.answer for t in first} == {SHORT}
    assert first[0].profile_context == "Write as a person like this:\n- Writes short sentences."
    assert first[0].hypotheses == ("h1",)
    assert first[0].score is not None
    assert "Writes short sentences." in scripted_server.requests[0].prompt
    asked = len(scripted_server.requests)
    again = collect_traces(teacher, [ADA], ["Will it rain?", "Shall I go?", "And then?"], path)
    assert len(scripted_server.requests) == asked + 1, "what is known is not asked again"
    assert again[:2] == first
    changed = ADA.model_copy(update={"stated": ["I like rain."]})
    collect_traces(teacher, [changed], ["Will it rain?"], path)
    assert len(scripted_server.requests) == asked + 2, "another profile is another question"


def test_what_was_answered_before_a_teacher_failed_is_kept(scripted_server: ScriptedServer, tmp_path: Path) -> None:
    scripted_server.script(reply(SHORT), error(404))
    scripted_server.default = reply(SHORT)
    lm = connect("openai/any", api_base=scripted_server.base, api_key="k", num_retries=0)
    path = tmp_path / "traces.jsonl"
    with pytest.raises(ModelError):
        collect_traces(Teacher(lm, strategy("verified")), [ADA], ["One?", "Two?", "Three?"], path)
    assert [t.prompt for t in read_traces(path)] == ["One?"]
    assert len(collect_traces(Teacher(lm, strategy("verified")), [ADA], ["One?", "Two?", "Three?"], path)) == 3


def test_of_several_drafts_the_most_and_the_least_like_the_person_are_kept(
    scripted_server: ScriptedServer, tmp_path: Path
) -> None:
    scripted_server.script(reply(LONG), reply(SHORT), reply("It may rain, or it may not."))
    lm = connect("openai/any", api_base=scripted_server.base, api_key="k")
    (made,) = collect_traces(Teacher(lm, strategy("verified"), drafts=3), [ADA], ["Rain?"], tmp_path / "t.jsonl")
    assert made.answer == SHORT
    assert made.rejected == LONG
    assert made.score is not None
    assert made.rejected_score is not None
    assert made.score > made.rejected_score


def test_a_guided_teacher_teaches_what_is_like_the_person_s_texts(
    scripted_server: ScriptedServer, tmp_path: Path
) -> None:
    # The model alone writes at length; where texts of Ada's are shown it does so once, and once as she does.
    own = [Sample(user="ada", text=f"{SHORT} Number {n}.") for n in range(4)]
    scripted_server.default = reply(
        lambda request: SHORT if own[0].text in request.prompt and request.body.get("seed") == 1 else LONG
    )
    lm = connect("openai/any", api_base=scripted_server.base, api_key="k")
    others = StorePopulation(lambda _: [Sample(user="bea", text=f"{LONG} {n}") for n in range(4)])
    guide = GuidedTeacher(GuidedGenerate("medium", population=others), "medium", records={"ada": own})
    teacher, path = Teacher(lm, strategy("verified"), guide=guide), tmp_path / "t.jsonl"
    (made,) = collect_traces(teacher, [ADA], ["Rain?"], path)
    assert (made.answer, made.rejected, made.teacher) == (SHORT, LONG, teacher.name)
    asked = len(scripted_server.requests)
    assert collect_traces(teacher, [ADA], ["Rain?"], path) == [made]
    assert len(scripted_server.requests) == asked, "what is known is not asked again"
    for changed in (replace(guide, records={"ada": own[:3]}), replace(guide, seed=1)):
        known = len(read_traces(path))
        collect_traces(replace(teacher, guide=changed), [ADA], ["Rain?"], path)
        assert len(read_traces(path)) == known + 1, "what other texts or another seed guided is another answer"
    (told,) = collect_traces(Teacher(lm, strategy("verified")), [ADA], ["Rain?"], path)
    assert told.answer == LONG, "a teacher that is only told is another one"


def test_an_answer_that_was_cut_off_teaches_nothing_and_loses_to_a_whole_one(
    scripted_server: ScriptedServer, tmp_path: Path
) -> None:
    lm = connect("openai/any", api_base=scripted_server.base, api_key="k")
    cut = reply("No. It rains. Stay in the", finish_reason="length")
    scripted_server.script(cut, cut, reply(LONG))
    one = Teacher(lm, strategy("verified"))
    (made,) = collect_traces(one, [ADA], ["Rain?"], tmp_path / "one.jsonl")
    assert made.truncated
    assert TraceFilter()([made]).dropped == {"truncated": 1}
    (made,) = collect_traces(Teacher(lm, strategy("verified"), drafts=2), [ADA], ["Rain?"], tmp_path / "two/t.jsonl")
    assert (made.answer, made.rejected, made.truncated) == (LONG, "", False), "however much more it is like her"
    scripted_server.default = reply(SHORT)
    assert not any(each.truncated for each in collect_traces(one, [ADA], ["Snow?", "Hail?"], tmp_path / "one.jsonl"))


def test_answers_that_go_in_circles_teach_nothing() -> None:
    round_and_round = "I am grateful for the love and support. " * 4
    kept = TraceFilter()(
        [trace(1, answer=round_and_round), trace(2, answer="I am grateful. I am grateful for the support.")]
    )
    assert [each.id for each in kept.traces] == ["t2"]
    assert kept.dropped == {"repetitive": 1}


def test_answers_that_decline_teach_nothing_unless_they_may() -> None:
    no = trace(1, answer="I'm sorry, but I can't assist with that.")
    yes = trace(2, answer="I can't wait to see you on Sunday.")
    kept = TraceFilter()([no, yes])
    assert [each.id for each in kept.traces] == ["t2"]
    assert kept.dropped == {"refusal": 1}
    assert TraceFilter(keep_refusals=True)([no, yes]).dropped == {}


def test_drafts_that_score_the_same_have_no_rejected_one(scripted_server: ScriptedServer, tmp_path: Path) -> None:
    scripted_server.script(reply(LONG), reply(SHORT))
    # Answers are scripted in order, so that the drafts must be asked for in order.
    lm = connect("openai/any", api_base=scripted_server.base, api_key="k", concurrency=1)
    unknown = ADA.model_copy(update={"reward": None})
    (made,) = collect_traces(Teacher(lm, strategy("verified"), drafts=2), [unknown], ["Rain?"], tmp_path / "t.jsonl")
    assert (made.answer, made.rejected, made.score, made.rejected_score) == (LONG, "", 0.0, None)


def test_a_metric_that_is_not_known_is_refused() -> None:
    with pytest.raises(InputError, match="no metric 'style'"):
        find_metric("style")


def test_an_answer_without_words_ends_no_run_and_teaches_nothing(
    scripted_server: ScriptedServer, tmp_path: Path
) -> None:
    scripted_server.script(reply(" "))
    scripted_server.default = reply(SHORT)
    lm = connect("openai/any", api_base=scripted_server.base, api_key="k")
    empty, other = collect_traces(Teacher(lm, strategy("verified")), [ADA], ["Rain?", "Snow?"], tmp_path / "t.jsonl")
    assert (empty.answer, empty.score, other.answer) == ("", None, SHORT)
    kept = TraceFilter()([empty, other])
    assert kept.traces == [other]
    assert kept.dropped == {"shorter than 3 words": 1}


def test_a_teacher_who_mostly_says_nothing_is_asked_no_further(scripted_server: ScriptedServer, tmp_path: Path) -> None:
    scripted_server.default = reply(" ")
    lm = connect("openai/any", api_base=scripted_server.base, api_key="k", num_retries=0)
    path = tmp_path / "traces.jsonl"
    with pytest.raises(UnusableAnswersError, match="Of 16 answers 16"):
        collect_traces(Teacher(lm, strategy("verified")), [ADA], [f"Question {n}?" for n in range(60)], path)
    assert len(read_traces(path)) == 15


def test_many_prompts_are_asked_at_once_and_come_back_in_their_order(
    scripted_server: ScriptedServer, tmp_path: Path
) -> None:
    scripted_server.default = reply(SHORT)
    lm = connect("openai/any", api_base=scripted_server.base, api_key="k")
    prompts = [f"Question {number}?" for number in range(20)]
    seen: list[tuple[str, int, int]] = []
    found = collect_traces(
        Teacher(lm, strategy("verified"), concurrency=6), [ADA], prompts, tmp_path / "t.jsonl",
        progress=lambda *step: seen.append(step),
    )  # fmt: skip
    assert [trace.prompt for trace in found] == prompts
    assert seen == [("traces", done, 20) for done in range(1, 21)]
    assert len(scripted_server.requests) == len(read_traces(tmp_path / "t.jsonl")) == 20


def test_answers_in_the_air_are_kept_when_another_fails(scripted_server: ScriptedServer, tmp_path: Path) -> None:
    scripted_server.script(error(404))
    scripted_server.default = reply(SHORT)
    lm = connect("openai/any", api_base=scripted_server.base, api_key="k", num_retries=0)
    path = tmp_path / "t.jsonl"
    with pytest.raises(ModelError):
        collect_traces(Teacher(lm, strategy("verified"), concurrency=4), [ADA], [f"{n}?" for n in range(4)], path)
    assert len(read_traces(path)) == len(scripted_server.requests) - 1, "whatever was answered is in the file"


def test_methods_without_answers_ask_nobody() -> None:
    (made,) = build_unanswered(Teacher(None, strategy("verified")), [ADA], ["Rain?"])
    assert (made.answer, made.teacher) == ("", "")
    assert made.profile_context.startswith("Write the answer that this person would write"), "as generate asks"
    assert made.profile_context.endswith(describe_person(strategy("verified"), ADA, "Rain?"))


def test_a_bad_line_is_named_and_a_torn_one_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    append_trace(path, trace(0))
    with path.open("a") as file:
        file.write('{"id": "t1", "us')
    assert [t.id for t in read_traces(path)] == ["t0"]
    append_trace(path, trace(2))
    assert [t.id for t in read_traces(path)] == ["t0", "t2"], "also by the run after the next"
    path.write_text('{"id": "x"}\n')
    with pytest.raises(RecordError, match=r":1: this is not a trace: 'user'"):
        read_traces(path)
    assert read_traces(tmp_path / "absent.jsonl") == []


# What may teach


def test_what_goes_is_counted_under_its_reason() -> None:
    letter = "the parcel came on Tuesday and nobody was at home to take it in but me"
    found = TraceFilter(private_texts={"ada": [letter]})(
        [
            trace(0),
            trace(1, prompt="Question 0?", answer="answer  number 0 is here."),
            trace(2, score=-1.0),
            trace(3, answer="Yes."),
            trace(4, answer=f"As I said: {letter}."),
            trace(5, answer="Write to me at ada@example.org, please."),
            trace(6, user="bruno", answer=f"They say {letter}."),
        ]
    )
    assert [t.id for t in found.traces] == ["t0", "t6"], "what is private to one is not to another"
    assert found.dropped == {
        "duplicate": 1,
        "score below 0": 1,
        "shorter than 3 words": 1,
        "copies the person's text": 1,
        "contains a mail address": 1,
    }


@pytest.mark.parametrize(("threshold", "taught"), [(None, 3), (float("-inf"), 3), (-1.0, 3), (0.0, 2), (2.0, 1)])
def test_what_was_not_scored_is_not_held_to_the_threshold(threshold: float | None, taught: int) -> None:
    made = [trace(0, score=-1.0), trace(1, score=1.0), trace(2, score=None)]
    assert len(TraceFilter(threshold)(made).traces) == taught


def test_a_threshold_that_is_no_number_is_refused() -> None:
    with pytest.raises(InputError, match="not a number"):
        TraceFilter(float("nan"))


def test_a_draft_that_was_turned_down_gives_no_more_away() -> None:
    told, kept = "Write to me at ada@example.org, please.", "Write to me some day, please."
    found = TraceFilter()([trace(0, rejected=told), trace(1, rejected=kept)])
    assert [t.rejected for t in found.traces] == ["", kept]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Call +39 06 1234 5678 after six.", ["telephone number"]),
        ("Pay to DE89 3704 0044 0532 0130 00 today.", ["account number", "telephone number"]),
        ("In 1999 there were 12,500 of them, at 3.50 each.", []),
        ("Version 2.10.4 of 2026-11-22 at 10:30.", []),
    ],
)
def test_private_parts(text: str, found: list[str]) -> None:
    assert find_private_parts(text) == found


# Rows


def test_the_student_is_never_shown_the_profile() -> None:
    for scope in (Scope(), Scope("program"), Scope("tag"), Scope("prefix", {"ada": "Be brief."})):
        (row,) = build_rows([trace(profile_context="Grumpy old sailor.")], scope)
        assert "sailor" not in json.dumps(row)
        assert row["completion"] == [{"role": "assistant", "content": "Answer number 0 is here."}]
    assert build_rows([trace()], Scope())[0]["prompt"] == [{"role": "user", "content": "Question 0?"}]
    assert build_rows([trace()], Scope("tag"))[0]["prompt"][0] == {"role": "system", "content": "Write for ada."}
    with pytest.raises(InputError, match="no prefix for 'ada'"):
        build_rows([trace()], Scope("prefix"))


def test_a_prefix_is_a_persons_three_surest_statements() -> None:
    said = [
        Hypothesis(id=f"h{i}", statement=f"Statement {i}.", aspect="style", source="inferred", weight=weight)
        for i, weight in enumerate((0.2, 0.9, 0.1, 0.5))
    ]
    described = build_prefix(Profile(user="eve", hypotheses=said))
    assert described == "Write as a person like this: Statement 1. Statement 3. Statement 0."
    with pytest.raises(InputError, match="'eve' holds no statement"):
        build_prefix(Profile(user="eve"))


def test_each_method_has_its_rows() -> None:
    both = trace(rejected="Something else.")
    assert set(build_rows([both], Scope(), "dpo")[0]) == {"prompt", "chosen", "rejected"}
    assert build_rows([both], Scope(), "context")[0]["privileged_context"] == "Short."
    assert set(build_rows([both], Scope(), "on-policy")[0]) == {"prompt"}
    with pytest.raises(InputError, match="'dpo' needs traces of two drafts"):
        build_rows([trace()], Scope(), "dpo")


def test_a_prompt_is_in_one_part_whatever_its_case() -> None:
    prompts = [f"What about number {i}?" for i in range(2_000)]
    parts = [assign_split(prompt) for prompt in prompts]
    assert parts == [assign_split(prompt.upper()) for prompt in prompts]
    for part in ("validation", "test"):
        assert 0.07 < parts.count(part) / 2_000 < 0.13


def test_rows_are_written_as_lines(tmp_path: Path) -> None:
    made = build_rows([trace(0, answer="Über uns, \u2028 ja."), trace(1)], Scope())
    write_rows(made, tmp_path / "rows.jsonl")
    lines = (tmp_path / "rows.jsonl").read_text(encoding="utf-8").split("\n")
    assert [json.loads(line) for line in lines if line] == made
