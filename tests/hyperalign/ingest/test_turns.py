from datetime import UTC, datetime
from typing import Any

import pytest

from hyperalign.ingest.interface import Author, Utterance
from hyperalign.ingest.turns import Message, Roster, bound_prompt, count_words, gather, own_words, read_time

from .entries import answered, passed_over

ADA, BOB = Author("Ada"), Author("Bob")


def test_own_picture_between_does_not_hide_what_is_answered() -> None:
    chat = [Message(BOB, "where were you then?"), Message(ADA, "", "media"), Message(ADA, "at the sea, look")]
    assert answered(gather(chat))[-1] == ("at the sea, look", "where were you then?")


def test_picture_of_a_third_hides_it() -> None:
    chat = [Message(BOB, "where were you then?"), Message(Author("Lea"), "", "media"), Message(ADA, "what a fine boat")]
    assert answered(gather(chat))[-1] == ("what a fine boat", None)


def test_short_messages_of_one_stretch_are_one_text() -> None:
    chat = [Message(ADA, text) for text in ("no", "never", "ever")] + [Message(BOB, "ok")]
    entries = list(gather(chat))
    assert answered(entries) == [("no\nnever\never", None)]
    assert passed_over(entries) == {"texts of under 3 words": 1}


@pytest.mark.parametrize(
    ("value", "time"),
    [
        (1704056400, datetime(2023, 12, 31, 21, tzinfo=UTC)),
        (1704056400000, datetime(2023, 12, 31, 21, tzinfo=UTC)),
        ("1704056400.0", datetime(2023, 12, 31, 21, tzinfo=UTC)),
        ("2023-12-31T21:00:00Z", datetime(2023, 12, 31, 21, tzinfo=UTC)),
        ("2023-12-31 21:00:00 UTC", datetime(2023, 12, 31, 21, tzinfo=UTC)),
        ("2023-12-31T21:00:00", datetime(2023, 12, 31, 21)),
        *(
            (bad, None)
            for bad in (None, True, "", "soon", -1, 0, float("nan"), float("inf"), 1e300, 10**400, [], "nan")
        ),
    ],
)
def test_times(value: Any, time: datetime | None) -> None:
    assert read_time(value) == time


@pytest.mark.parametrize(
    ("text", "words"),
    [("", 0), ("😂 😂", 0), ("one two", 2), ("汤太淡了", 4), ("नेहा आज आई", 3), ("it's - fine", 2)],
)
def test_words(text: str, words: int) -> None:
    assert count_words(text) == words


def test_own_words_are_without_code_and_quotes() -> None:
    assert own_words("I say\n> he said\n```\ncode\n```\nand I end") == "I say\n\nand I end"
    assert own_words("I say ```code``` and I end\n```\nnever closed") == "I say  and I end"
    assert own_words("a > b, so it stays") == "a > b, so it stays"


def test_prompt_is_the_end_of_a_long_text() -> None:
    text = "word " * 500 + "the question?"
    prompt = bound_prompt(text)
    assert prompt
    assert len(prompt) <= 601
    assert prompt.startswith("…word")
    assert prompt.endswith("the question?")
    assert bound_prompt("x" * 1000) == "…" + "x" * 600


def test_roster_never_lets_a_name_choose_two() -> None:
    roster = Roster()
    roster.add("1", "Ada", "ada_l")
    roster.add("2", "ADA", "countess")
    roster.add("3", "Lea", "ada_l")
    roster.add("4")
    people = roster.authors(owner="3")
    assert [people[key].name for key in "1234"] == ["Ada 1", "ADA 2", "Lea", "4"]
    for name in ("Ada", "ada_l", "countess", "Lea", "1", "2", "3", "4"):
        assert sum(person.is_called(name) for person in people.values()) <= 1, name
    assert people["3"].is_owner
    assert people["2"].is_called("countess")


def test_times_with_and_without_a_zone_can_meet() -> None:
    chat = [
        Message(ADA, "one of two", time=datetime(2024, 1, 1)),
        Message(ADA, "two", time=datetime(2024, 1, 1, tzinfo=UTC)),
    ]
    assert [each.text for each in gather(chat) if isinstance(each, Utterance)] == ["one of two\ntwo"]
