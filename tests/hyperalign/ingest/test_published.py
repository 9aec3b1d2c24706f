"""Reddit's dumps and LaMP's profiles: each text is its author's, and what they quote is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hyperalign.errors import RecordError
from hyperalign.ingest import Reading, read_everyone, read_records
from hyperalign.records import Sample

FAULTS = Path(__file__).resolve().parents[4] / "shared" / "data" / "faults"


def read(tmp_path: Path, content: Any, name: str = "rows.jsonl", **options: Any) -> Reading:
    path = tmp_path / name
    path.write_text("\n".join(map(json.dumps, content)) if name.endswith("l") else json.dumps(content))
    return read_records([path], **options)


def answered(reading: Reading) -> list[tuple[str, str | None]]:
    return [(record.text, record.prompt) for record in reading.records if isinstance(record, Sample)]


def comment(author: Any, body: str, **more: Any) -> dict[str, Any]:
    return {
        "id": "k1",
        "author": author,
        "body": body,
        "created_utc": 1588615855,
        "subreddit": "herbs",
        "score": 3,
        **more,
    }


COMMENTS = [
    comment("mira_k", "&gt; Is sage a tree?\n\nNo, but it &amp; mint grow like one."),
    comment("tom", "Buy a new one today please"),
    comment("[deleted]", "Gone words of nobody."),
    comment("mira_k", "[removed]"),
    comment("AutoModerator", "I am a bot, and this was done by itself."),
    {
        "id": "k1",
        "author": "mira_k",
        "title": "Sage in winter",
        "selftext": "It stands under the stairs.",
        "subreddit": "herbs",
    },
]


@pytest.mark.parametrize("me", ["mira_k", "u/mira_k", "/u/Mira_K"])
def test_comments_and_posts_are_their_authors(tmp_path: Path, me: str) -> None:
    reading = read(tmp_path, COMMENTS, me=me, user="mira")
    assert answered(reading) == [
        ("No, but it & mint grow like one.", "Is sage a tree?"),
        ("It stands under the stairs.", "Sage in winter"),
    ]
    assert reading.files[0].passed_over == {
        "texts of deleted accounts": 1,
        "deleted or empty texts": 1,
        "texts of bots": 1,
    }
    assert reading.records[0].time is not None
    listing = {"data": {"children": [{"kind": "t1", "data": each} for each in COMMENTS]}}
    assert answered(read(tmp_path, listing, "listing.json", me=me, user="mira")) == answered(reading)


def test_ones_own_export_of_reddit_names_nobody(tmp_path: Path) -> None:
    path = tmp_path / "comments.csv"
    path.write_text(
        "id,permalink,date,subreddit,body,media\nk1,/r/herbs/1,2024-05-01 10:00:00 UTC,herbs,Sage is no tree.,\n"
    )
    (record,) = read_records([path], user="mira").records
    assert isinstance(record, Sample)
    assert (record.text, record.time is not None) == ("Sage is no tree.", True)
    with pytest.raises(RecordError, match="nothing says whose"):
        read_records([path])


def item(name: Any, *profile: dict[str, Any]) -> dict[str, Any]:
    return {"id": name, "input": "Write a title for it.", "profile": [{"id": "0", **each} for each in profile]}


def test_each_profile_is_of_one_person_and_asks_for_which(tmp_path: Path) -> None:
    items = [
        item("110", {"text": "The fence was mended before lunch.", "title": "A fence"}),
        item("111", {"abstract": "We measure how herbs dry.", "title": "Drying"}, {"text": "Nice soup.", "score": "5"}),
        item(112, {"description": "A dog finds a porch.", "tag": "comedy"}),
    ]
    assert answered(read(tmp_path, items, "questions.json", user="110")) == [
        ("The fence was mended before lunch.", "A fence")
    ]
    assert answered(read(tmp_path, items, "questions.json", me="111", user="ada")) == [
        ("We measure how herbs dry.", "Drying"),
        ("Nice soup.", None),
    ]
    with pytest.raises(RecordError, match=r"2 people are in it: 111 \(2 texts\), 110 \(1 text\)"):
        read(tmp_path, items, "questions.json")
    assert [user for user, _ in read_everyone([tmp_path / "questions.json"])] == ["110", "111"]
    with pytest.raises(RecordError, match="no profile") as refused:
        read(tmp_path, {"task": "LaMP_4", "golds": [{"id": "110", "output": "A fence"}]}, "outputs.json", user="110")
    assert "questions" in refused.value.remedy


def test_three_authors_are_never_one() -> None:
    if not FAULTS.is_dir():
        pytest.skip("the examples are no part of the project, and are not here")
    path = FAULTS / "three_authors.jsonl"
    with pytest.raises(RecordError, match="nobody there is 'A0'; 3 people are in it: u_0") as refused:
        read_records([path], user="A0")
    assert '--me "u_0" --user "A0"' in refused.value.remedy
    reading = read_records([path], me="u_0", user="A0")
    assert {record.user for record in reading.records} == {"A0"}
    theirs = [json.loads(line)["text"] for line in path.read_text().splitlines() if '"u_0"' in line]
    assert [text for text, _ in answered(reading)] == theirs


def test_a_page_of_reddit_is_a_post_and_the_comments_under_it(tmp_path: Path) -> None:
    inner = {"kind": "t1", "data": {"author": "tom", "body": "No hemp for me.", "id": "d", "replies": ""}}
    replies = {"kind": "Listing", "data": {"children": [inner, {"kind": "more", "data": {"children": ["x"]}}]}}
    outer = {"kind": "t1", "data": {"author": "mira", "body": "Hemp, always hemp.", "id": "c", "replies": replies}}
    post = {"kind": "t3", "data": {"author": "tom", "title": "Rope?", "selftext": "Which rope lasts?", "id": "p"}}
    page = [{"kind": "Listing", "data": {"children": each}} for each in ([post], [outer])]
    reading = read(tmp_path, page, "page.json", user="mira")
    assert answered(reading) == [("Hemp, always hemp.", None)]
    assert reading.files[0].authors == {"tom": {"texts": 2}, "mira": {"texts": 1}}
