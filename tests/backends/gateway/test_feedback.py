"""Feedback on answers of the real proxy: what is acknowledged is kept, for one person, once, and becomes records."""

from __future__ import annotations

import json
import time
import uuid
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hyperalign.backends.gateway.feedback import Feedback, compare_arms, read_open_webui, switch_where_useless, teach
from hyperalign.backends.gateway.outcomes import Outcomes, forget_in
from hyperalign.backends.gateway.service import OutcomeWriter
from hyperalign.backends.gateway.tables import Exchange, Said, Taught
from hyperalign.errors import InputError
from hyperalign.records import Edit, Pair
from hyperalign.store import Store
from tests.fixtures.postgres import postgres

from .conftest import Gateway, profile_of


@pytest.fixture
def outcomes(gateway: Gateway) -> Outcomes:
    return Outcomes(gateway.place)


def call_id(gateway: Gateway, text: str, user: str) -> str:
    body = {"model": "openai/scripted", "user": user, "messages": [{"role": "user", "content": text}]}
    response = gateway.post("chat/completions", body)
    assert response.is_success, response.text
    return response.headers["x-litellm-call-id"]


def new_person(gateway: Gateway) -> str:
    user = f"person {uuid.uuid4().hex[:12]}"
    with Store(gateway.place) as store:
        store.save(profile_of(user, "clarity"))
    return user


def test_a_correction_by_the_answers_id_becomes_an_edit(gateway: Gateway, outcomes: Outcomes) -> None:
    user = new_person(gateway)
    request = call_id(gateway, "Write to Ann.", user)
    given = gateway.post("feedback", {"user": user, "request": request, "edited": "Write to Ann, all is well."})
    assert given.is_success, given.text
    assert given.json() == {"id": given.json()["id"], "user": user, "kind": "edit", "kept": True}
    with Store(gateway.place) as store:
        assert teach(store, outcomes, user) == 1
        (record,) = store.records(user)
        assert teach(store, outcomes, user) == 0
    assert isinstance(record, Edit)
    assert (record.prompt, record.draft) == ("Write to Ann.", "You said: Write to Ann.")
    assert record.edited == "Write to Ann, all is well."
    assert user in outcomes.waiting()
    (said,) = outcomes.feedback(user)
    assert said.arm == "on"
    assert said.value is not None
    assert 0 < said.value < 1
    outcomes.mark_taught(user, [said.id], Taught.LEARNED)
    assert user not in outcomes.waiting()


def test_the_header_of_the_proxy_goes_before_the_body(gateway: Gateway, outcomes: Outcomes) -> None:
    user = new_person(gateway)
    body = {"user": "mira", "draft": "One.", "edited": "Two."}
    assert gateway.post("feedback", body, **{"x-hyperalign-user": user}).json()["user"] == user
    assert len(outcomes.feedback(user)) == 1


def test_what_is_sent_twice_is_kept_once(gateway: Gateway, outcomes: Outcomes) -> None:
    user = new_person(gateway)
    body = {"user": user, "id": "same", "chosen": "Yes.", "rejected": "No.", "prompt": "Well?"}
    assert [gateway.post("feedback", body).status_code for _ in range(3)] == [200] * 3
    assert len(outcomes.feedback(user)) == 1
    with Store(gateway.place) as store:
        teach(store, outcomes, user)
        (record,) = store.records(user)
    assert record == Pair(
        user=user, id="feedback-same", prompt="Well?", chosen="Yes.", rejected="No.", time=record.time
    )


def test_a_choice_between_with_and_without_counts_for_the_arm_that_won(gateway: Gateway, outcomes: Outcomes) -> None:
    user = new_person(gateway)
    ids = {}
    for arm in ("on", "off"):
        body = {
            "model": "openai/scripted",
            "user": user,
            "messages": [{"role": "user", "content": f"{arm} {uuid.uuid4().hex}"}],
        }
        response = gateway.post("chat/completions", body, **{"x-hyperalign-profile": arm})
        ids[arm] = response.headers["x-litellm-call-id"]
    body = {"user": user, "request": ids["off"], "rejected_request": ids["on"]}
    given = gateway.post("feedback", body)
    assert given.is_success, given.text
    (outcome,) = outcomes.outcomes(user)
    assert (outcome.kind, outcome.value) == ("choice", -1.0)
    assert compare_arms([outcome])["choice"].difference == -1.0


def test_thumbs_up_and_down_for_one_prompt_make_a_pair(gateway: Gateway, outcomes: Outcomes) -> None:
    user = new_person(gateway)
    for thumb, answer in (("up", "Short."), ("down", "Long, long, long.")):
        body = {"user": user, "thumb": thumb, "answer": answer, "prompt": "How?"}
        assert gateway.post("feedback", body).is_success
    with Store(gateway.place) as store:
        assert teach(store, outcomes, user) == 1
        (record,) = store.records(user)
    assert isinstance(record, Pair)
    assert (record.chosen, record.rejected) == ("Short.", "Long, long, long.")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"user": "mira"}, 422),
        ({"user": "mira", "thumb": "sideways", "request": "x"}, 422),
        ({"user": "mira", "thumb": "up", "request": "x", "edited": "y"}, 422),
        ({"user": "mira", "thumb": "up"}, 422),
        ({"user": "mira", "edited": "Only this."}, 422),
        ({"user": "mira", "chosen": "Only this."}, 422),
        ({"user": "mira", "edited": "x", "draft": " "}, 422),
        ({"user": "mira", "thumb": "up", "request": "x", "colour": "red"}, 422),
        ({"user": "../etc", "thumb": "up", "request": "x"}, 422),
        ({"thumb": "up", "request": "x"}, 422),
    ],
)
def test_what_says_nothing_is_refused_with_the_reason(gateway: Gateway, body: dict[str, Any], status: int) -> None:
    response = gateway.post("feedback", body)
    assert response.status_code == status, response.text
    assert response.json()["error"]["message"]


def test_nobody_can_speak_about_anothers_answer(gateway: Gateway, outcomes: Outcomes) -> None:
    owner, other = new_person(gateway), new_person(gateway)
    request = call_id(gateway, "A secret of mine.", owner)
    response = gateway.post("feedback", {"user": other, "request": request, "edited": "Mine now."})
    assert response.status_code == 404
    assert "secret" not in response.text
    assert gateway.post("feedback", {"user": other, "request": request, "thumb": "down"}).is_success
    assert [said.arm for said in outcomes.feedback(other)] == [""]
    assert outcomes.outcomes(other) == []


def test_a_profile_that_does_harm_is_switched_off_and_can_be_switched_on(gateway: Gateway, outcomes: Outcomes) -> None:
    user = new_person(gateway)
    exchanges, said = [], []
    for number in range(60):
        arm: Any = "on" if number % 2 else "off"
        exchanges.append(Exchange(f"{user}-{number}", "", user, f"c{number}", arm, 1))
        thumb = "down" if arm == "on" else "up"
        said.append(Said(str(number), user, "thumb", {"thumb": thumb}, f"{user}-{number}"))
    outcomes.keep(exchanges, said)
    assert switch_where_useless(outcomes, user).startswith("answers with it fared worse")
    assert switch_where_useless(outcomes, user) == ""
    text = uuid.uuid4().hex
    time.sleep(1.1)
    gateway.chat(text, user)
    assert gateway.sent(text).messages == [{"role": "user", "content": text}]
    outcomes.switch(user, "")
    text = uuid.uuid4().hex
    time.sleep(1.1)
    gateway.chat(text, user)
    assert "clarity" in gateway.sent(text).prompt


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_outcomes_lie_beside_the_stores_own_tables(tmp_path: Path, kind: str) -> None:
    with postgres() if kind == "postgresql" else nullcontext(str(tmp_path / "store.sqlite")) as place:
        with Store(place) as store:
            store.save(profile_of("ada", "violets"))
        outcomes, other = Outcomes(place), Outcomes(place)
        assert outcomes.assignment_key() == other.assignment_key()
        outcomes.keep(
            [Exchange("r", "x", "ada", "c", "on", 1, "Write.", "Of violets\0.")],
            [Said("f", "ada", "edit", {"edited": "Of roses.", "draft": "Of violets."}, "x")] * 2,
        )
        outcomes.switch("ada", "by hand")
        state = other.states(["ada", "bob"]).get("ada")
        assert state is not None
        assert (state.number, state.switched_off) == (1, "by hand")
        assert "bob" not in other.states(["ada", "bob"])
        assert [(each.kind, each.value) for each in other.outcomes()] == [("edit", 0.5)]
        assert list(other.waiting()) == ["ada"]
        with Store(place) as store:
            assert teach(store, other, "ada") == 1
        forget_in(place, "ada")
        assert other.outcomes() == []
        outcomes.close()
        other.close()


def test_a_conversation_counts_once_and_what_was_forced_not_at_all(tmp_path: Path) -> None:
    outcomes = Outcomes(tmp_path / "store.sqlite")
    arms: list[Any] = ["on", "on", "forced_on", "switched_off", "off"]
    conversations = ["a", "a", "b", "c", "d"]
    outcomes.keep(
        [
            Exchange(f"r{at}", "", "ada", conversation, arm, 1)
            for at, (arm, conversation) in enumerate(zip(arms, conversations, strict=True))
        ],
        [Said(f"f{at}", "ada", "thumb", {"thumb": "up" if at else "down"}, f"r{at}") for at in range(5)],
    )
    assert [(each.arm, each.value) for each in outcomes.outcomes()] == [("on", 0.0), ("off", 1.0)]
    outcomes.forget("ada")
    assert outcomes.outcomes() == []
    assert outcomes.find("ada", "r1") is None
    assert outcomes.waiting() == {}


def test_a_forgotten_record_takes_its_feedback_with_it(tmp_path: Path) -> None:
    place = tmp_path / "store.sqlite"
    Store(place).close()
    forget_in(place, "ada")
    with Store(place) as store:
        outcomes = Outcomes(place)
        outcomes.keep(
            [Exchange("r", "", "ada", "c", "on", 1, "Write.", "A draft of violets.")],
            [Said("f", "ada", "edit", {"draft": "A draft of violets.", "edited": "Of violets."}, "r")],
        )
        assert teach(store, outcomes, "ada") == 1
        forget_in(place, "ada", record="feedback-f")
        assert "violets" not in str(outcomes.feedback("ada")) + str(outcomes.find("ada", "r"))
        # Sent again, it is known and teaches nothing; its outcome stays.
        outcomes.keep(said=[Said("f", "ada", "edit", {"draft": "A draft of violets.", "edited": "Of violets."}, "r")])
        assert teach(store, outcomes, "ada") == 0
        assert len(outcomes.outcomes("ada")) == 1
        forget_in(place, "ada")
        assert outcomes.feedback("ada") == []
        outcomes.close()


def test_what_no_database_takes_keeps_nothing_else_out(tmp_path: Path) -> None:
    outcomes = Outcomes(tmp_path / "store.sqlite")
    writer = OutcomeWriter(outcomes)
    writer.note(Exchange("r", "x" * 999, "ada", "c", "on", 1, "\0 \ud83d", "An answer."))
    odd = writer.keep(Said("\ud83d", "ada", "thumb", {"thumb": "up"}, "r"))
    good = writer.keep(Said("f", "ada", "thumb", {"thumb": "up"}, "r"))
    writer.close()
    assert good.result() is None
    assert odd.exception() is not None
    assert [said.id for said in outcomes.feedback("ada")] == ["f"]
    found = outcomes.find("ada", "r")
    assert found is not None
    assert found.answer == "An answer."
    given = Feedback.model_validate(json.loads('{"draft": "\\ud83d x", "edited": "y\\u0000", "id": "\\ud83d"}'))
    outcomes.keep(said=[given.to_said("bob")])
    assert len(outcomes.feedback("bob")) == 1
    outcomes.close()


def test_feedback_may_come_before_its_request_is_noted(tmp_path: Path) -> None:
    outcomes = Outcomes(tmp_path / "store.sqlite")
    outcomes.keep(said=[Said("f", "ada", "thumb", {"thumb": "up"}, "r")])
    assert outcomes.outcomes() == []
    outcomes.keep([Exchange("r", "chatcmpl-1", "ada", "c", "off", 1)])
    assert [(each.arm, each.value) for each in outcomes.outcomes()] == [("off", 1.0)]


def test_texts_of_requests_are_kept_for_some_days_alone(tmp_path: Path) -> None:
    outcomes = Outcomes(tmp_path / "store.sqlite")
    outcomes.keep([Exchange("r", "x", "ada", "c", "on", 1, "A prompt.", "An answer.")])
    outcomes.forget_texts(1)
    found = outcomes.find("ada", "x")
    assert found is not None
    assert found.answer == "An answer."
    outcomes.forget_texts(0)
    found = outcomes.find("ada", "r")
    assert found is not None
    assert (found.prompt, found.answer, found.arm) == ("", "", "on")


def open_webui(rating: Any, *, message: str = "m2") -> dict[str, Any]:
    """One entry of the export of Open WebUI's evaluations, with two answers to one message."""
    turns = {
        "m1": {"id": "m1", "role": "user", "content": "Which tea?", "parentId": None},
        "m2": {"id": "m2", "role": "assistant", "content": "Green.", "parentId": "m1"},
        "m3": {"id": "m3", "role": "assistant", "content": "It depends on many things.", "parentId": "m1"},
    }
    return {
        "id": f"f-{rating}-{message}",
        "user_id": "u1",
        "type": "rating",
        "data": {"rating": rating, "model_id": "any"},
        "meta": {"message_id": message, "chat_id": "c1"},
        "snapshot": {"chat": {"chat": {"history": {"messages": turns}}}},
        "created_at": 1_790_000_000,
        "user": {"name": "Ada", "email": "ada@example.org"},
    }


def test_the_export_of_open_webui_gives_thumbs_and_choices() -> None:
    said = read_open_webui([open_webui(1), open_webui("-1", message="m3"), open_webui(0), {"data": None}, {}])
    assert [(each.user, each.thumb, each.chosen, each.rejected) for each in said] == [
        ("ada@example.org", "up", None, None),
        ("ada@example.org", None, "Green.", "It depends on many things."),
        ("ada@example.org", "down", None, None),
        ("ada@example.org", None, "Green.", "It depends on many things."),
    ]
    assert said[0].prompt == "Which tea?"
    assert said[0].time == datetime.fromtimestamp(1_790_000_000, UTC)
    assert read_open_webui([open_webui(1)], name="name")[0].user == "Ada"
    # Read again, it is the same feedback.
    assert said[0].to_said("ada").id == read_open_webui([open_webui(1)])[0].to_said("ada").id
    with pytest.raises(InputError):
        read_open_webui({"feedback": []})


def test_feedback_without_an_id_is_the_same_if_it_says_the_same() -> None:
    given = Feedback.model_validate(json.loads('{"request": "r", "thumb": "up"}'))
    assert given.to_said("ada").id == given.to_said("ada").id
    assert given.to_said("ada").id != given.to_said("bob").id
