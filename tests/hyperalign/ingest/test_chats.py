import json
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from hyperalign.errors import RecordError
from hyperalign.ingest.chats import Slack, Telegram
from hyperalign.ingest.interface import Utterance
from hyperalign.ingest.source import Source

from .entries import answered, authors, passed_over, read, said, source


def telegram(id: int, who: str | None, name: str | None, text: Any, **more: Any) -> dict[str, Any]:
    more.setdefault("date", f"2023-12-31T21:{id:02}:00")
    return {"id": id, "type": "message", "from": name, "from_id": who, "text": text, **more}


CHAT: dict[str, Any] = {
    "name": "Boat",
    "type": "private_group",
    "id": 77,
    "messages": [
        {"id": 1, "type": "service", "date": "2023-12-31T20:00:00", "actor": "Tom", "actor_id": "user2", "text": ""},
        telegram(2, "user2", "Tom", "When does the ferry leave?", date_unixtime="1704056400"),
        telegram(3, "user1", "Mira", ["early, see ", {"type": "link", "text": "https://a.example"}, " please"]),
        telegram(4, "user1", "Mira", "these are words of Lea", forwarded_from="Lea"),
        telegram(5, "user1", "Mira", "these are words of nobody known", forwarded_from=None),
        telegram(6, "user1", "Mira", "", media_type="sticker", sticker_emoji="x"),
        telegram(7, "user3", "Lea", "I come with a friend", photo="photos/1.jpg"),
        telegram(8, "user1", "Mira", "as I said, early", reply_to_message_id=2),
        telegram(9, "user2", "Tom", [{"type": "blockquote", "text": "as I said, early"}, "fine, then at six"]),
        telegram(10, "user2", "Tom", [{"type": "pre", "text": "ls of a folder"}]),
        telegram(11, "user1", "Mira", "a bot wrote this one", via_bot="@gif"),
        telegram(12, None, None, "nobody wrote this one"),
        telegram(13, "user1", "Mira", "https://example.org"),
    ],
}


def test_telegram_gives_each_their_own_words() -> None:
    entries = read(Telegram(), CHAT)
    assert said(entries) == [
        ("Tom", "When does the ferry leave?"),
        ("Mira", "early, see https://a.example please"),
        ("Lea", "I come with a friend"),
        ("Mira", "as I said, early"),
        ("Tom", "fine, then at six"),
    ]
    assert passed_over(entries) == {
        "system messages": 1,
        "forwarded messages": 2,
        "media": 1,
        "quoted texts": 1,
        "messages through bots": 1,
        "messages without an author": 1,
        "links alone": 1,
    }
    assert dict(answered(entries))["as I said, early"] == "When does the ferry leave?"
    first = next(each for each in entries if isinstance(each, Utterance))
    assert (str(first.time), first.id, first.line) == ("2023-12-31 21:00:00+00:00", "2", 2)


def test_telegram_people_go_by_name_and_id() -> None:
    people = authors(read(Telegram(), CHAT))
    assert people["Mira"].is_called("user1")
    assert people["Mira"].is_called("1")
    assert not any(person.is_owner for person in people.values())


def test_telegram_two_of_one_name_stay_two() -> None:
    messages = [telegram(1, "user1", "Anna", "I am the first Anna"), telegram(2, "user2", "Anna", "and I the other")]
    people = authors(read(Telegram(), {**CHAT, "messages": messages}))
    assert set(people) == {"Anna user1", "Anna user2"}
    assert not any(person.is_called("Anna") for person in people.values())


def test_telegram_one_who_changed_the_name_stays_one() -> None:
    messages = [
        telegram(at, "user1", name, "one of three texts") for at, name in enumerate(["Anna", "Anna B.", "Anna"])
    ]
    ((name, anna),) = authors(read(Telegram(), {**CHAT, "messages": messages})).items()
    assert name == "Anna"
    assert anna.is_called("Anna B.")


def test_telegram_export_of_all_chats_knows_its_owner() -> None:
    whole = {"personal_information": {"user_id": 1}, "chats": {"list": [CHAT, {"type": "saved_messages"}]}}
    assert Telegram().match(source(whole)) == 3
    owners = {name for name, person in authors(read(Telegram(), whole)).items() if person.is_owner}
    assert owners == {"Mira"}


def test_telegram_least_that_tools_write() -> None:
    least = {"messages": [{"type": "message", "date_unixtime": "1544006350", "from": "Ada", "text": "the least of it"}]}
    assert Telegram().match(source(least)) == 3
    assert said(read(Telegram(), least)) == [("Ada", "the least of it")]


def test_telegram_old_ids_and_broken_files() -> None:
    old = {**CHAT, "messages": [{**telegram(1, None, "Anna", "a text of hers"), "from_id": 123}]}
    assert Telegram().match(source(old)) == 3
    assert authors(read(Telegram(), old))["Anna"].is_called("user123")
    (error,) = read(Telegram(), json.dumps(CHAT)[:200])
    assert isinstance(error, RecordError)
    assert "cut off" in str(error)


PROFILE = {"real_name": "Mira Kranz", "display_name": "mira", "name": "mk"}
DAY: list[dict[str, Any]] = [
    {"type": "message", "user": "U1", "ts": "1704056400.000100", "user_profile": PROFILE}
    | {"text": "Hi <@U2>, see <https://x.example/a|the page> &amp; tell <!channel> in <#C1|boats>"},
    {"type": "message", "subtype": "channel_join", "user": "U2", "text": "<@U2> has joined", "ts": "1704056401.000100"},
    {"type": "message", "user": "U2", "ts": "1704056402.000100", "thread_ts": "1704056400.000100"}
    | {"text": "&gt; Hi see the page\nI have seen it already\n```\nrm -r boats\n```"},
    {"type": "message", "bot_id": "B1", "text": "the deploy is done", "ts": "1704056403.000100"},
    {"type": "message", "user": "U1", "text": "thank you for that", "ts": "1704056404.000100"}
    | {"thread_ts": "1704056400.000100"},
    {"type": "message", "user": "U1", "text": "", "files": [{}], "ts": "1704056405.000100", "subtype": "file_share"},
    {"type": "message", "user": "USLACKBOT", "text": "do not forget the boat", "ts": "1704056405.500100"},
    {"type": "message", "user": "U1", "text": "<https://x.example/a>", "ts": "1704056406.000100"},
    {"type": "message", "user": "U2", "ts": "1704057000.000100"}
    | {"text": "my own first line\n&gt;&gt;&gt; all of this\nis of somebody else"},
]


def test_slack_gives_each_their_own_words() -> None:
    entries = read(Slack(), DAY)
    assert sorted(said(entries)) == [
        ("Mira Kranz", "Hi @U2, see the page & tell @channel in #boats"),
        ("Mira Kranz", "thank you for that"),
        ("U2", "I have seen it already"),
        ("U2", "my own first line"),
    ]
    assert passed_over(entries) == {"system messages": 1, "bot messages": 2, "media": 1, "links alone": 1}


def test_slack_thread_answers_its_first_message() -> None:
    prompts = dict(answered(read(Slack(), DAY)))
    assert prompts["I have seen it already"] == "Hi @U2, see the page & tell @channel in #boats"
    assert prompts["thank you for that"] == "I have seen it already"


def test_slack_names_lie_beside_the_channel(tmp_path: Path) -> None:
    (tmp_path / "boats").mkdir()
    users = [{"id": "U2", "team_id": "T", "name": "tom", "profile": {"real_name": "Tom Berg", "email": "t@x.example"}}]
    (tmp_path / "users.json").write_text(json.dumps(users))
    path = tmp_path / "boats" / "2023-12-31.json"
    path.write_text(json.dumps(DAY))
    people = authors(read(Slack(), source(DAY, path=path)))
    assert set(people) == {"Mira Kranz", "Tom Berg"}
    assert people["Tom Berg"].is_called("t@x.example")
    assert people["Tom Berg"].is_called("U2")
    assert people["Mira Kranz"].is_called("@mira")


def test_slack_names_lie_in_the_archive(tmp_path: Path) -> None:
    path = tmp_path / "export.zip"
    with ZipFile(path, "w") as archive:
        archive.writestr("users.json", json.dumps([{"id": "U2", "profile": {"real_name": "Tom Berg"}}]))
        archive.writestr("boats/2023-12-31.json", json.dumps(DAY))
    with ZipFile(path) as archive:
        day = Source("2023-12-31.json", json.dumps(DAY).encode(), None, archive, "boats/2023-12-31.json")
        assert set(authors(read(Slack(), day))) == {"Mira Kranz", "Tom Berg"}


def test_slack_damaged_names_are_done_without(tmp_path: Path) -> None:
    (tmp_path / "users.json").write_text("[{")
    assert "U2" in authors(read(Slack(), source(DAY, path=tmp_path / "2023-12-31.json")))


def test_slack_history_comes_newest_first() -> None:
    assert Slack().match(source({"ok": True, "messages": DAY[::-1]})) == 3
    assert sorted(answered(read(Slack(), {"ok": True, "messages": DAY[::-1]}))) == sorted(answered(read(Slack(), DAY)))


@pytest.mark.parametrize(
    "row",
    [
        {"id": "U1", "team_id": "T", "name": "mk", "profile": {}},
        {"id": "C1", "name": "boats", "created": 1, "creator": "U1", "members": ["U1"]},
        {"service_type": "x", "app_type": "y", "change_type": "added", "user_id": "U1"},
    ],
)
def test_slack_lists_have_no_messages(row: dict[str, Any]) -> None:
    assert Slack().match(source([row])) == 3
    assert passed_over(read(Slack(), [row])) == {"no messages in it": 1}


@pytest.mark.parametrize(
    "data",
    [
        [{"user": "ada", "text": "a record of hers"}],
        {"messages": [{"role": "user", "content": "a turn of hers"}]},
        [{"author": "u_0", "text": "a post of hers", "created_utc": 1588615855}],
    ],
)
def test_other_json_is_not_taken(data: Any) -> None:
    assert Slack().match(source(data)) == 0
    assert Telegram().match(source(data)) == 0


def test_telegram_passes_over_deleted_accounts() -> None:
    gone = telegram(2, "user9", None, "words of somebody who left")
    entries = read(Telegram(), {"messages": [telegram(1, "user7", "Mira", "I row today, at noon."), gone]})
    assert said(entries) == [("Mira", "I row today, at noon.")]
    assert passed_over(entries) == {"texts of deleted accounts": 1}
