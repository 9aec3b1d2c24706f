"""Jester (Goldberg et al. 2001): which of two jokes a user rates higher.

The folder holds ``jokes.json``, a list of texts, and ``ratings.csv`` with the columns ``user``, ``joke`` (a position in
that list, from 0) and ``rating`` (-10 to 10).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import BaseModel, Field

from hyperalign.errors import InputError
from hyperalign.records import Pair, Rating, Text, make_pairs

from ..cases import Case, CaseKind, Split, case_id, choose_people
from .files import read_csv_rows, read_json_list, validate

__all__ = ["Jester"]

_PROMPT = "Tell me a joke."
_COLUMNS = ("user", "joke", "rating")


class _Joke(BaseModel):
    joke: Text


class _Row(BaseModel):
    user: str = Field(pattern=r"^\w{1,40}$")
    joke: int = Field(ge=0)
    rating: float = Field(ge=-10, le=10, allow_inf_nan=False)


class Jester:
    """Which of two jokes somebody rates higher, from their ratings of other jokes.

    Half of the jokes that a user rated are for records, which pair a higher and a lower rated joke and use no joke
    twice; the other half are for cases.

    Args:
        data: the folder of ``jokes.json`` and ``ratings.csv``.
        records: how many pairs a profile may be fitted on; users with fewer than four times as many ratings are left
            out.
        cases_each: at most this many cases of each user.
        gap: by how many points the two ratings of a case differ at least.
        users: at most this many users, sampled.
    """

    name = "jester"
    kind: CaseKind = "choice"
    unit = "user"
    data = "the folder that holds jokes.json and ratings.csv"
    primary = "pick"

    def __init__(
        self, data: Path, *, records: int = 16, cases_each: int = 12, gap: float = 4.0, users: int = 400
    ) -> None:
        self._data = data
        self._records = records
        self._cases_each = cases_each
        self._gap = gap
        self._users = users

    def cases(self, *, seed: int = 0) -> list[Case]:
        """Cases of a sample of the users with enough ratings."""
        return list(self._all(seed))

    def note(self) -> str:
        """Which pairs are asked, and what must be beaten."""
        return (
            f"The ratings of a case's two jokes differ by at least {self._gap:g} of 20 points. Some jokes please "
            "nearly everybody, so what everybody prefers is the figure to beat."
        )

    def people(self, *, split: Split | None = None) -> dict[str, list[Pair]]:
        """All ratings of each user as pairs, also of users that ``cases`` leaves out."""
        everybody = choose_people(self._ratings(), split)
        return {user: _pairs(user, rated) for user, rated in everybody.items()}

    def _all(self, seed: int) -> Iterator[Case]:
        ratings = self._ratings()
        usable = [user for user, rated in ratings.items() if len(rated) >= 4 * self._records]
        # By hashes, so that one user more or less changes at most one other in the sample.
        for user in sorted(usable, key=lambda user: case_id(str(seed), user))[: self._users]:
            yield from self._cases_of(user, ratings[user], seed)

    def _cases_of(self, user: str, rated: Mapping[str, float], seed: int) -> Iterator[Case]:
        # Seeded for each user, so that their cases do not depend on the others.
        draw = random.Random(f"{seed}/{user}")
        jokes = draw.sample(sorted(rated), len(rated))
        known, asked = jokes[: len(jokes) // 2], jokes[len(jokes) // 2 :]
        records = tuple(_pairs(user, {joke: rated[joke] for joke in known[: 2 * self._records]}))
        apart = [(a, b) for a in asked for b in asked if rated[a] - rated[b] >= self._gap]
        if len(records) < self._records:
            return  # so many equal ratings that they make too few pairs
        for chosen, rejected in draw.sample(apart, min(self._cases_each, len(apart))):
            yield Case(
                id=case_id(user, chosen, rejected),
                user=user,
                cluster=user,
                prompt=_PROMPT,
                records=records,
                chosen=chosen,
                rejected=rejected,
            )

    def _ratings(self) -> dict[str, dict[str, float]]:
        """Each user's rating of each joke, by its text; of two ratings the later one."""
        lines = read_json_list(self._data / "jokes.json")
        jokes = [validate(_Joke, {"joke": text}, where).joke.strip() for where, text in lines]
        found: dict[str, dict[str, float]] = {}
        for where, line in read_csv_rows(self._data / "ratings.csv", _COLUMNS):
            row = validate(_Row, line, where)
            if row.joke >= len(jokes):
                raise InputError(
                    f"{where}: there is no joke {row.joke} in jokes.json, which has {len(jokes)}.",
                    remedy="Give a folder whose two files belong together; the first joke is number 0.",
                )
            found.setdefault(f"user-{row.user}", {})[jokes[row.joke]] = row.rating
        return dict(sorted(found.items()))


def _pairs(user: str, rated: Mapping[str, float]) -> list[Pair]:
    return make_pairs(Rating(user=user, prompt=_PROMPT, text=joke, rating=rating) for joke, rating in rated.items())
