from typing import Any

import pytest

from hyperalign.ingest.openwebui import Chats, Feedback

from .entries import answered, authors, fields, passed_over, read, said, source


def history(**more: Any) -> dict[str, Any]:
    """A question with two answers, and a second question after the first of them, in two versions."""
    nodes: list[dict[str, Any]] = [
        {"id": "q", "role": "user", "content": "How do I prune a rose?", "parentId": None, "childrenIds": ["a", "b"]},
        {"id": "a", "role": "assistant", "parentId": "q", "model": "m1", "childrenIds": ["r", "s"]}
        | {"content": '<details type="reasoning">hm, roses</details>\nCut it short.'},
        {"id": "b", "role": "assistant", "content": "Leave it.", "parentId": "q", "model": "m2", "childrenIds": []},
        {"id": "r", "role": "user", "content": "a turn she edited away", "parentId": "a", "childrenIds": []},
        {"id": "s", "role": "user", "content": "and what of winter", "parentId": "a", "childrenIds": []},
    ]
    return {"history": {"currentId": "s", "messages": {each["id"]: {**each, **more} for each in nodes}}}


def chat(user: str = "u1", **more: Any) -> dict[str, Any]:
    return {"id": "c", "user_id": user, "title": "Roses", "chat": history(), "created_at": 1704056400, **more}


def feedback(rating: Any, siblings: list[str] | None = None, **data: Any) -> dict[str, Any]:
    return {
        "id": "f",
        "user_id": "u1",
        "type": "rating",
        "data": {"rating": rating, "model_id": "m1", "sibling_model_ids": siblings, **data},
        "meta": {"message_id": "a", "chat_id": "c"},
        "snapshot": {"chat": {"id": "c", "chat": history()}},
        "created_at": 1704056400,
        "user": {"id": "u1", "name": "Mira", "email": "m@x.example"},
    }


WHEN = {"time": "2023-12-31T21:00:00+00:00"}
ASKED = {"prompt": "How do I prune a rose?"}


def test_chats_read_the_active_branch() -> None:
    entries = read(Chats(), [chat()])
    assert (Chats().match(source([chat()])), Feedback().match(source([chat()]))) == (3, 0)
    assert answered(entries) == [("How do I prune a rose?", None), ("and what of winter", "Cut it short.")]
    assert passed_over(entries) == {"turns of other branches": 1}
    assert authors(entries)["user"].is_owner
    assert authors(entries)["user"].is_called("u1")


def test_chats_of_several_accounts_have_no_owner() -> None:
    people = authors(read(Chats(), [chat("u1"), chat("u2"), {"chat": history()}]))
    assert set(people) == {"u1", "u2"}
    assert not any(person.is_owner for person in people.values())


def test_chat_as_a_plain_list() -> None:
    turns = [("user", "How do I prune a rose?"), ("assistant", "Cut it short."), ("user", "and what of winter")]
    row = chat(chat={"messages": [{"role": role, "content": text} for role, text in turns]})
    assert answered(read(Chats(), [row])) == answered(read(Chats(), [chat()]))


def test_thumb_in_a_chat_is_a_rating() -> None:
    row = chat()
    row["chat"]["history"]["messages"]["b"]["annotation"] = {"rating": -1, "comment": "far too curt for me"}
    entries = read(Chats(), [row])
    assert fields(entries) == [{**ASKED, "text": "Leave it.", "rating": -1, **WHEN}]
    assert ("far too curt for me", "Leave it.") in answered(entries)


@pytest.mark.parametrize(
    ("row", "data"),
    [
        (feedback(1), {**ASKED, "text": "Cut it short.", "rating": 1, **WHEN}),
        (feedback("-1"), {**ASKED, "text": "Cut it short.", "rating": -1, **WHEN}),
        (feedback(1, ["m2"]), {**ASKED, "chosen": "Cut it short.", "rejected": "Leave it.", **WHEN}),
        (feedback(-1, ["m2"]), {**ASKED, "chosen": "Leave it.", "rejected": "Cut it short.", **WHEN}),
        # The arena keeps the models' names from the message.
        (feedback(1, ["hidden"]), {**ASKED, "chosen": "Cut it short.", "rejected": "Leave it.", **WHEN}),
        (feedback(1, ["x", "y"]), {**ASKED, "text": "Cut it short.", "rating": 1, **WHEN}),
    ],
)
def test_feedback_is_a_choice_or_a_rating(row: dict[str, Any], data: dict[str, Any]) -> None:
    assert (Feedback().match(source([row])), Chats().match(source([row]))) == (3, 0)
    assert fields(read(Feedback(), [row])) == [data]


def test_comment_is_a_text_of_the_person() -> None:
    entries = read(Feedback(), [feedback(1, comment="just what I wanted", reason="accurate_information")])
    assert said(entries) == [("user", "just what I wanted")]
    assert authors(entries)["user"].is_called("Mira")
    assert authors(entries)["user"].is_called("m@x.example")


def test_feedback_without_its_texts() -> None:
    rows = [{**feedback(1), "snapshot": None}, feedback(None), {**feedback(1), "user_id": None, "user": None}]
    rows.append({**feedback(1), "user_id": "u2"})
    entries = read(Feedback(), rows)
    assert len(fields(entries)) == 1
    assert passed_over(entries) == {
        "ratings without their texts": 1,
        "feedback without a rating": 1,
        "feedback without an author": 1,
    }
