"""SynthesizeMe: reasons are kept if they predict other choices, and demonstrations if they predict those outside."""

from __future__ import annotations

import re
from collections.abc import Sequence

import dspy
import pytest

from hyperalign.backends.models.connect import connect
from hyperalign.evals.cases import Case
from hyperalign.evals.solvers.synthesizeme import Synthesized, SynthesizeMe
from hyperalign.profile import Profile
from hyperalign.records import Edit, Pair, Record, Sample
from hyperalign.scores import Message, TextScore
from tests.fixtures.scripted_server import Recorded, ScriptedServer, reply
from tests.programs.toys import words


class Letters:
    """Finds the letter likelier whose answer shares more words with everything said before the question."""

    name = "letters@1"

    def __init__(self) -> None:
        self.asked = 0

    def score(self, context: Sequence[Message], texts: Sequence[str]) -> list[TextScore]:
        assert list(texts) == ["A", "B"]
        self.asked += 1
        said = set(words(" ".join(turn["content"] for turn in context[:-1])))
        sides = re.findall(r"<([AB])>\n(.*?)\n</\1>", context[-1]["content"], re.DOTALL)
        shared = {side: len(said & set(words(text))) for side, text in sides}
        return [TextScore(float(shared[text]), 1) for text in texts]


def pair(number: int) -> Pair:
    return Pair(user="ada", prompt=f"Question {number}?", chosen=f"Marmalade {number}.", rejected=f"Gasoline {number}.")


PAIRS = [pair(number) for number in range(6)]
CASE = Case("c", "ada", "ada", "And now?", (), chosen="Marmalade, please.", rejected="Gasoline, please.")


def answers(request: Recorded) -> str:
    if "three sentences" in request.prompt:
        return "A person who loves marmalade."
    # The reason for one choice in three is wrong.
    number = int(re.findall(r"Question (\d)", request.prompt)[0])
    return "They want gasoline." if number % 3 == 0 else f"They love marmalade, reason {number}."


@pytest.fixture
def lm(scripted_server: ScriptedServer) -> dspy.LM:
    scripted_server.default = reply(answers)
    return connect(f"vllm:{scripted_server.url}", num_retries=0)


def test_a_persona_from_the_reasons_that_predict(lm: dspy.LM, scripted_server: ScriptedServer) -> None:
    solver = SynthesizeMe(Letters(), seed=3)
    with dspy.context(lm=lm):
        learned = solver.learn(PAIRS)
    assert learned is not None
    assert learned.persona == "A person who loves marmalade."
    asked = [request.prompt for request in scripted_server.requests]
    assert len(asked) == len(PAIRS) + 1
    assert "marmalade, reason 1" in asked[-1]
    assert "gasoline" not in asked[-1], "what predicts the contrary is not kept"
    assert solver.probability(learned, CASE) > 0.6
    assert solver.probability(Synthesized(), CASE) == pytest.approx(0.5)
    assert Synthesized.from_json(learned.to_json()) == learned
    turned = Case("c", "ada", "ada", "And now?", (), chosen=CASE.rejected, rejected=CASE.chosen)
    assert solver.probability(learned, turned) == pytest.approx(1 - solver.probability(learned, CASE))


def test_without_a_reason_that_predicts_there_is_no_persona(lm: dspy.LM, scripted_server: ScriptedServer) -> None:
    scripted_server.default = reply("They want gasoline.")
    with dspy.context(lm=lm):
        learned = SynthesizeMe(Letters(), seed=3).learn(PAIRS)
    assert learned is not None
    assert learned.persona == ""
    assert len(scripted_server.requests) == len(PAIRS)
    assert Synthesized().condition(Profile(user="ada"), "?", 0) == [{"role": "user", "content": "?"}]


def test_demonstrations_alternate_their_letters(lm: dspy.LM) -> None:
    class Shown(Letters):
        """Believes whoever shows more."""

        def score(self, context: Sequence[Message], texts: Sequence[str]) -> list[TextScore]:
            sides = dict(re.findall(r"<([AB])>\n(.*?)\n</\1>", context[-1]["content"], re.DOTALL))
            return [TextScore(len(context) * ("Marmalade" in sides[text]), 1) for text in texts]

    with dspy.context(lm=lm):
        learned = SynthesizeMe(Shown(), seed=3).learn(PAIRS)
    assert learned is not None
    assert [each.letter for each in learned.demonstrations] == ["A", "B", "A"]
    for each in learned.demonstrations:
        sides = dict(re.findall(r"<([AB])>\n(.*?)\n</\1>", each.question, re.DOTALL))
        assert sides[each.letter].startswith("Marmalade")


def test_corrections_are_choices_and_texts_are_not(lm: dspy.LM) -> None:
    edits: list[Record] = [Edit(user="ada", prompt=p.prompt, draft=p.rejected, edited=p.chosen) for p in PAIRS[:3]]
    with dspy.context(lm=lm):
        assert SynthesizeMe(Letters()).learn(edits) is not None
        assert SynthesizeMe(Letters()).learn([Sample(user="ada", text="Marmalade.")] * 3) is None
