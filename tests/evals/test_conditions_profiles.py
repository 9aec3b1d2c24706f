"""Profiles are made once, also by threads, and read again after a stop; raw records are shown untested."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hyperalign.errors import ModelServerError
from hyperalign.evals.conditions import Profiles, few_shot_profile
from hyperalign.profile import Hypothesis, Profile
from hyperalign.records import Edit, Pair, Record, Sample


def wrote(user: str, count: int = 2) -> list[Record]:
    return [Sample(user=user, text=f"{user} wrote {number}.") for number in range(count)]


class Fits:
    """Fits a person at once, and remembers whom."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.fitted: list[tuple[str, int]] = []
        self._seconds = seconds

    def __call__(self, records: Sequence[Record]) -> Profile:
        time.sleep(self._seconds)
        self.fitted.append((records[0].user, len(records)))
        likes = Hypothesis(id="h", statement=f"Has {len(records)} records \ud83d.", aspect="style", weight=0.5)
        return Profile(user=records[0].user, hypotheses=[likes], stated=["No emoji."])


def test_a_profile_is_made_once_for_the_same_records(tmp_path: Path) -> None:
    fits = Fits()
    profiles = Profiles(fits, tmp_path / "profiles.jsonl")
    ada = profiles(wrote("ada"))
    assert profiles(wrote("ada")) == ada
    assert ada.hypotheses[0].statement.startswith("Has 2 records")
    assert profiles(wrote("ada", 1)) != ada, "fewer records are another profile"
    assert profiles(wrote("bob")).user == "bob"
    assert fits.fitted == [("ada", 2), ("ada", 1), ("bob", 2)]


def test_the_same_text_by_two_people_is_two_profiles(tmp_path: Path) -> None:
    fits = Fits()
    profiles = Profiles(fits, tmp_path / "profiles.jsonl")
    for user in ("ada", "bob"):
        profiles([Sample(user=user, text="The very same.")])
    assert fits.fitted == [("ada", 1), ("bob", 1)]


def test_other_texts_under_the_same_ids_are_another_profile(tmp_path: Path) -> None:
    fits = Fits()
    profiles = Profiles(fits, tmp_path / "profiles.jsonl")
    for text in ("As it was.", "As it was mended."):
        profiles([Sample(user="ada", id="letter-1", text=text)])
    assert fits.fitted == [("ada", 1), ("ada", 1)]


def test_threads_that_want_one_profile_wait_for_one_fit(tmp_path: Path) -> None:
    fits = Fits(0.05)
    told: list[tuple[str, int, int]] = []
    profiles = Profiles(fits, tmp_path / "profiles.jsonl", expected=3, progress=lambda *said: told.append(said))
    wanted = [wrote(user) for user in ("ada", "bob", "cal")] * 8
    with ThreadPoolExecutor(24) as pool:
        found = list(pool.map(profiles, wanted))
    assert sorted(fits.fitted) == [("ada", 2), ("bob", 2), ("cal", 2)]
    assert [profile.user for profile in found] == ["ada", "bob", "cal"] * 8
    assert len((tmp_path / "profiles.jsonl").read_text().splitlines()) == 3
    assert len(told) == 3, "told once for each profile"
    assert told[-1][0] == "profiles"
    assert {said[2] for said in told} == {3}


def test_different_people_are_fitted_side_by_side(tmp_path: Path) -> None:
    profiles = Profiles(Fits(0.2), tmp_path / "profiles.jsonl")
    started = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(profiles, [wrote(f"u{number}") for number in range(8)]))
    assert time.monotonic() - started < 8 * 0.2 / 2


def test_a_profile_is_read_again_from_the_file(tmp_path: Path) -> None:
    path, fits = tmp_path / "profiles.jsonl", Fits()
    before = Profiles(fits, path)(wrote("ada"))
    assert Profiles(fits, path)(wrote("ada")) == before
    assert len(fits.fitted) == 1
    assert len(path.read_text().splitlines()) == 1


def test_a_torn_last_line_is_made_again_and_no_other(tmp_path: Path) -> None:
    path, fits = tmp_path / "profiles.jsonl", Fits()
    first = Profiles(fits, path)
    before = {user: first(wrote(user)) for user in ("ada", "bob", "cal")}
    path.write_bytes(path.read_bytes()[:-30])
    again = Profiles(fits, path)
    assert {user: again(wrote(user)) for user in ("ada", "bob", "cal")} == before
    assert fits.fitted[3:] == [("cal", 2)]
    last = Profiles(fits, path)
    assert {user: last(wrote(user)) for user in ("ada", "bob", "cal")} == before
    assert len(fits.fitted) == 4, "the line after the torn one is whole"


def test_nobody_s_records_are_nobody_s_profile(tmp_path: Path) -> None:
    fits = Fits()
    assert Profiles(fits, tmp_path / "profiles.jsonl")([]).is_empty
    assert few_shot_profile(()).is_empty
    assert fits.fitted == []
    assert not (tmp_path / "profiles.jsonl").exists()


def test_a_fit_that_failed_is_tried_again(tmp_path: Path) -> None:
    fits, failed = Fits(), []

    def fails_once(records: Sequence[Record]) -> Profile:
        if not failed:
            failed.append(records)
            raise ModelServerError("It hung up.")
        return fits(records)

    profiles = Profiles(fails_once, tmp_path / "profiles.jsonl")
    with pytest.raises(ModelServerError):
        profiles(wrote("ada"))
    assert profiles(wrote("ada")).user == "ada"


def test_raw_records_are_shown_as_the_side_they_took() -> None:
    records: tuple[Record, ...] = (
        Sample(user="ada", text="Mine.", prompt="Whose?"),
        Pair(user="ada", prompt="Which?", chosen="This.", rejected="That."),
        Edit(user="ada", prompt="Better?", draft="Bad.", edited="Good."),
    )
    shown = few_shot_profile(records)
    assert [(example.prompt, example.text) for example in shown.examples] == [
        ("Whose?", "Mine."),
        ("Which?", "This."),
        ("Better?", "Good."),
    ]
    assert (shown.user, shown.hypotheses, shown.stated) == ("ada", [], [])
