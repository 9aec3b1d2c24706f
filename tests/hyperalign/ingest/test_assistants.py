import json
from typing import Any

import pytest

from hyperalign.errors import RecordError
from hyperalign.ingest.assistants import ChatGPT, Claude, Messages, ShareGPT
from hyperalign.ingest.interface import Utterance
from hyperalign.ingest.typed import typed_words

from .entries import answered, authors, passed_over, read, said, source


def node(id: str, parent: str | None, role: str, *parts: Any, time: float = 0, **more: Any) -> dict[str, Any]:
    content = {"content_type": "text", "parts": list(parts)}
    message = {"id": id, "author": {"role": role}, "create_time": time, "content": content, "metadata": {}, **more}
    return {"id": id, "parent": parent, "children": [], "message": message}


def conversation(**more: Any) -> dict[str, Any]:
    instructions = {"content_type": "user_editable_context", "user_profile": "I am called Mira and keep boats"}
    nodes = [
        {"id": "root", "message": None, "parent": None, "children": ["about"]},
        node("about", "root", "user", content=instructions),
        node("1", "about", "user", "How do I prune a rose?", time=1704056400.5),
        node("2", "1", "assistant", "Cut it short.", time=1704056401),
        node("2b", "1", "assistant", "Leave it as it is.", time=1704056402),
        node("3", "2", "user", {"content_type": "image_asset_pointer"}, "and what of winter then", time=1704056403),
        node("3b", "2", "user", "a turn she edited away", time=1704056404),
        node("4", "3", "assistant", "search(roses)", time=1704056405, recipient="browser"),
        node("5", "4", "tool", "words of a web page", time=1704056406),
        node("6", "5", "assistant", "Cover it with straw.", time=1704056407, recipient="all"),
        node("7", "6", "user", {"content_type": "audio_asset_pointer"}, time=1704056408),
        node("8", "7", "user", "a hidden turn of hers", metadata={"is_visually_hidden_from_conversation": True}),
        node("9", "8", "user", "thank you, that will do", time=1704056409),
    ]
    return {"title": "Roses", "mapping": {each["id"]: each for each in nodes}, "current_node": "9", **more}


def test_chatgpt_reads_the_active_branch() -> None:
    entries = read(ChatGPT(), [conversation()])
    assert ChatGPT().match(source([conversation()])) == 3
    assert answered(entries) == [
        ("How do I prune a rose?", None),
        ("and what of winter then", "Cut it short."),
        ("thank you, that will do", "Cover it with straw."),
    ]
    assert passed_over(entries) == {
        "custom instructions": 1,
        "turns of other branches": 1,
        "pictures, voice and files": 1,
        "hidden messages": 1,
    }


def test_chatgpt_is_its_owners() -> None:
    ((_, owner),) = authors(read(ChatGPT(), [conversation()])).items()
    assert owner.is_owner
    assert owner.is_called("me")


def test_chatgpt_without_a_current_node_ends_at_the_newest() -> None:
    longer = conversation(current_node=None)
    longer["mapping"]["3b"]["message"]["create_time"] = 1804056400
    assert [text for _, text in said(read(ChatGPT(), longer))] == ["How do I prune a rose?", "a turn she edited away"]


def test_chatgpt_with_a_circle_ends() -> None:
    circle = conversation()
    circle["mapping"]["root"]["parent"] = "9"
    assert len(said(read(ChatGPT(), circle))) == 3


def test_chatgpt_by_lines_and_a_bad_line() -> None:
    lines = json.dumps(conversation()) + "\n{broken\n" + json.dumps(conversation())
    assert ChatGPT().match(source(lines, "conversations.jsonl")) == 3
    entries = read(ChatGPT(), lines)
    assert len(said(entries)) == 6
    assert sum(isinstance(each, RecordError) and each.line == 2 for each in entries) == 1


CLAUDE: dict[str, Any] = {
    "uuid": "c",
    "name": "Roses",
    "account": {"uuid": "acc"},
    "chat_messages": [
        {"uuid": "1", "sender": "human", "text": "How do I prune a rose?", "created_at": "2024-01-01T08:00:00.123456Z"}
        | {"attachments": [{"extracted_content": "words of somebody else in a file"}], "content": []},
        {"uuid": "2", "sender": "assistant", "text": "", "content": [{"type": "thinking", "thinking": "hm"}]}
        | {"content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Cut it short."}]},
        {"uuid": "3", "sender": "human", "text": "old", "content": [{"type": "text", "text": "and what of winter"}]},
        {"uuid": "4", "sender": "human", "text": "", "files": [{"file_name": "a.png"}]},
    ],
}


def test_claude_reads_the_owners_turns() -> None:
    entries = read(Claude(), [CLAUDE])
    assert Claude().match(source([CLAUDE])) == 3
    assert answered(entries) == [("How do I prune a rose?", None), ("and what of winter", "Cut it short.")]
    assert passed_over(entries) == {"pictures, voice and files": 1}
    assert str(next(each for each in entries if isinstance(each, Utterance)).time) == "2024-01-01 08:00:00.123456+00:00"
    assert authors(entries)["user"].is_called("acc")


def test_claude_reads_the_branch_of_the_last_message() -> None:
    root = "00000000-0000-4000-8000-000000000000"
    turns = [("1", root, "human", "How do I prune a rose?"), ("2", "1", "assistant", "Cut it short.")]
    turns += [("3", "2", "human", "a turn she edited away"), ("4", "2", "human", "and what of winter then")]
    messages = [
        {"uuid": id, "parent_message_uuid": parent, "sender": who, "text": text} for id, parent, who, text in turns
    ]
    entries = read(Claude(), [{**CLAUDE, "chat_messages": messages}])
    assert [text for _, text in said(entries)] == ["How do I prune a rose?", "and what of winter then"]
    assert passed_over(entries) == {"turns of other branches": 1}
    named = read(Claude(), [{**CLAUDE, "chat_messages": messages, "current_leaf_message_uuid": "3"}])
    assert [text for _, text in said(named)][-1] == "a turn she edited away"


def test_claude_of_two_accounts_has_no_owner() -> None:
    people = authors(read(Claude(), [CLAUDE, {**CLAUDE, "account": {"uuid": "other"}}]))
    assert set(people) == {"acc", "other"}
    assert not any(person.is_owner for person in people.values())


DIALOG = [
    {"role": "system", "content": "You are of great help to all."},
    {"role": "user", "content": "How do I prune a rose?"},
    {"role": "assistant", "content": "Cut it short."},
    {"role": "user", "content": [{"type": "text", "text": "and what of winter"}, {"type": "image_url"}]},
    {"role": "assistant", "content": None, "tool_calls": [{}]},
    {"role": "tool", "content": "words of a web page"},
    {"role": "user", "content": [{"type": "tool_result", "content": "words of a tool"}]},
]
OWN = [("How do I prune a rose?", None), ("and what of winter", "Cut it short.")]


@pytest.mark.parametrize(
    "data",
    [
        json.dumps({"messages": DIALOG}),
        json.dumps({"messages": DIALOG}, indent=1),
        json.dumps([{"messages": DIALOG}]),
        json.dumps(DIALOG),
        json.dumps([DIALOG]),
        "\n".join(map(json.dumps, DIALOG)),
        json.dumps({"conversation_id": "x", "conversation": DIALOG}),
        json.dumps({"custom_id": "1", "url": "/v1/chat/completions", "body": {"model": "m", "messages": DIALOG}}),
    ],
)
def test_messages_in_every_wrapping(data: str) -> None:
    assert Messages().match(source(data)) == 3
    entries = read(Messages(), data)
    assert answered(entries) == OWN
    assert authors(entries)["user"].is_owner


def test_messages_of_several_users() -> None:
    turn = {"role": "user", "content": "a turn of one of them"}
    rows = [{"user": "ada", "messages": [turn]}, {"messages": [turn]}, {"user_id": 7, "messages": [turn]}]
    rows.append({"user": "ada", "messages": [{**turn, "name": "eve"}]})
    entries = read(Messages(), rows)
    assert [name for name, _ in said(entries)] == ["ada", "7", "eve"]
    assert passed_over(entries) == {"turns without an author": 1}
    assert not any(person.is_owner for person in authors(entries).values())


def test_turns_without_a_time_have_that_of_the_conversation() -> None:
    (entry, _) = (
        each
        for each in read(Messages(), [{"messages": DIALOG, "created_at": 1704056400}])
        if isinstance(each, Utterance)
    )
    assert str(entry.time) == "2023-12-31 21:00:00+00:00"


def test_messages_in_named_columns() -> None:
    rows = [{"who": {"id": "ada"}, "data": {"turns": DIALOG}}, {"who": {"id": "ada"}, "data": None}]
    entries = read(Messages(), rows, {"user": "who.id", "messages": "data.turns"})
    assert answered(entries) == OWN
    assert set(authors(entries)) == {"ada"}
    assert passed_over(entries)["rows without a dialog"] == 1


@pytest.mark.parametrize(
    "row",
    [
        {"messages": DIALOG, "chosen": DIALOG, "rejected": DIALOG},
        {"user": "ada", "text": "a record of hers"},
        {"messages": []},
        {"messages": [{"role": "the baker", "content": "of a play"}]},
        {"conversations": [{"from": "human", "value": "x"}], "rating": 1},
    ],
)
def test_other_rows_are_not_taken(row: dict[str, Any]) -> None:
    assert Messages().match(source([row])) == 0
    assert ShareGPT().match(source([row])) == 0


@pytest.mark.parametrize("human", ["human", "user"])
def test_sharegpt(human: str) -> None:
    turns = [(human, "How do I prune a rose?"), ("gpt", "Cut it short."), (human, "and what of winter")]
    rows = [{"id": "x", "conversations": [{"from": who, "value": text} for who, text in turns]}]
    assert (ShareGPT().match(source(rows)), Messages().match(source(rows))) == (3, 0)
    assert answered(read(ShareGPT(), rows)) == OWN


LONG = "it was said by somebody else in a letter of long ago " * 8


@pytest.mark.parametrize(
    ("turn", "typed"),
    [
        ("Mend this, please\n```\nx = 1\n```\nand tell me why", "Mend this, please\n\nand tell me why"),
        ("> he wrote this\nWhat do I answer to him?", "What do I answer to him?"),
        ('Make this shorter, please """' + LONG + '"""', "Make this shorter, please"),
        (
            "Make this shorter: <letter>\n" + LONG + "</letter> and keep his name",
            "Make this shorter:  and keep his name",
        ),
        ("Translate this into German:\n\n" + LONG, "Translate this into German:"),
        (f"Tell me what “{LONG}” may mean to him", "Tell me what  may mean to him"),
        ("word " * 401, ""),
    ],
)
def test_what_is_pasted_is_left_out(turn: str, typed: str) -> None:
    assert typed_words(turn) == (typed, True)
    entries = read(Messages(), [{"role": "user", "content": turn}])
    assert [text for _, text in said(entries)] == ([typed] if typed else [])
    assert passed_over(entries) == {"pasted texts": 1}


@pytest.mark.parametrize(
    "turn",
    [
        "I need three things:\nflour, salt and time",
        'What does "to mend" mean here?',
        "is 3 < 4 and 5 > 4, or <b> what?",
        "word " * 400,
    ],
)
def test_what_is_typed_stays(turn: str) -> None:
    assert typed_words(turn) == (turn.strip(), False)


def test_chatgpt_reads_what_was_said_by_voice() -> None:
    def spoken(text: str) -> list[dict[str, Any]]:
        return [
            {"content_type": "audio_transcription", "text": text, "direction": "in"},
            {"content_type": "real_time_user_audio_video_asset_pointer", "audio_asset_pointer": {}},
        ]

    nodes = [
        node("1", "root", "user", *spoken("When does the ferry leave?"), time=1704056400),
        node("2", "1", "assistant", *spoken("At ten past six."), time=1704056401),
        node("3", "2", "user", *spoken("Then I take the bus."), time=1704056402),
    ]
    entries = read(ChatGPT(), [{"mapping": {each["id"]: each for each in nodes}, "current_node": "3"}])
    assert answered(entries) == [
        ("When does the ferry leave?", None),
        ("Then I take the bus.", "At ten past six."),
    ]


@pytest.mark.parametrize("whose", [{"hashed_ip": "ab12"}, {"user_name": "ab12"}, {"metadata": {"user_id": "ab12"}}])
def test_dialogs_of_several_people_are_told_apart_by_their_columns(whose: dict[str, Any]) -> None:
    asked = {"role": "user", "content": "How deep is the harbor?"}
    entries = read(Messages(), json.dumps({**whose, "messages": [asked]}))
    assert said(entries) == [("ab12", "How deep is the harbor?")]
