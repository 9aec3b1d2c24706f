"""A history of many records: what a prompt shows of it, what statements rest on, and what a dry run says of both."""

from __future__ import annotations

import cProfile
import json
import pstats
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from hyperalign.programs import fitting
from hyperalign.programs.candidates import from_measurement
from hyperalign.programs.cost_estimate import describe_sample, estimate_cost
from hyperalign.programs.extract import ExtractPreferences
from hyperalign.programs.infer import MAX_PROMPT_TOKENS, InferHypotheses, cut_to_fit
from hyperalign.programs.personalizer import Personalizer
from hyperalign.programs.scope import find_subjects
from hyperalign.records import Pair, Record, Sample
from hyperalign.space import load_space
from tests.fixtures.scripted_server import ScriptedServer, reply

from .test_personalizer import scripted
from .toys import OTHERS, SPACE, FixedPopulation, OverlapScorer, jam_sample

CLAIM = {"quote": "Toast and jam", "statement": "The writer loves marmalade.", "opposite": "The writer loves oil."}
WINDOW = 8_192
ANSWER = 400
# A digit is a token of its own in many vocabularies, and no space ends this word.
LONG_WORDS = " ".join(["7" * 40] * 60)


def long_sample(number: int, user: str = "ada") -> Sample:
    return Sample(user=user, id=f"{user}-{number}", text=f"{number} {LONG_WORDS}")


def long_pair(number: int) -> Pair:
    return Pair(
        user="ada", id=f"p{number}", prompt=LONG_WORDS, chosen=f"{number} {LONG_WORDS}", rejected=f"8{LONG_WORDS}"
    )


def short_pair(number: int) -> Pair:
    return Pair(user="ada", id=f"p{number}", prompt=f"Question {number}?", chosen=f"Yes {number}!", rejected="Not now.")


def count_calls(task: Callable[[], object]) -> int:
    profiler = cProfile.Profile()
    profiler.enable()
    task()
    profiler.disable()
    return int(pstats.Stats(profiler).total_calls)  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["texts", "choices"])
def test_a_prompt_of_400_records_fits_the_window(scripted_server: ScriptedServer, kind: str) -> None:
    scripted_server.default = reply(json.dumps({"hypothesis": CLAIM}))
    lm = scripted(scripted_server)
    if kind == "texts":
        texts = InferHypotheses()
        texts.set_lm(lm)
        texts(records=[long_sample(i) for i in range(400)], others=[long_sample(i, "bob") for i in range(400)])
    else:
        choices = ExtractPreferences()
        choices.set_lm(lm)
        choices(records=[long_pair(i) for i in range(400)])
    assert scripted_server.requests
    for request in scripted_server.requests:
        said = "".join(message["content"] for message in request.body["messages"])
        digits = sum(map(str.isdigit, said))
        assert digits > MAX_PROMPT_TOKENS / 2
        # The instructions are English, which has more than three letters a token.
        assert digits + (len(said) - digits) / 3 + ANSWER < WINDOW


def test_long_texts_are_cut_and_short_ones_stay() -> None:
    texts = ["A short one.", "x" * 5_000, "ж" * 5_000, "😀" * 5_000]
    cut = cut_to_fit(texts)
    assert cut[0] == texts[0]
    assert all(whole.startswith(part) and part for whole, part in zip(texts, cut, strict=True))
    assert len(cut[1]) == len(cut[2]) == pytest.approx(3 * len(cut[3]), abs=3)
    assert sum(map(len, cut[:3])) + 3 * len(cut[3]) <= MAX_PROMPT_TOKENS
    assert cut_to_fit(cut) == cut
    assert cut_to_fit([]) == []


def test_statements_rest_on_the_newest_and_the_reward_on_all(
    scripted_server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "STATEMENT_RECORDS", 8)
    scripted_server.default = reply(json.dumps({"hypothesis": CLAIM}))
    records = [jam_sample(i).model_copy(update={"time": datetime(2026, 1, 1 + i, tzinfo=UTC)}) for i in range(12)]
    person = Personalizer(
        scripted(scripted_server), scorer=OverlapScorer(), population=FixedPopulation(OTHERS), space=SPACE
    )
    found = person.fit_detailed(records)
    tested = {row.record for matrix in found.matrices for row in matrix.rows if row.user == "ada"}
    assert tested == {record.id for record in records[4:]}
    assert found.profile.provenance.records == [record.id for record in records]
    assert found.profile.reward is not None
    assert [row.record for row in found.profile.reward.rows] == [record.id for record in records]
    again = person.update(records, found.memory)
    assert not again.added, "the older ones are known, too"


def test_work_beside_reading_grows_with_no_more_than_the_records() -> None:
    records: list[Record] = [jam_sample(i) for i in range(400)]
    assert from_measurement(records[:8]), "there is something to quote"
    few, many = (count_calls(lambda some=some: from_measurement(some)) for some in (records[:100], records))
    assert many < 4.5 * few
    one = count_calls(lambda: find_subjects(load_space(), records[:1]))
    assert count_calls(lambda: find_subjects(load_space(), records)) < one + 200 * len(records)


def test_a_dry_run_of_many_choices_promises_what_one_of_some_does_and_says_what_is_shown() -> None:
    records = [short_pair(i) for i in range(2_400)]
    some, many = (estimate_cost(part, OTHERS, by_choice=True) for part in (records[:600], records))
    assert many["score"].calls == some["score"].calls < 100
    assert many["infer"].calls == some["infer"].calls == 1
    some_calls, many_calls = (
        count_calls(lambda part=part: estimate_cost(part, OTHERS, by_choice=True)) for part in (records[:600], records)
    )
    assert many_calls < 1.5 * some_calls, "of 2,400 records it looks at the newest 500"
    said = describe_sample([*records, *(jam_sample(i) for i in range(8))])
    assert "500 of 2,400 choice(s), the newest where times are known: a model is shown 6" in said
    assert "rest on 8 text(s): a model is shown 4" in said
