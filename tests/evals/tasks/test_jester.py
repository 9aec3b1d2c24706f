"""Ratings of jokes: records from one half of a user's jokes, cases from clear differences in the other."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from hyperalign.errors import InputError
from hyperalign.evals.cases import Case, texts_in
from hyperalign.evals.tasks import load_task
from hyperalign.evals.tasks.jester import Jester
from hyperalign.records import Pair

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data" / "jester5k"

JOKES = [f"Why did chicken {number} cross the road?" for number in range(20)]


def rating(user: int, joke: int) -> float:
    """Half-point steps from -5 to 4.5, in another order for each user."""
    return -5 + 0.5 * ((joke * (2 * user + 1)) % 20 if user < 2 else (joke + 7 * user) % 20)


def write(folder: Path, users: Sequence[int] = (0, 1, 3, 4), extra: str = "") -> Path:
    (folder / "jokes.json").write_text(json.dumps(JOKES))
    lines = [f"{user},{joke},{rating(user, joke)}" for user in users for joke in range(20)]
    (folder / "ratings.csv").write_text("user,joke,rating\n" + "\n".join(lines) + "\n" + extra)
    return folder


def number(text: str) -> int:
    return JOKES.index(text)


def by_user(cases: Sequence[Case]) -> Mapping[str, list[Case]]:
    found: dict[str, list[Case]] = {}
    for case in cases:
        found.setdefault(case.user, []).append(case)
    return found


def test_the_joke_that_the_user_rated_higher_is_chosen(tmp_path: Path) -> None:
    task = Jester(write(tmp_path), records=3, cases_each=4, gap=3.0)
    cases = task.cases(seed=7)
    assert task.cases(seed=7) == cases
    assert task.cases(seed=8) != cases
    assert {user: len(theirs) for user, theirs in by_user(cases).items()} == dict.fromkeys(by_user(cases), 4)
    assert len(by_user(cases)) == 4
    for case in cases:
        user = int(case.user.removeprefix("user-"))
        assert rating(user, number(case.chosen)) >= rating(user, number(case.rejected)) + 3.0
        pairs = [record for record in case.records if isinstance(record, Pair)]
        assert len(pairs) == 3
        assert all(rating(user, number(pair.chosen)) > rating(user, number(pair.rejected)) for pair in pairs)
        assert len(texts_in(pairs)) == 6, "a rating is counted once"
        assert {pair.prompt for pair in pairs} == {case.prompt}
    for theirs in by_user(cases).values():
        assert len({case.records for case in theirs}) == 1, "a user has one profile"
        assert not texts_in(theirs[0].records) & set().union(*(case.answers for case in theirs))


def test_nobody_s_cases_depend_on_the_others(tmp_path: Path) -> None:
    everybody = by_user(Jester(write(tmp_path), records=3).cases(seed=7))
    assert by_user(Jester(write(tmp_path, [3]), records=3).cases(seed=7)) == {"user-3": everybody["user-3"]}
    two = by_user(Jester(write(tmp_path), records=3, users=2).cases(seed=7))
    assert len(two) == 2
    assert two.items() <= everybody.items()
    more = by_user(Jester(write(tmp_path, range(8)), records=3, users=2).cases(seed=7))
    fewer = by_user(
        Jester(write(tmp_path, [user for user in range(8) if f"user-{user}" in more]), records=3).cases(seed=7)
    )
    assert more == fewer, "the sample keeps its users whoever else is not in it"


def test_users_with_too_few_ratings_or_too_many_equal_ones_are_left_out(tmp_path: Path) -> None:
    extra = "".join(f"9,{joke},1.0\n" for joke in range(20)) + "8,0,5\n8,1,-5\n"
    users = by_user(Jester(write(tmp_path, extra=extra), records=5).cases(seed=7))
    assert users.keys() == {"user-0", "user-1", "user-3", "user-4"}
    assert Jester(tmp_path, records=6).cases(seed=7) == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("0,20,1.0", "no joke 20 in jokes.json, which has 20"),
        ("0,-1,1.0", "joke: "),
        ("0,1,99", "rating: "),
        ("0,1,nan", "rating: "),
        ("0,1", "rating: "),
        (",1,1.0", "user: "),
    ],
)
def test_a_bad_row_is_named(line: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"ratings\.csv:82: .*{said}"):
        Jester(write(tmp_path, extra=line + "\n")).cases()


def test_what_is_missing_or_no_joke_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"jokes\.json"):
        Jester(tmp_path).cases()
    (write(tmp_path) / "jokes.json").write_text('["Knock, knock.", 7]')
    with pytest.raises(InputError, match=r"jokes\.json: row 2: joke"):
        Jester(tmp_path).cases()
    (write(tmp_path) / "ratings.csv").write_text("user,rating\n1,2\n")
    with pytest.raises(InputError, match=r"ratings\.csv: it has no column joke"):
        Jester(tmp_path).cases()


@pytest.mark.skipif(not SHARED.is_dir(), reason="the ratings of jokes are no part of the project, and are not here")
def test_the_published_ratings() -> None:
    cases = load_task("jester", data=SHARED).cases(seed=7)
    assert len({case.id for case in cases}) == len(cases)
    users = by_user(cases)
    assert 390 <= len(users) <= 400
    assert {len(case.records) for case in cases} == {16}
    assert max(map(len, users.values())) == 12
    assert not any(case.answers & texts_in(case.records) for case in cases)
    assert 0.4 < len({case.user for case in cases if case.split == "dev"}) / len(users) < 0.6
