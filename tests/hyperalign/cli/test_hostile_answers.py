"""What a model says never ends a command in an unforeseen way, and is never replayed for ever."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hyperalign.backends.distill.recipe import Recipe
from hyperalign.backends.models.bodies import well_formed
from hyperalign.backends.models.connect import connect
from hyperalign.backends.models.replies import ThoughtFilter
from hyperalign.budget import Budget
from hyperalign.errors import InputError
from hyperalign.evals.plan import Plan
from hyperalign.programs.optimize.search import check_search
from hyperalign.programs.personalizer import Personalizer
from hyperalign.runs import Journal
from tests.fixtures.scripted_server import Recorded, ScriptedServer, Step, raw
from tests.hyperalign.cli.conftest import Done, Run
from tests.hyperalign.cli.letters import write
from tests.hyperalign.cli.test_odd_servers import VERBS
from tests.hyperalign.cli.test_optimize import people as people_who_write

_CALL = {"id": "c1", "type": "function", "function": {"name": "choose", "arguments": "{}"}}

MESSAGES: dict[str, Callable[[str], dict[str, Any]]] = {
    "tool call": lambda _: {"content": None, "tool_calls": [_CALL]},
    "tool calls": lambda _: {"content": None, "tool_calls": [_CALL, {**_CALL, "id": "c2"}]},
    "bare tool call": lambda _: {"tool_calls": [{"function": {"name": None, "arguments": None}}]},
    "reasoning": lambda _: {"content": None, "reasoning_content": "B or A? Hm."},
    "thought": lambda _: {"content": "<think>B or A? Hm.</think>"},
    "open thought": lambda _: {"content": "<think>B or A? Hm."},
    "empty": lambda _: {"content": ""},
    "blank": lambda _: {"content": " \n\u200b"},
    "null": lambda _: {"content": None},
    "no content": lambda _: {},
    "surrogate": lambda text: {"content": f"{text} \ud83d"},
    "low surrogate": lambda text: {"content": f"\udc00 {text}"},
    "surrogate thought": lambda text: {"content": text, "reasoning_content": "\ud83d"},
    "surrogate call": lambda _: {
        "content": None,
        "tool_calls": [{**_CALL, "function": {"name": "\ud83d", "arguments": "\ud83d"}}],
    },
    "zero": lambda text: {"content": f"\x00{text}\x00"},
    "number": lambda _: {"content": 7},
    "list": lambda text: {"content": [None, {"type": "text", "text": None}, 3]},
    "escaped": lambda text: {"content": text.replace(".", "\\ud83d.")},
    "inside": lambda text: {"content": text.replace(".", "\ud83d.")},
    "refusal": lambda _: {"content": None, "refusal": "No \ud83d."},
}


def hostile(text: Callable[[Recorded], str], message: Callable[[str], dict[str, Any]]) -> Step:
    """Answers every third request well, and the others in a hostile shape."""
    turn = itertools.count(1)

    def action(handler: Any, request: Recorded) -> None:
        said = message(text(request)) if next(turn) % 3 else {"content": text(request)}
        choices = [{"index": 0, "message": {"role": "assistant", **said}, "finish_reason": "stop"}]
        usage = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
        raw({"id": "x", "object": "chat.completion", "choices": choices, "usage": usage}).action(handler, request)

    return Step("hostile", action)


@pytest.fixture
def options(scripted_server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    return ["--model", "openai/odd", "--api-base", scripted_server.base, "--scorer", "none"]


SHAPES_OF_VERBS = [
    ("fit texts", "inside"),
    ("fit texts", "escaped"),
    ("fit choices", "tool calls"),
    ("eval", "reasoning"),
    ("optimize", "escaped"),
    ("optimize", "null"),
    ("generate", "surrogate"),
    ("judge", "empty"),
    ("deliberate", "bare tool call"),
]
"""One for each kind of shape and each verb: all pairs take minutes."""


@pytest.mark.parametrize(("verb", "shape"), SHAPES_OF_VERBS)
def test_hostile_answers_are_unreadable_answers(
    run: Run, options: list[str], scripted_server: ScriptedServer, tmp_path: Path, verb: str, shape: str
) -> None:
    does, text = VERBS[verb]
    scripted_server.default = hostile(text, MESSAGES[shape])
    seen: list[Done] = []

    def watched(*arguments: str | Path, **more: bytes) -> Done:
        seen.append(run(*arguments, **more))
        return seen[-1]

    with contextlib.suppress(AssertionError):
        # What it expects of good answers does not matter here.
        does(watched, options, tmp_path)
    assert scripted_server.requests
    for done in seen:
        assert done.code in {0, 5}, done.err
        assert "foreseen" not in done.err
        assert "Traceback" not in done.err, "with people's texts"


def test_half_a_character_becomes_the_replacement_character(scripted_server: ScriptedServer) -> None:
    said = {"content": "Good \ud83d", "reasoning_content": "\udc00"}
    scripted_server.default = hostile(lambda _: "", lambda _: said)
    lm = connect("openai/odd", api_base=scripted_server.base, api_key="k")
    assert lm("Say \ud83d good.") == [{"text": "Good \ufffd", "reasoning_content": "\ufffd"}]
    assert scripted_server.requests[0].prompt.endswith("Say \ufffd good.")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r'{"a": "\ud83d."}', r'{"a": "\ufffd."}'),
        (r'{"a": "\ud83d\ude00"}', r'{"a": "\ud83d\ude00"}'),
        (r'{"a": "\\ud83d"}', r'{"a": "\\ud83d"}'),
        (r'{"a": "\ude00\ud83d"}', r'{"a": "\ufffd\ufffd"}'),
        (r"Java writes \ud83d for a half.", r"Java writes \ud83d for a half."),
        ("\ud83d\ude00 and \ude00", "\U0001f600 and \ufffd"),
    ],
)
def test_texts_are_well_formed(text: str, expected: str) -> None:
    assert well_formed(text) == expected


def test_a_character_may_come_in_two_pieces() -> None:
    shown = ThoughtFilter()
    assert [shown.feed(piece) for piece in ("Good \ud83d", "\ude00", " day\ud83d", "!")] == [
        "Good ",
        "\U0001f600",
        " day",
        "\ufffd!",
    ]


@pytest.mark.parametrize(
    "value",
    [
        {"id": "x"},
        {"message": {"role": "assistant", "parts": 7}},
        {"message": None, "usage": []},
    ],
)
def test_what_can_not_be_replayed_is_asked_anew(
    scripted_server: ScriptedServer, tmp_path: Path, value: dict[str, Any]
) -> None:
    path = tmp_path / "calls.jsonl"

    def ask() -> tuple[Any, Budget]:
        budget = Budget()
        lm = connect("openai/odd", api_base=scripted_server.base, api_key="k", budget=budget, journal=Journal(path))
        return lm("Hi"), budget

    assert ask()[0] == ["ok"]
    (line,) = path.read_text().splitlines()
    path.write_text(json.dumps({"key": json.loads(line)["key"], "value": value}) + "\n")
    said, budget = ask()
    assert said == ["ok"]
    assert (budget.spent.calls, budget.spent.replayed) == (1, 0)
    assert len(scripted_server.requests) == 2
    said, budget = ask()
    assert (budget.spent.calls, budget.spent.replayed) == (0, 1), "and written"


def test_a_journal_line_without_a_value_is_no_answer(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    path.write_text('{"key": "a", "value": null}\n{"key": ["b"], "value": {}}\n[1]\n7\n')
    journal = Journal(path)
    assert len(journal) == 0
    assert journal.get("a") is None


@pytest.mark.parametrize("seed", ["-1", str(2**64)])
@pytest.mark.parametrize("verb", ["fit", "update", "eval", "optimize", "distill"])
def test_a_seed_out_of_range_is_refused_before_anything_is_asked(
    run: Run, options: list[str], scripted_server: ScriptedServer, tmp_path: Path, verb: str, seed: str
) -> None:
    people = str(people_who_write(tmp_path / "people.jsonl"))
    files = [str(each) for each in write(tmp_path / "texts", "a.txt")]
    arguments = {
        "fit": ["fit", *files, "--user", "ada", *options],
        "update": ["update", *files, "--user", "ada", *options],
        "eval": ["eval", people, *options],
        "optimize": ["optimize", "generate", "--task", people, "--out", "out", *options],
        "distill": ["distill", "--prompts", people, "--user", "ada", "--out", "out"],
    }
    done = run(*arguments[verb], "--seed", seed)
    assert done.code == 2, done.err
    assert "'--seed'" in done.err
    assert not scripted_server.requests


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_out_of_range_is_refused_in_python(seed: int) -> None:
    for begin in (
        lambda: Personalizer(seed=seed),
        lambda: Plan(seed=seed),
        lambda: Recipe(seed=seed),
        lambda: check_search(Personalizer(), trainset=[], optimizer="gepa", seed=seed),
    ):
        with pytest.raises(InputError, match="A seed of"):
            begin()
    Personalizer(seed=2**64 - 1)


@pytest.mark.parametrize("options", [{"max_calls": -1}, {"max_usd": math.nan}, {"max_tokens": -5}], ids=str)
def test_a_cap_that_is_no_number_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="A budget of"):
        Budget(**options)


@pytest.mark.parametrize(
    "begin",
    [
        lambda: Personalizer(reference=0),
        lambda: Personalizer(half_life=math.nan),
        lambda: Personalizer(best_of=0),
        lambda: Plan(users=0),
        lambda: Plan(best_of=0),
        lambda: Recipe(epochs=math.nan),
        lambda: Recipe(epochs=math.inf),
        lambda: check_search(Personalizer(), trainset=[], optimizer="gepa", max_steps=0),
    ],
)
def test_limits_are_checked_before_anything_is_asked(begin: Callable[[], object]) -> None:
    with pytest.raises(InputError):
        begin()
