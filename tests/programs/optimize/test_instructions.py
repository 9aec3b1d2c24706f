"""What the model that reflects is asked, and what is made of its answers."""

from __future__ import annotations

import json

from hyperalign.programs.optimize.instructions import ReflectiveProposer
from hyperalign.programs.optimize.leaks import LeakCheck
from hyperalign.programs.optimize.search import search
from hyperalign.records import Sample
from tests.fixtures.scripted_server import Recorded, ScriptedServer, reply
from tests.programs.optimize.polite_task import (
    POLITE,
    answer_otherwise,
    asks_for_instruction,
    examples,
    model,
    program,
    search_options,
)


def test_an_improvement_is_kept_though_nothing_else_was_of_use(scripted_server: ScriptedServer) -> None:
    lm = model(scripted_server, better="Hm.")
    asked_before: list[bool] = []

    def first(request: Recorded) -> bool:
        asked_before.append(asks_for_instruction(request))
        return asked_before[-1] and sum(asked_before) == 1

    answer_otherwise(scripted_server, first, reply(json.dumps({"better": POLITE})))
    found = search(program(), **search_options(lm=lm, max_steps=12))
    assert found.verdict.kept
    assert found.prompts["self"].instructions == POLITE
    assert found.refused == {"too short": 6}


def test_what_is_asked_of_it_has_limits_and_comes_again(scripted_server: ScriptedServer) -> None:
    lm = model(scripted_server, better="Answer every question with great care and some patience, always.")
    for _ in range(2):
        search(program(), **search_options(lm=lm, seed=7))
    bodies = [request.body for request in scripted_server.requests if asks_for_instruction(request)]
    first, second = bodies[: len(bodies) // 2], bodies[len(bodies) // 2 :]
    assert first == second
    assert len({body["seed"] for body in first}) == len(first) == 3
    assert all(body["max_tokens"] == 400 for body in first)
    assert all("JSON object" in json.dumps(body["messages"]) for body in first)


def test_field_markers_and_space_make_no_new_instruction(scripted_server: ScriptedServer) -> None:
    marked = f"[[ ## better ## ]]\n{POLITE}\n\n[[ ## completed ## ]]"
    assert (
        search(program(), **search_options(lm=model(scripted_server, better=marked))).found["self"].instructions
        == POLITE
    )
    lm = model(scripted_server, better=POLITE.replace(" ", "\n "))
    reflected = ReflectiveProposer(lm, LeakCheck([]))
    assert reflected({"self": POLITE}, {}, ["self"]) == {}
    assert reflected.refused == {"the same": 1}


def test_neither_the_form_itself_nor_what_grows_and_grows_is_an_instruction(scripted_server: ScriptedServer) -> None:
    copied = ReflectiveProposer(
        model(scripted_server, better="The better instruction, and nothing else."), LeakCheck([])
    )
    assert copied({"self": POLITE}, {}, ["self"]) == {}
    assert copied.refused == {"not in the form asked for": 1}
    long = " ".join(f"word{n}" for n in range(len(POLITE.split()) + 60))
    lm = model(scripted_server, better=long)
    longer = " ".join(f"other{n}" for n in range(len(POLITE.split()) + 39))
    assert ReflectiveProposer(lm, LeakCheck([]))({"self": longer}, {}, ["self"]) == {"self": long}
    held = ReflectiveProposer(lm, LeakCheck([]), originals={"self": POLITE})
    assert held({"self": longer}, {}, ["self"]) == {}
    assert held.refused == {"too long": 1}


def test_what_is_not_new_is_not_run(scripted_server: ScriptedServer) -> None:
    search(program(), **search_options(lm=model(scripted_server, better="Hm."), max_steps=2))
    # Before on 8 examples of either half; by round 4 answers to reflect on, and the question.
    assert len(scripted_server.requests) == 8 + 8 + 2 * (4 + 1)
    del scripted_server.requests[:]
    search(program(), **search_options(lm=model(scripted_server), max_steps=1))
    # The 4 examples that a candidate was first run on are not run again among all 8.
    assert len(scripted_server.requests) == 8 + 8 + (4 + 1 + 4) + 4 + 8


def test_candidates_that_did_no_better_are_told_of(scripted_server: ScriptedServer) -> None:
    better = "Answer every question with great care and some patience, always."
    found = search(program(), **search_options(lm=model(scripted_server, better=better), max_steps=1))
    assert [set(each) for each in found.tried] == [{"instructions", "score"}, {"instructions", "few", "few_before"}]
    assert found.tried[1]["instructions"] == {"self": better}
    assert found.tried[1]["few"] <= found.tried[1]["few_before"]


def test_other_peoples_texts_and_held_answers_give_somebody_away_too(scripted_server: ScriptedServer) -> None:
    said = Sample(user="stranger", text="I went to the mill with Haverstock before the rain came.")
    for part in ({"others": [said]}, {"against": [said]}, {"held": said}):
        lm = model(scripted_server, better="Answer politely, as Haverstock would, and always say please.")
        texts = [example.copy(**part) for example in examples()]
        found = search(program(), **search_options(lm=lm, trainset=texts, max_steps=1))
        assert found.refused == {"leaking": 1}
