"""Records that are no further evidence: copies, ties, contradictions, and choices about one question."""

from __future__ import annotations

import json
import random
import unicodedata
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hyperalign.dependence import content_of, drop_repeats, fingerprint, group_dependent, pass_over, weigh
from hyperalign.errors import RecordError
from hyperalign.ingest import read_records
from hyperalign.records import Edit, Pair, Rating, Record, Sample, make_pairs, order_by_time, sort_by_time
from hyperalign.store import Store
from hyperalign.text import plain_form

Form = Literal["NFC", "NFD", "NFKC", "NFKD"]
# Letters with and without accents, a ligature and a full-width letter: forms of one text differ.
WORDS = st.lists(st.text("abzéüñåﬁＡ中", min_size=1, max_size=6), min_size=1, max_size=5).map(" ".join)
SPACES = st.sampled_from((" ", "  ", "\t", "\n", "\r\n", "\u00a0", " \u200b"))
FORMS: st.SearchStrategy[Form] = st.sampled_from(("NFC", "NFD", "NFKC", "NFKD"))


def pair(chosen: str, rejected: str, prompt: str = "Why?", **more: object) -> Pair:
    return Pair.model_validate({"user": "ada", "prompt": prompt, "chosen": chosen, "rejected": rejected, **more})


def numbered(count: int) -> list[Record]:
    return [pair(f"Yes, {at}.", f"No, {at}.", f"Why {at}?", id=f"r{at}") for at in range(count)]


def ranking(texts: list[str], prompt: str = "Why?") -> list[Record]:
    return [pair(one, other, prompt) for at, one in enumerate(texts) for other in texts[at + 1 :]]


def written_otherwise(text: str, space: str, form: Form) -> str:
    return unicodedata.normalize(form, f"{space}{space.join(text.split())}{space}")


@settings(deadline=None)
@given(WORDS, WORDS, WORDS, SPACES, FORMS)
def test_spaces_line_breaks_and_unicode_forms_make_no_other_record(
    prompt: str, one: str, other: str, space: str, form: Form
) -> None:
    assume(plain_form(one) != plain_form(other))
    changed = [written_otherwise(text, space, form) for text in (one, other, prompt)]
    known, copy = pair(one, other, prompt), pair(*changed)
    assert fingerprint(known) == fingerprint(copy)
    assert len(drop_repeats([known, copy])) == 1
    sample = Sample(user="ada", text=one, prompt=prompt)
    assert content_of(sample) == content_of(Sample(user="ada", text=changed[0], prompt=changed[2]))


def test_another_word_case_or_sign_is_another_record() -> None:
    texts = ["Cut it short.", "Cut it Short.", "Cut it short!", "Cut it", "Cutit short."]
    assert len({content_of(pair(text, "No.")) for text in texts}) == len(texts)
    assert content_of(pair("a", "b c")) != content_of(pair("a b", "c"))


def test_choices_between_texts_that_read_the_same_teach_nothing() -> None:
    tied = [
        ("Done.", "Done."),
        ("Done.", " Done.\r\n"),
        ("Café", unicodedata.normalize("NFD", "Café")),
        ("a\u200bb", "ab"),
    ]
    for one, other in tied:
        assert list(pass_over([pair(one, other)]).values()) == ["both of its texts say the same"]
    # Layout may be all that was corrected, in either direction.
    laid_out = Edit(user="ada", prompt="Write.", draft="One. Two.", edited="One.\n\nTwo.")
    assert pass_over([laid_out]) == {}
    assert pass_over([laid_out, pair("One. Two.", "One.\n\nTwo.", "Write.", id="back")]).keys() == {laid_out.id, "back"}


@settings(deadline=None)
@given(
    st.permutations(
        [*numbered(4), pair("No, 1.", "Yes, 1.", "Why 1?", id="a"), pair("Yes, 2. ", "No, 2.", "Why 2?", id="z")]
    )
)
def test_what_is_passed_over_does_not_depend_on_the_order(records: list[Record]) -> None:
    assert pass_over(records) == {
        "r1": "another choice contradicts it",
        "a": "another choice contradicts it",
        "z": "it repeats another record",
    }


def test_of_copies_the_newest_stays() -> None:
    days = [datetime(2024, 1, day, tzinfo=UTC) for day in (3, 1, 2)]
    copies: list[Record] = [pair("Yes.", "No.", time=day, id=f"c{at}") for at, day in enumerate(days)]
    assert [record.id for record in drop_repeats(copies)] == ["c0"]
    assert [record.id for record in drop_repeats(copies[::-1])] == ["c0"]


def test_choices_of_one_question_ranking_or_pair_of_texts_are_one_group() -> None:
    def groups(*records: Record) -> int:
        return len(set(group_dependent([fingerprint(record) for record in records])))

    assert groups(*numbered(5)) == 5
    assert groups(*ranking(["a", "b", "c", "d", "e"])) == 1
    assert groups(pair("a", "b"), pair("c", "d", "why? ")) == 1, "one question"
    assert groups(pair("a", "b", "One?"), pair("b", "a", "Two?")) == 1, "the same two texts"
    assert groups(pair("a", "b", "One?"), pair("a", "c", "Two?")) == 2
    assert groups(*ranking(["a", "b", "c"], prompt="")) == 1, "a ranking without a question"
    assert groups(pair("a", "b", ""), pair("c", "d", "")) == 2
    drafts = [Edit(user="ada", prompt="Correct.", draft=draft, edited=edited) for draft, edited in ("ab", "ac", "de")]
    assert groups(*drafts) == 2, "a draft is a question"
    assert group_dependent([None, None]) == [0, 1]


@settings(deadline=None)
@given(st.integers(2, 9))
def test_all_pairs_of_a_ranking_count_like_its_ratings(count: int) -> None:
    texts = [f"Answer {at}." for at in range(count)]
    weights = weigh([fingerprint(record) for record in ranking(texts)])
    assert sum(weights) == pytest.approx(count / 2)
    rated = make_pairs(Rating(user="ada", prompt="Why?", text=text, rating=-at) for at, text in enumerate(texts))
    assert sum(weigh([fingerprint(record) for record in rated])) == count // 2
    assert {content_of(record) for record in rated} <= {content_of(record) for record in ranking(texts)}


@settings(deadline=None)
@given(st.randoms(use_true_random=False))
def test_weights_do_not_depend_on_the_order_and_no_text_counts_twice(draw: random.Random) -> None:
    texts = [f"Answer {at}." for at in range(5)]
    drawn = [(draw.sample(texts, 2), f"Why {draw.randrange(2)}?") for _ in range(12)]
    records = [pair(one, other, prompt, id=f"r{at}") for at, ((one, other), prompt) in enumerate(drawn)]
    prints = [fingerprint(record) for record in records]
    weights = dict(zip((record.id for record in records), weigh(prints), strict=True))
    shuffled = draw.sample(records, len(records))
    again = zip((record.id for record in shuffled), weigh([fingerprint(record) for record in shuffled]), strict=True)
    assert dict(again) == weights
    for text in {key for shown in prints for key in shown[:2]}:
        used = [weights[record.id] for record, shown in zip(records, prints, strict=True) if text in shown[:2]]
        assert sum(used) <= 1 + 1e-9


def test_contradictions_and_ties_weigh_nothing_copies_share() -> None:
    records = [pair("a", "b"), pair("b", "a"), pair("c", "c"), pair("d", "e"), pair("d", "e "), pair("f", "g", "Who?")]
    assert weigh([fingerprint(record) for record in records]) == [0.0, 0.0, 0.0, 0.5, 0.5, 1.0]
    assert weigh([None]) == [1.0]


# Time


def at(hours: float, zone: timezone = UTC) -> datetime:
    return datetime(2024, 5, 1, tzinfo=UTC).astimezone(zone) + timedelta(hours=hours)


@settings(deadline=None)
@given(st.permutations(range(6)))
def test_dated_records_are_sorted_whatever_their_lines_and_zones(order: list[int]) -> None:
    zones = [timezone(timedelta(hours=hours)) for hours in (-11, 0, 14)]
    # Two at each time: these are ordered by id.
    records: list[Record] = [
        Sample(user="ada", id=f"r{n}", text=f"Text {n}.", time=at(n // 2, zones[n % 3])) for n in range(6)
    ]
    assert [record.id for record in sort_by_time([records[place] for place in order])] == [f"r{n}" for n in range(6)]


def test_a_record_without_a_time_is_as_old_as_the_one_before_it() -> None:
    times = [None, at(5), None, None, at(2), None]
    assert order_by_time(times, [str(place) for place in range(6)]) == [0, 4, 5, 1, 2, 3]
    assert order_by_time([None] * 4, ["d", "c", "b", "a"]) == [0, 1, 2, 3]


def test_a_time_without_a_zone_is_in_utc() -> None:
    bare, zoned = (
        Sample(user="ada", text="A text.", time=datetime.fromisoformat(f"2024-05-01T{rest}"))
        for rest in ("10:00", "12:00+02:00")
    )
    assert bare.time == zoned.time == at(10)
    assert Sample.model_validate({"user": "ada", "text": "A text.", "time": "2024-05-01"}).time == at(0)


@pytest.mark.parametrize("time", ["yesterday", "2024-02-30", "", "0001-01-01T00:00:00+14:00", True, "10:00"])
def test_a_bad_time_is_an_error_with_its_file_and_line(time: object, tmp_path: Path) -> None:
    file = tmp_path / "dated.jsonl"
    lines = [{"user": "ada", "text": "One text."}, {"user": "ada", "text": "Another text.", "time": time}]
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    with pytest.raises(RecordError, match=r"dated\.jsonl:2: .*time"):
        read_records([file])
    with pytest.raises(ValidationError, match="time"):
        Sample.model_validate(lines[1])
    assert len(read_records([file], skip_bad=True).skipped) == 1


def test_the_same_record_at_another_time_is_known_by_its_newest(tmp_path: Path) -> None:
    given = [{"user": "ada", "text": "One text.", "time": f"2024-05-0{day}"} for day in (2, 3, 1)]
    reading = read_records(given)
    assert (len(reading.records), reading.repeated, reading.records[0].time) == (1, 2, at(48))
    with Store(tmp_path / "store.sqlite") as store:
        added = [store.add_records(read_records([each]).records) for each in given]
        assert added == [1, 0, 0]
        assert [record.time for record in store.records("ada")] == [at(48)]
