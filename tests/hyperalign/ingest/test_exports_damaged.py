"""Exports with keys that are missing, null, or of another kind: each is read or refused, and none breaks the reader."""

import copy
import gc
import json
import random
import time
from collections.abc import Callable
from typing import Any

import pytest

from hyperalign.errors import RecordError
from hyperalign.ingest.assistants import FORMATS as ASSISTANTS
from hyperalign.ingest.chats import FORMATS as CHATS
from hyperalign.ingest.interface import Columns, Fields, Format, PassedOver, Utterance

from . import test_assistants, test_chats, test_discord, test_openwebui, test_whatsapp
from .entries import source

FORMS: dict[str, Format] = {form.name: form for form in (*ASSISTANTS, *CHATS)}
EXPORTS: dict[str, Any] = {
    "telegram": {"personal_information": {"user_id": 1}, "chats": {"list": [test_chats.CHAT]}},
    "slack": test_chats.DAY,
    "discord": test_discord.CHANNEL,
    "chatgpt": [test_assistants.conversation()],
    "claude": [test_assistants.CLAUDE],
    "messages": [{"user": "ada", "messages": test_assistants.DIALOG}],
    "sharegpt": [{"conversations": [{"from": "human", "value": "How do I prune a rose?"}]}],
    "openwebui": [test_openwebui.chat()],
    "openwebui-feedback": [test_openwebui.feedback(1, ["m2"], comment="just what I wanted")],
}
BAD = (None, [], {}, "", "x", 0, -1, 1e308, True, [[]], [None], {"": None}, "\u0000", "2023-13-45T99:00:00")


def damage(value: Any, chance: random.Random) -> Any:
    """A copy in which a few values are dropped or replaced."""
    if chance.random() < 0.04:
        return copy.deepcopy(chance.choice(BAD))
    if isinstance(value, dict):
        return {key: damage(each, chance) for key, each in value.items() if chance.random() > 0.03}
    if isinstance(value, list):
        return [damage(each, chance) for each in value if chance.random() > 0.03]
    return value


@pytest.mark.parametrize("name", EXPORTS)
def test_damaged_json_is_read_or_refused(name: str) -> None:
    chance = random.Random(name)
    for _ in range(150):
        data = source(json.dumps(damage(EXPORTS[name], chance)))
        for form in FORMS.values():
            assert form.match(data) in (0, 1, 2, 3)
        for entry in FORMS[name].read(data, Columns()):
            assert isinstance(entry, Utterance | Fields | PassedOver | RecordError)
            if isinstance(entry, Utterance):
                # A text without a name would be taken as the person's.
                assert entry.author
                assert entry.author.name
                assert entry.text.strip()


@pytest.mark.parametrize(
    "text", [test_whatsapp.ANDROID, test_whatsapp.IPHONE, test_discord.TEXT, test_discord.TABLE, "", "[", "{}", "null"]
)
def test_damaged_text_is_read_or_refused(text: str) -> None:
    chance = random.Random(text)
    for _ in range(60):
        letters = [letter for letter in text if chance.random() > 0.02]
        for at in range(len(letters)):
            if chance.random() < 0.01:
                letters[at] = chance.choice("\u200e:-[]<>\"',\n0~")
        data = source("".join(letters) or " x")
        for form in FORMS.values():
            form.match(data)
            for entry in form.read(data, Columns()):
                assert not isinstance(entry, Utterance) or (entry.author and entry.author.name)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_each_export_is_taken_by_its_format_alone(form: Format) -> None:
    taken = {name for name, data in EXPORTS.items() if form.match(source(data)) > 0}
    assert taken == ({form.name} if form.name in EXPORTS else set())


@pytest.mark.parametrize("name", [name for name in EXPORTS if name not in ("messages", "sharegpt")])
@pytest.mark.parametrize("indent", [None, 1])
def test_what_was_cut_off_is_refused_with_what_to_do(name: str, indent: int | None) -> None:
    whole = json.dumps(EXPORTS[name], indent=indent)
    data = source(whole[: -len(whole) // 6])
    taken = [form for form in FORMS.values() if form.match(data) == 3]
    assert [form.name for form in taken] == [name.removesuffix("-feedback")]
    (error,) = taken[0].read(data, Columns())
    assert isinstance(error, RecordError)
    assert "Export it again" in error.remedy


def whatsapp(count: int) -> str:
    return "".join(
        f"01.02.24, 08:{at % 60:02} - {'Mira' if at % 3 else 'Tom'}: a line of words\n" for at in range(count)
    )


def telegram(count: int) -> str:
    one = {
        "type": "message",
        "date": "2024-02-01T08:00:00",
        "from_id": "user1",
        "from": "Mira",
        "text": "some more words",
    }
    messages = [{**one, "id": at, "from_id": f"user{at % 3}", "reply_to_message_id": at - 5} for at in range(count)]
    return json.dumps({"name": "x", "type": "personal_chat", "id": 1, "messages": messages})


def slack(count: int) -> str:
    rows = [
        {"type": "message", "user": f"U{at % 3}", "text": "some more words", "ts": f"{at}.1"} for at in range(count)
    ]
    return json.dumps([{**row, "thread_ts": f"{at - at % 7}.1"} for at, row in enumerate(rows)])


def discord(count: int) -> str:
    rows = [test_discord.message(at, test_discord.MIRA, "some more words") for at in range(count)]
    return json.dumps({"guild": {"id": 1}, "channel": {"id": 1}, "messages": rows})


def chatgpt(count: int) -> str:
    nodes = [
        test_assistants.node(str(at), str(at - 1), "assistant" if at % 2 else "user", "some more words")
        for at in range(count)
    ]
    return json.dumps([{"mapping": {each["id"]: each for each in nodes}, "current_node": str(count - 1)}])


def tags(count: int) -> str:
    return json.dumps([{"role": "user", "content": '</ <a> <b x> ``` """ \' “ : \n > ' * count}])


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("whatsapp", whatsapp),
        ("telegram", telegram),
        ("slack", slack),
        ("discord", discord),
        ("chatgpt", chatgpt),
        ("messages", tags),
    ],
)
def test_time_is_linear_in_the_size(name: str, make: Callable[[int], str]) -> None:
    def measure(count: int) -> float:
        data = source(make(count))
        assert FORMS[name].match(data) >= 2
        took = []
        for _ in range(3):
            # What other tests left to collect is none of its work.
            gc.collect()
            start = time.process_time()
            assert list(FORMS[name].read(data, Columns()))
            took.append(time.process_time() - start)
        return min(took)

    measure(100)
    # Four times the messages take four times the time, sixteen times if every one looks at every other.
    assert measure(16_000) < 9 * measure(4_000) + 0.2
