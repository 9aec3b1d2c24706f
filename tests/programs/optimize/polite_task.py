"""A small task on a scripted server: a model that is told to be polite says please, and most people like that."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import dspy

from hyperalign.backends.models.connect import connect
from hyperalign.budget import Budget
from tests.fixtures.scripted_server import Recorded, ScriptedServer, Step, reply

POLITE = "Answer each question politely, and say please, in one short sentence that fits."


def field(name: str, text: str) -> str:
    """An answer in the form of DSPy's chat adapter."""
    return f"[[ ## {name} ## ]]\n{text}\n\n[[ ## completed ## ]]"


def answer_as_model(request: Recorded, better: str = POLITE) -> str:
    """The scripted model: a new instruction where a request asks for one, else an answer."""
    said = json.dumps(request.body["messages"])
    if "proposed_instruction" in said:
        return field("proposed_instruction", better) if better != "Hm." else "Hm."
    if "better instruction" in said:
        return json.dumps({"better": better})
    return field("answer", "Yes, please do." if "politely" in said else "Do it.")


def examples(people: int = 8, each: int = 2) -> list[dspy.Example]:
    """Questions of people; every fourth person does not care."""
    return [
        dspy.Example(question=f"Question {n} of {who}?", user=f"person-{who}", cares=who % 4 != 3).with_inputs(
            "question"
        )
        for who in range(people)
        for n in range(each)
    ]


def metric(gold: dspy.Example, pred: Any, trace: Any = None, name: Any = None, steps: Any = None) -> Any:
    """Whether somebody who cares was asked politely."""
    del trace, name, steps
    polite = "please" in str(getattr(pred, "answer", ""))
    score = 1.0 if polite else 0.0 if gold.cares else 0.8
    return dspy.Prediction(score=score, feedback="" if polite else "It did not say please.")


def program() -> dspy.Module:
    """Answers a question."""
    return dspy.Predict(dspy.Signature("question -> answer", "Answer the question."))


def model(server: ScriptedServer, budget: Budget | None = None, journal: Any = None, better: str = POLITE) -> Any:
    """A connection to the scripted model."""
    server.default = reply(lambda request: answer_as_model(request, better))
    return connect("openai/any", api_base=server.base, api_key="k", num_retries=0, budget=budget, journal=journal)


def answer_otherwise(server: ScriptedServer, when: Callable[[Recorded], bool], instead: Step) -> None:
    """Let the server do something else with some requests from now on."""
    usual = server.default
    server.default = Step(
        "but", lambda handler, request: (instead if when(request) else usual).action(handler, request)
    )


def asks_for_instruction(request: Recorded) -> bool:
    """Whether a request asks for a new instruction."""
    return "better instruction" in json.dumps(request.body["messages"])


def search_options(**changed: Any) -> dict[str, Any]:
    """Arguments of ``search``, with some of them changed."""
    return {"trainset": examples(), "metric": metric, "max_steps": 3, **changed}
