"""Fitting by a hosted model: few calls, many at once, and as many as were foretold; with a scripted model."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable

import pytest

from hyperalign.backends.models.connect import connect
from hyperalign.budget import Budget
from hyperalign.errors import BudgetExceededError, UnusableAnswersError
from hyperalign.programs.cost_estimate import estimate_cost
from hyperalign.programs.fit_result import Fit
from hyperalign.programs.personalizer import Personalizer
from hyperalign.records import Pair, Record, Sample
from tests.fixtures.scripted_server import Recorded, ScriptedServer, empty_choices, reply
from tests.programs.toys import FixedPopulation

WARM = "Oh, what a lovely thing to ask on day {n}! Come in, dear friend, and let me put the kettle on for you."
DRY = "Report {n}. The valve was replaced at nine. Pressure is nominal and the log has been updated accordingly."
LETTERS: list[Record] = [Sample(user="mira", id=f"m{n}", text=WARM.format(n=n)) for n in range(8)]
STRANGERS = [Sample(user=f"o{n % 3}", id=f"o{n}", text=DRY.format(n=n)) for n in range(9)]
CHOICES: list[Record] = [
    Pair(user="mira", id=f"c{n}", prompt=f"Question {n}?", chosen=WARM.format(n=n), rejected=DRY.format(n=n))
    for n in range(8)
]
OTHER_CHOICES = [
    Pair(
        user=f"o{n % 3}",
        id=f"p{n}",
        prompt=f"Thing {n}?",
        chosen=(WARM, DRY)[n % 2].format(n=n),
        rejected=(DRY, WARM)[n % 2].format(n=n),
    )
    for n in range(6)
]


def knows_warmth(request: Recorded) -> str:
    """A model that sees warmth, and says A to everything else."""
    asked = request.messages[-1]["content"]
    if "<A>" not in asked and "<text>" not in asked:
        told = {"quote": "put the kettle on", "statement": "The writer is warm.", "opposite": "The writer is cold."}
        return json.dumps({"hypothesis": told})
    about = [said for _, said in re.findall(r"(?m)^(\d+\. |Statement: )(.+)$", asked)]
    shown = re.search(r"<(?:A|text)>\n(.*)\n", asked)
    warm = shown is not None and "dear friend" in shown[1]
    of_warmth = [re.search("warm|friend|kind|close", said, re.IGNORECASE) for said in about]
    letters = ["A" if warm or not known else "B" for known in of_warmth]
    return letters[0] if len(letters) == 1 else "\n".join(f"{at}: {letter}" for at, letter in enumerate(letters, 1))


def fitted(server: ScriptedServer, records: list[Record], others: list[Record], budget: Budget) -> Fit:
    lm = connect(f"vllm:{server.url}", num_retries=0, budget=budget, concurrency=16)
    return Personalizer(lm, scorer=None, population=FixedPopulation(others), budget=budget).fit_detailed(records)


KINDS = pytest.mark.parametrize(
    ("records", "others"), [(LETTERS, STRANGERS), (CHOICES, OTHER_CHOICES)], ids=["infer", "extract"]
)


@KINDS
def test_a_fit_takes_few_calls_and_few_seconds(
    scripted_server: ScriptedServer, records: list[Record], others: list[Record]
) -> None:
    scripted_server.default = reply(knows_warmth)
    # What the first fit of a process loads is no part of how long a fit takes.
    fitted(scripted_server, records, others, Budget())
    scripted_server.requests.clear()
    scripted_server.default = reply(knows_warmth, delay=0.3)
    started = time.monotonic()
    fit = fitted(scripted_server, records, others, Budget())
    seconds = time.monotonic() - started
    assert len(scripted_server.requests) <= 40
    assert "space-warm" in {hypothesis.id for hypothesis in fit.profile.hypotheses}
    assert fit.asked > 150, "many questions in few calls"
    assert fit.undecided == 0
    # One after another they would take 10 seconds; the rest is left to a machine that does other things, too.
    assert seconds < 8


def test_many_texts_and_choices_take_no_more_calls(scripted_server: ScriptedServer) -> None:
    scripted_server.default = reply(knows_warmth)
    records = [
        each.model_copy(update={"id": f"{each.id}-{turn}", "prompt": f"Part {turn}?"})
        for turn in range(4)
        for each in [*LETTERS, *CHOICES]
    ]
    fit = fitted(scripted_server, records, [*STRANGERS, *OTHER_CHOICES], Budget())
    assert len(scripted_server.requests) <= 40
    assert fit.profile.reward is not None
    assert len(fit.profile.reward.rows) > 20, "the reward goes by all of them"


@KINDS
def test_a_fit_takes_as_many_calls_as_was_foretold(
    scripted_server: ScriptedServer, records: list[Record], others: list[Record]
) -> None:
    scripted_server.default = reply(knows_warmth)
    budget = Budget()
    fitted(scripted_server, records, others, budget)
    told = estimate_cost(records, others[:6], by_choice=True)
    for step in ("infer", "score", "evidence"):
        assert told[step].calls == pytest.approx(budget.by_step[step].calls, rel=0.25), step
    words = sum(len(request.prompt.split()) for request in scripted_server.requests)
    assert sum(usage.tokens_in for usage in told.values()) == pytest.approx(1.4 * words, rel=0.25)


def odd_now_and_then(odd: str) -> Callable[[Recorded], str]:
    """``knows_warmth``, but for one question in nine, always the same ones."""

    def answer(request: Recorded) -> str:
        return odd if hashlib.sha256(request.prompt.encode()).digest()[0] % 9 == 0 else knows_warmth(request)

    return answer


@KINDS
@pytest.mark.parametrize("odd", ["I can't compare texts.", "<think>Let me see", "neither", "1: A\n\n2:"])
def test_odd_answers_among_many_end_nothing_and_are_counted(
    scripted_server: ScriptedServer, records: list[Record], others: list[Record], odd: str
) -> None:
    scripted_server.default = reply(odd_now_and_then(odd))
    scripted_server.script(reply(knows_warmth), empty_choices(), empty_choices())
    fit = fitted(scripted_server, records, others, Budget())
    assert "space-warm" in {hypothesis.id for hypothesis in fit.profile.hypotheses}
    assert fit.undecided < fit.asked / 4


@KINDS
def test_where_most_answers_are_odd_the_fit_ends_early(
    scripted_server: ScriptedServer, records: list[Record], others: list[Record]
) -> None:
    scripted_server.default = reply("As a language model I have no opinion of people.")
    with pytest.raises(UnusableAnswersError, match="As a language model I have no opinion"):
        fitted(scripted_server, records, others, Budget())
    assert len(scripted_server.requests) <= 16 + 16


def test_an_update_counts_its_questions_too(scripted_server: ScriptedServer) -> None:
    scripted_server.default = reply(knows_warmth)
    lm = connect(f"vllm:{scripted_server.url}", num_retries=0)
    person = Personalizer(lm, scorer=None, population=FixedPopulation(STRANGERS))
    memory = person.fit_detailed(LETTERS).memory
    new = [Sample(user="mira", id=f"n{n}", text=f"Dear friend, {WARM.format(n=n)}") for n in range(2)]
    sent = len(scripted_server.requests)
    found = person.update(new, memory)
    assert len(scripted_server.requests) - sent <= 6
    assert (found.asked > 30, found.undecided) == (True, 0)
    scripted_server.default = reply("I am sorry.")
    many = [Sample(user="mira", id=f"k{n}", text=f"My dear friend, {WARM.format(n=n)}") for n in range(12)]
    with pytest.raises(UnusableAnswersError):
        person.update(many, found.memory)


def test_a_budget_holds_also_for_a_model_that_was_given_none(scripted_server: ScriptedServer) -> None:
    lm = connect("openai/any", api_base=scripted_server.base, api_key="k")
    budget = Budget(max_calls=5)
    scripted_server.default = reply("A")
    with pytest.raises(BudgetExceededError):
        Personalizer(lm, scorer=None, budget=budget).fit([f"A letter about thing {number}." for number in range(8)])
    assert budget.spent.calls == len(scripted_server.requests) == 5
