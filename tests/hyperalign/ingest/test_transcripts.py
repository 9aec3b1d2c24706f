"""Transcripts: each voice is its own, and texts with labels are no transcripts."""

from __future__ import annotations

from pathlib import Path

import pytest

from hyperalign.errors import RecordError
from hyperalign.ingest import read_records
from hyperalign.records import Sample

FERRY, FENCE, BUY = "I took the early ferry home.", "We mended the fence before lunch.", "Buy a new one today please."


def write(tmp_path: Path, text: str, name: str = "talk.txt") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text",
    [
        f"Mira K.: {FERRY}\nTom: {BUY}\nMira K.: {FENCE}\n",
        f"**Mira K.:** {FERRY}\n\n**Tom:** {BUY}\n\n**Mira K.**: {FENCE}\n",
        f"[10:00] <Mira K.> {FERRY}\n[10:01] <tom> {BUY}\n[10:02] <Mira K.> {FENCE}\n",
        f"Mira K.  10:00 AM\n{FERRY}\nTom  10:01 AM\n{BUY}\nMira K.  10:05 AM\n{FENCE}\n",
        f"WEBVTT\n\n1\n00:00:01.000 --> 00:00:03.000\n<v Mira K.>{FERRY}</v>\n\n2\n00:00:04.000 --> 00:00:06.000\n"
        f"<v Tom>{BUY}</v>\n\n3\n00:00:07.000 --> 00:00:09.000\n<v Mira K.>{FENCE}</v>\n",
        f"2024-05-01 10:00 Mira K.: {FERRY}\n2024-05-01 10:01 Tom: {BUY}\n2024-05-01 10:02 Mira K.: {FENCE}\n",
    ],
)
def test_each_voice_is_its_own(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text)
    samples = [record for record in read_records([path], me="Mira K.").records if isinstance(record, Sample)]
    assert [(sample.text, sample.prompt) for sample in samples] == [(FERRY, None), (FENCE, BUY)]
    with pytest.raises(RecordError, match=r"nobody there is 'ada'; 2 people are in it: Mira K. ") as refused:
        read_records([path], user="ada")
    assert "--as text" in refused.value.remedy
    (whole,) = read_records([path], user="ada", format="text").records
    assert isinstance(whole, Sample)
    assert BUY in whole.text, "if one says so"


@pytest.mark.parametrize(
    "text",
    [
        f"Human: {FERRY}\n\nAssistant: {BUY}\n\nHuman: {FENCE}\n",
        f"## You\n{FERRY}\n\n## ChatGPT\n{BUY}\n\n## You\n{FENCE}\n",
        f"Me: {FERRY}\nTom: {BUY}\nMe: {FENCE}\n",
    ],
)
def test_the_one_who_asks_a_model_or_calls_themselves_me_is_the_owner(tmp_path: Path, text: str) -> None:
    reading = read_records([write(tmp_path, text, "talk.md")], user="mira")
    assert [record.text for record in reading.records if isinstance(record, Sample)] == [FERRY, FENCE]


@pytest.mark.parametrize(
    "text",
    [
        f"Dear Tom,\n\n{FERRY} {FENCE}\n\nPS: {BUY}\nNote: bring the ladder.\n",
        f"Monday: {FERRY}\nTuesday: {FENCE}\nWednesday: nothing at all.\n",
        f"# Soup\n\nIngredients: leek, salt.\nTime: an hour.\n\n{FERRY}\n",
        f"He said: go. She said: stay.\nAt 10:30 we left: all of us.\n{FENCE}\n",
    ],
)
def test_a_text_with_labels_is_one_text(tmp_path: Path, text: str) -> None:
    reading = read_records([write(tmp_path, text)], user="mira")
    assert (len(reading.records), reading.files[0].format) == (1, "text or Markdown")


@pytest.mark.parametrize(
    "text",
    [
        f"2024년 3월 1일 오전 9:12, Tom : {BUY}\n2024년 3월 1일 오전 9:13, Mira : {FERRY}\n"
        f"2024년 3월 1일 오후 9:14, Tom : {BUY}\n2024년 3월 1일 오후 9:15, Mira : {FENCE}\n",
        f"[Tom] [오전 9:12] {BUY}\n[Mira] [오전 9:13] {FERRY}\n[Tom] [오후 9:14] {BUY}\n[Mira] [오후 9:15] {FENCE}\n",
        f"[LINE] Tomとのトーク履歴\n保存日時：2024/03/01 10:00\n\n2024/03/01(金)\n"
        f"09:12\tTom\t{BUY}\n09:13\tMira\t{FERRY}\n09:14\tTom\t{BUY}\n09:15\tMira\t{FENCE}\n",
    ],
)
def test_chats_of_east_asian_apps_have_several_voices(tmp_path: Path, text: str) -> None:
    reading = read_records([write(tmp_path, text)], me="Mira", user="mira")
    assert [record.text for record in reading.records if isinstance(record, Sample)] == [FERRY, FENCE]


def test_what_is_copied_from_a_page_of_chatgpt(tmp_path: Path) -> None:
    text = f"You said:\n{FERRY}\nChatGPT said:\n{BUY}\nYou said:\n{FENCE}\nChatGPT said:\n{BUY}\n"
    reading = read_records([write(tmp_path, text)], user="mira")
    assert [record.text for record in reading.records if isinstance(record, Sample)] == [FERRY, FENCE]


def test_names_may_stand_under_the_time(tmp_path: Path) -> None:
    text = (
        f"Mar 01, 2024  9:12:05 AM\nTom\n{BUY}\n\nMar 01, 2024  9:13:05 AM (Read after 5 seconds)\nMe\n{FERRY}\n\n"
        f"Mar 01, 2024 10:12:05 AM\nTom\n{BUY}\n\nMar 01, 2024 10:13:05 AM\nMe\n{FENCE}\n"
    )
    reading = read_records([write(tmp_path, text)], user="mira")
    assert [record.text for record in reading.records if isinstance(record, Sample)] == [FERRY, FENCE]


def test_a_diary_with_times_is_one_text(tmp_path: Path) -> None:
    text = f"March 1, 2024, 09:12\n{FERRY}\n\nMarch 2, 2024, 10:30\n{FENCE}\n\nMarch 3, 2024, 8:05\nRain.\n"
    reading = read_records([write(tmp_path, text)], user="mira")
    assert (len(reading.records), reading.files[0].format) == (1, "text or Markdown")
