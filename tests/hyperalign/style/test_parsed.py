"""Texts come apart where a reader would take them apart."""

from __future__ import annotations

import pytest

from hyperalign.style.parsed import parse, words_of


def lengths(text: str) -> list[int]:
    return [len(sentence) for sentence in parse(text).sentences]


def test_words_keep_numbers_apostrophes_and_hyphens_together() -> None:
    assert words_of("Don’t pay 8,200.50 at 4:45, well-kept 3rd.") == [
        "Don't",
        "pay",
        "8,200.50",
        "at",
        "4:45",
        "well-kept",
        "3rd",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One two. Three four five! Six?", [2, 3, 1]),
        ("Mr. Smith met Dr. J. Jones in the U.S. Senate. He left.", [10, 2]),
        ("It cost 3.50 at noon. No more.", [5, 2]),
        ('"Come in," she said. "Sit down." He sat.', [4, 2, 2]),
        ("Well... perhaps not. Yes.", [3, 1]),
        ("No. I won't. So said I. He lives at No. 9 now.", [1, 2, 3, 6]),
        ("no punctuation at all", [4]),
        ("1998. First year.", [1, 2]),
        ("我来了。你呢？", [3, 2]),
        ("", []),
        ("...", []),
    ],
)
def test_sentences(text: str, expected: list[int]) -> None:
    assert lengths(text) == expected


def test_list_items_are_sentences_of_their_own_and_lose_their_markers() -> None:
    parsed = parse("Do this:\n1. Call Ann\n2) Call Bob\n- Rest\n* Eat")
    assert parsed.list_items == 4
    assert [len(sentence) for sentence in parsed.sentences] == [2, 2, 2, 1, 1]
    assert "1" not in parsed.words


def test_lines_wrapped_at_a_column_are_one_sentence() -> None:
    text = (
        "This is a letter that some old program has broken at a fixed column, so\n"
        "that every line but the last is about as long as the others, and none of\n"
        "them ends where a sentence ends."
    )
    assert lengths(text) == [len(text.split())]
    assert len(parse(text).paragraphs) == 1


def test_paragraphs_are_split_at_blank_lines_and_at_lines_of_whole_prose() -> None:
    assert parse("One two three.\n\nFour five.").paragraphs == [3, 2]
    line = "This line is a whole paragraph of prose in itself."
    assert parse(f"{line}\n{line}").paragraphs == [10, 10]


@pytest.mark.parametrize(
    ("text", "greeting", "sign_off"),
    [
        ("Dear Ruth,\n\nI came home.\n\nWith much love,\nAda", True, True),
        ("Marta,\n\nI came home today.\n\n-- Jo", True, True),
        ("Hi Tom, thanks for the note. I will come.", True, False),
        ("I came home today.\n\nThanks,\nJo", False, True),
        ("I came home.\n\nIt was late.", False, False),
        ("Dear", True, False),
    ],
)
def test_greeting_and_sign_off(text: str, greeting: bool, sign_off: bool) -> None:
    parsed = parse(text)
    assert (parsed.greeting, parsed.sign_off) == (greeting, sign_off)


def test_greeting_sign_off_and_headings_are_no_sentences() -> None:
    assert lengths("# My title\n\nDear Ruth,\n\nI came home.\n\nLove,\nAda")[-1] == 3
    assert lengths("Dear Ruth,\n\nI came home.\n\nLove,\nAda") == [3]
    assert lengths("# My title\n\nI came home.") == [3]
