"""Ratings as choices: the rule by which they are paired, and how they are read."""

from __future__ import annotations

import csv
import json
from collections import Counter
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperalign.errors import RecordError
from hyperalign.ingest import parse_line, read_records
from hyperalign.population import FolderPopulation
from hyperalign.records import Pair, Rating, Sample, add_rated_pairs, make_pairs

JESTER = Path(__file__).resolve().parents[3] / "shared" / "data" / "jester5k"


def rated(rating: float, text: str = "", prompt: str | None = "p", user: str = "ada") -> Rating:
    return Rating(user=user, prompt=prompt, text=text or f"text {rating}", rating=rating)


def sides(pairs: list[Pair]) -> list[tuple[str, str]]:
    return [(pair.chosen, pair.rejected) for pair in pairs]


def test_the_upper_half_is_paired_with_the_lower_half_in_order() -> None:
    pairs = make_pairs([rated(2), rated(5), rated(1), rated(4)])
    assert sides(pairs) == [("text 5", "text 2"), ("text 4", "text 1")]
    assert all(pair.user == "ada" and pair.prompt == "p" for pair in pairs)


def test_with_an_odd_number_the_middle_is_left_out_and_equal_ratings_make_no_pair() -> None:
    assert sides(make_pairs([rated(3), rated(1), rated(2)])) == [("text 3", "text 1")]
    assert make_pairs([rated(3, "a"), rated(3, "b")]) == []
    assert sides(make_pairs([rated(3, "a"), rated(3, "b"), rated(3, "c"), rated(5, "d")])) == [("d", "b")]
    assert make_pairs([rated(3)]) == []
    assert make_pairs([]) == []


def test_prompts_and_people_are_kept_apart_and_no_prompt_is_one_too() -> None:
    given = [rated(1, prompt=None), rated(2, prompt="q"), rated(3, prompt=None), rated(4, prompt="q", user="bob")]
    (pair,) = make_pairs(given)
    assert (pair.prompt, pair.chosen, pair.rejected) == ("", "text 3", "text 1")


def test_a_text_rated_twice_counts_as_rated_last_or_as_the_mean_without_a_time() -> None:
    given = [rated(1, "a"), rated(2, "b"), rated(5, "a")]
    assert sides(make_pairs(given)) == sides(make_pairs(given[::-1])) == [("a", "b")]
    dated = [each.model_copy(update={"time": datetime(2024, 1, 4 - at, tzinfo=UTC)}) for at, each in enumerate(given)]
    assert sides(make_pairs(dated)) == sides(make_pairs(dated[::-1])) == [("b", "a")], "first it was 5, then 1"


@given(st.lists(st.integers(1, 5), max_size=12), st.randoms())
def test_each_text_is_used_once_and_no_more_pairs_could_be_made(ratings: list[int], random: object) -> None:
    given = [rated(float(rating), f"text {number}") for number, rating in enumerate(ratings)]
    pairs = make_pairs(given)
    value = {each.text: each.rating for each in given}
    assert all(value[pair.chosen] > value[pair.rejected] for pair in pairs)
    used = Counter(text for pair in pairs for text in (pair.chosen, pair.rejected))
    assert all(count == 1 for count in used.values())
    commonest = max(Counter(ratings).values(), default=0)
    assert len(pairs) == min(len(ratings) // 2, len(ratings) - commonest)
    shuffled = list(given)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert {pair.id for pair in make_pairs(shuffled)} == {pair.id for pair in pairs}


def line(**fields: object) -> str:
    return json.dumps({"user": "ada", "prompt": "p", "text": "some words", "rating": 3, **fields})


def test_ratings_are_read_as_pairs_beside_other_records(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    letter = '{"user": "ada", "text": "a letter of hers"}'
    lines = [line(rating=1), letter, line(text="better words", rating=4.5, time="2024-05-01"), line(rating=1)]
    path.write_text("\n".join(lines))
    reading = read_records([path])
    assert [type(record) for record in reading.records] == [Sample, Pair]
    pair = reading.records[1]
    assert isinstance(pair, Pair)
    assert (pair.chosen, pair.rejected) == ("better words", "some words")
    assert pair.time is not None
    assert (reading.ratings, reading.rated_pairs, reading.repeated) == (2, 1, 1)
    assert read_records([path]).records == reading.records, "the same ids every time"
    assert isinstance(parse_line(line()), Rating)
    (tmp_path / "people").mkdir()
    (tmp_path / "people" / "ada.jsonl").write_text("\n".join(lines))
    assert {type(record) for record in FolderPopulation(tmp_path / "people").records("bob")} == {Sample, Pair}


def test_a_pair_that_is_there_already_counts_once(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    pair = {"user": "ada", "prompt": "p", "chosen": "better words", "rejected": "some words"}
    path.write_text("\n".join([json.dumps(pair), line(rating=1), line(text="better words", rating=4)]))
    assert len(read_records([path]).records) == 1


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (line(rating="5"), "rating"),
        (line(rating=None), "rating"),
        (line(rating=True), "rating"),
        (line(text=" "), "text"),
        (line(time="yesterday"), "ISO 8601"),
        (line().replace("3", "NaN"), "rating"),
        (line().replace("3", "9" * 400), "rating"),
        ('{"user": "ada", "rating": 3}', "no record"),
    ],
)
def test_bad_ratings_name_their_line_and_can_be_skipped(tmp_path: Path, bad: str, says: str) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text("\n".join([line(rating=1), bad, line(text="better words", rating=4)]))
    with pytest.raises(RecordError) as caught:
        read_records([path])
    assert says in caught.value.message
    assert caught.value.line == 2
    assert caught.value.remedy
    reading = read_records([path], skip_bad=True)
    assert (len(reading.records), len(reading.skipped)) == (1, 1)


def test_one_id_for_two_ratings_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text("\n".join([line(id="1"), line(id="1", rating=5)]))
    with pytest.raises(RecordError, match="two different records"):
        read_records([path])


def test_ratings_that_make_no_pair_are_an_error_with_a_remedy(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text("\n".join([line(), line(text="other words")]))
    with pytest.raises(RecordError, match="2 rating\\(s\\) there, and no two that make a pair") as caught:
        read_records([path])
    assert "rated differently" in caught.value.remedy


def test_records_stay_before_the_pairs_of_ratings() -> None:
    sample = Sample(user="ada", text="words")
    assert add_rated_pairs([rated(1), sample, rated(2)])[0] == sample
    assert len(add_rated_pairs([rated(1), sample, rated(2)])) == 2


def test_real_ratings_of_real_people_make_pairs() -> None:
    if not JESTER.is_dir():
        pytest.skip("the published data jester5k are no part of the project, and are not here")
    jokes = json.loads((JESTER / "jokes.json").read_text(encoding="utf-8"))
    with (JESTER / "ratings.csv").open(encoding="utf-8", newline="") as file:
        rows = list(islice(csv.DictReader(file), 2_000))
    ratings = [
        Rating(user=f"u{row['user']}", text=jokes[int(row["joke"])], rating=float(row["rating"])) for row in rows
    ]
    people = Counter(rating.user for rating in ratings)
    pairs = make_pairs(ratings)
    value = {(rating.user, rating.text): rating.rating for rating in ratings}
    assert all(value[pair.user, pair.chosen] > value[pair.user, pair.rejected] for pair in pairs)
    made = Counter(pair.user for pair in pairs)
    assert all(0.9 * (count // 2) <= made[user] <= count // 2 for user, count in people.items() if count > 20)
