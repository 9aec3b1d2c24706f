"""Text and Markdown files as one person's words."""

from __future__ import annotations

import pytest

from hyperalign.errors import RecordError
from hyperalign.ingest.interface import Columns, Entry, PassedOver, Utterance
from hyperalign.ingest.plain import FORMATS
from hyperalign.ingest.source import Source

(PLAIN,) = FORMATS


def read(content: str | bytes, name: str = "letter.txt") -> list[Entry]:
    data = content if isinstance(content, bytes) else content.encode()
    return list(PLAIN.read(Source(name, data), Columns()))


@pytest.mark.parametrize("name", ["letter.txt", "notes.md", "NOTES.TXT", "README", "-", "diary.2024", "a.markdown"])
def test_any_readable_text_may_be_one(name: str) -> None:
    assert PLAIN.match(Source(name, b"I mended the gate.")) == 1


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.json", b"{"),
        ("a.csv", b"a,b"),
        ("a.eml", b"x"),
        ("a.txt", b"\x00\x01\x02"),
        ("a.txt", b""),
        ("-", b'{"user": '),
    ],
)
def test_what_is_named_or_begins_as_something_else_is_none(name: str, data: bytes) -> None:
    assert PLAIN.match(Source(name, data)) == 0


def test_front_matter_is_dropped_and_nobody_is_named() -> None:
    notes = "---\r\ntitle: notes\r\ntags:\r\n  - x\r\n---\r\n# Notes\r\n\r\nThese are her words."
    assert read("\ufeff" + notes, "b.md") == [Utterance(None, "# Notes\n\nThese are her words.")]
    # A line between two rules is no front matter.
    assert read("---\nA motto\n---\nMore of it.") == [Utterance(None, "---\nA motto\n---\nMore of it.")]


def test_a_reply_is_hers_and_answers_what_it_quotes() -> None:
    reply = (
        "I mended the gate before lunch.\n\nOn Mon, Jan 1, 2024 at 9:00 AM Tom wrote:\n> WHERE ARE THE FORMS?!\n> Tom\n"
    )
    passed, utterance = read(reply)
    assert passed == PassedOver("quoted passages", 3)
    assert utterance == Utterance(None, "I mended the gate before lunch.", prompt="WHERE ARE THE FORMS?!\nTom")


def test_an_essay_answers_nobody() -> None:
    passed, utterance = read("---\na: b\n---\nHe put it well:\n\n> The sea\nis flat.\n\nI disagree.", "essay.md")
    assert passed == PassedOver("quoted passages", 6)
    assert utterance == Utterance(None, "He put it well:\n\nI disagree.")


@pytest.mark.parametrize("text", ["Two words", "> all of it is his\n> and his\n", "---\na: b\n---\nTwo words"])
def test_too_little_is_refused(text: str) -> None:
    error = read(text)[-1]
    assert isinstance(error, RecordError)
    assert "too little about anybody" in str(error)
    assert error.remedy


def test_chinese_has_words_without_spaces() -> None:
    assert read("我修好了大门。") == [Utterance(None, "我修好了大门。")]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_encodings(encoding: str) -> None:
    text = "Grüße aus dem Süden, die Straße ist für heute schön geräumt und die Tür geölt."
    assert read(text.encode(encoding)) == [Utterance(None, text)]


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("euc_jp", "港の朝はいつも静かです。わたしは早い船が好きで、毎週それに乗ります。猫は窓辺で眠ります。"),
        ("shift_jis", "港の朝はいつも静かです。わたしは早い船が好きで、毎週それに乗ります。猫は窓辺で眠ります。"),
        ("iso2022_jp", "港の朝はいつも静かです。わたしは早い船が好きです。"),
        ("euc_kr", "나는 아침 배를 좋아합니다. 고양이는 창가에서 자고 이웃은 신문을 읽습니다."),
        ("gb18030", "早上的渡船是港口里最诚实的船。我每个星期都坐它，猫在窗边睡觉，邻居在看报纸。"),
        ("utf-16-be", "Я люблю утренний паром и дождь."),
        ("utf-16-le", "나는 아침 배를 좋아합니다."),
    ],
)
def test_encodings_of_other_scripts(encoding: str, text: str) -> None:
    assert read((text + "\n").encode(encoding)) == [Utterance(None, text)]
