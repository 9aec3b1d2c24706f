from typing import Any

import pytest

from hyperalign.ingest.discord import Discord
from hyperalign.ingest.interface import Utterance

from .entries import answered, authors, passed_over, read, said, source

FORM = Discord()
MIRA = {"id": "11", "name": "mira", "discriminator": "0001", "nickname": "Mira", "isBot": False}
TOM = {"id": "22", "name": "tom", "discriminator": "0000", "nickname": None, "isBot": False}


def message(id: int, author: dict[str, Any], content: str, **more: Any) -> dict[str, Any]:
    stamp = f"2023-12-31T21:{id:02}:09.1234567+00:00"
    return {"id": str(id), "type": "Default", "timestamp": stamp, "content": content, "author": author, **more}


CHANNEL: dict[str, Any] = {
    "guild": {"id": "1", "name": "Boats"},
    "channel": {"id": "2", "name": "harbor"},
    "messages": [
        message(1, MIRA, "hello <@22>, <a:wave:99> to all of you <#5>"),
        message(2, TOM, "> hello\nhi there to you", type="Reply", reference={"messageId": "1"}),
        message(3, TOM, "Joined the server.", type="GuildMemberJoin"),
        message(4, {"id": "33", "name": "rank", "isBot": True}, "you are level three"),
        message(5, MIRA, "", attachments=[{"id": "1"}]),
        message(6, TOM, "words of somebody else", reference={"messageId": "9", "type": "Forward"}),
        message(7, TOM, "", forwardedMessage={"content": "words of somebody else"}),
        message(8, MIRA, "> words of somebody else"),
        message(9, MIRA, "so it goes, says he", type="Reply", reference={"messageId": "2"}),
        message(10, TOM, "my first line is this\n>>> all of that\nis quoted"),
    ],
}
LINE = "=" * 62
TEXT = f"""\
{LINE}
Guild: Boats
Channel: Text Channels / harbor
{LINE}

[31-Dec-23 09:05 PM] mira#0001
hello to all of you

second paragraph, [x] marks it
[not a date] tom#0002

[31-Dec-23 09:06 PM] tom#0002 (pinned)
hi there to you

{{Attachments}}
https://cdn.example/a.png

[31-Dec-23 09:07 PM] tom#0002
Joined the server.

[31-Dec-23 09:08 PM] mira#0001

{{Forwarded Message}}
words of somebody else

{LINE}
Exported 4 message(s)
{LINE}
"""
TABLE = """\
AuthorID,Author,Date,Content,Attachments,Reactions
"11","mira#0001","31-Dec-23 09:05 PM","hello, to
all of ""you\""","",""
"22","tom","01-Jan-24 09:05 AM","and the same to you","","x (1)"
"22","tom","01-Jan-24 09:06 AM","","https://cdn.example/a.png",""
"""


def test_channel_gives_each_their_own_words() -> None:
    entries = read(FORM, CHANNEL)
    assert FORM.match(source(CHANNEL)) == 3
    assert said(entries) == [
        ("Mira", "hello @tom, :wave: to all of you"),
        ("tom", "hi there to you"),
        ("Mira", "so it goes, says he"),
        ("tom", "my first line is this"),
    ]
    assert passed_over(entries) == {
        "system messages": 1,
        "bot messages": 1,
        "media": 1,
        "forwarded messages": 2,
        "quoted texts": 1,
    }
    assert dict(answered(entries))["so it goes, says he"] == "hi there to you"
    first = next(each for each in entries if isinstance(each, Utterance))
    assert str(first.time) == "2023-12-31 21:01:09.123456+00:00"


def test_people_go_by_nickname_name_and_id() -> None:
    mira = authors(read(FORM, CHANNEL))["Mira"]
    assert all(mira.is_called(name) for name in ("mira", "Mira", "@mira", "mira#0001", "11"))


def test_text_form() -> None:
    entries = read(FORM, TEXT)
    assert FORM.match(source(TEXT, "harbor.txt")) == 3
    assert said(entries) == [
        ("mira", "hello to all of you\n\nsecond paragraph, [x] marks it\n[not a date] tom#0002"),
        ("tom", "hi there to you"),
    ]
    assert passed_over(entries) == {"system messages": 1, "forwarded messages": 1}
    assert authors(entries)["mira"].is_called("mira#0001")


def test_table() -> None:
    entries = read(FORM, TABLE)
    assert FORM.match(source(TABLE, "harbor.csv")) == 3
    assert said(entries) == [("mira", 'hello, to\nall of "you"'), ("tom", "and the same to you")]
    assert passed_over(entries) == {"media": 1}
    assert [each.line for each in entries if isinstance(each, Utterance)] == [2, 4]
    assert authors(entries)["tom"].is_called("22")


def test_two_of_one_name_stay_two() -> None:
    entries = read(FORM, TEXT.replace("tom#0002", "mira#0002"))
    assert [name for name, _ in said(entries)] == ["mira mira#0001", "mira mira#0002"]
    assert not any(person.is_called("mira") for person in authors(entries).values())


@pytest.mark.parametrize(
    ("date", "iso"),
    [
        ("31-Dec-23 09:05 PM", "2023-12-31 21:05:00"),
        ("12/31/2023 9:05 PM", "2023-12-31 21:05:00"),
        ("31/12/2023 21:05", "2023-12-31 21:05:00"),
        ("31.12.2023 21:05", "2023-12-31 21:05:00"),
        ("2023-12-31T21:05:00.1230000+01:00", "2023-12-31 21:05:00.123000+01:00"),
        ("1704056400", "2023-12-31 21:00:00+00:00"),
        ("sometime", "None"),
    ],
)
def test_every_form_of_dates(date: str, iso: str) -> None:
    (entry,) = read(
        FORM, f'AuthorID,Author,Date,Content,Attachments,Reactions\n"1","m","{date}","a text of hers","",""'
    )
    assert isinstance(entry, Utterance)
    assert str(entry.time) == iso


@pytest.mark.parametrize(
    "data",
    [
        [
            {"ID": 2, "Timestamp": "2023-12-31 21:05:09", "Contents": "hello <@22> to all of you", "Attachments": ""},
            {"ID": 1, "Timestamp": "2023-12-30 21:05:09", "Contents": "older words of mine", "Attachments": ""},
        ],
        "ID,Timestamp,Contents,Attachments\n2,2023-12-31 21:05:09,hello <@22> to all of you,\n"
        "1,2023-12-30 21:05:09,older words of mine,\n",
    ],
)
def test_data_package_is_its_owners(data: Any) -> None:
    entries = read(FORM, data)
    assert FORM.match(source(data)) == 3
    assert said(entries) == [("me", "older words of mine"), ("me", "hello @someone to all of you")]
    assert authors(entries)["me"].is_owner


def test_other_files_are_not_taken() -> None:
    assert FORM.match(source("user,text\nmira,a text of hers", "posts.csv")) == 0
    assert FORM.match(source({"messages": [{"role": "user", "content": "x"}]})) == 0
