"""Modules as DSPy's users know them: set_lm, acall, streamify, save and load, deepcopy, and optimizers as they come."""

from __future__ import annotations

import asyncio
import copy
import json
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dspy
import pytest

from hyperalign.backends.models.connect import connect
from hyperalign.errors import RecordError
from hyperalign.population import ShippedPopulation
from hyperalign.profile import Hypothesis, Profile
from hyperalign.programs.audit import Audit
from hyperalign.programs.deliberate import Deliberate, Weigh
from hyperalign.programs.extract import ExtractPreferences
from hyperalign.programs.generate import DrawAnswers, Generate
from hyperalign.programs.infer import InferHypotheses
from hyperalign.programs.judge import Judge
from hyperalign.programs.personalizer import Personalizer
from hyperalign.records import Pair, Sample
from tests.fixtures.scripted_server import Recorded, ScriptedServer, reply
from tests.programs.toys import OTHERS, SPACE, FixedPopulation, OverlapScorer, jam_sample

ADA = [jam_sample(i) for i in range(8)]
KIND = Hypothesis(id="h", statement="Is kind.", opposite="Is harsh.", aspect="style", source="inferred", weight=1)
PROFILE = Profile(user="ada", hypotheses=[KIND])
PAIRS = [Pair(user="ada", prompt=f"Thing {n}?", chosen=f"Toast {n}.", rejected=f"Oil {n}.") for n in range(4)]
CLAIM = json.dumps(
    {"hypothesis": {"quote": "toast and jam again", "statement": "Loves jam.", "opposite": "Loves oil."}}
)
READING = json.dumps({"reading": {"needs": "To stop it.", "charitable": "A cook.", "harmful": "A thief."}})


def answered(request: Recorded) -> str:
    """What a model that can do everything says."""
    said = request.prompt
    if "may intend" in said:
        return READING
    if '"hypothesis"' in said or "`hypothesis`" in said:
        return CLAIM
    fields = re.findall(r"\[\[ ## (\w+) ## \]\]", request.messages[-1]["content"])
    if fields:  # DSPy's own adapter, of an optimizer's model: every field that it asks for
        return "\n".join(f"[[ ## {name} ## ]]\nBe kind.\n" for name in dict.fromkeys(fields))
    asked = request.messages[-1]["content"]
    if re.search(r"Answer with \d+ lines", asked):
        return "\n".join(f"{number}: A" for number in re.findall(r"(?m)^(\d+)\. ", asked))
    if asked.endswith(("A or B?", "one letter.", "B: no.")):
        return "A"
    return "Ordinary" if asked.endswith("Harm?") else "Safe" if asked.endswith("Harmful?") else "Yes, my dear friend."


@pytest.fixture
def server(scripted_server: ScriptedServer) -> ScriptedServer:
    scripted_server.default = reply(answered)
    return scripted_server


def named(server: ScriptedServer, name: str, **settings: Any) -> dspy.LM:
    return connect(f"openai/{name}", api_base=server.base, api_key="sk-secret", num_retries=0, **settings)


def person(lm: dspy.LM | None = None, **settings: Any) -> Personalizer:
    return Personalizer(lm, population=FixedPopulation(OTHERS), space=SPACE, **{"scorer": OverlapScorer(), **settings})


def asked_of(server: ScriptedServer) -> set[str]:
    return {request.body["model"] for request in server.requests}


PROGRAMS: dict[str, tuple[Callable[[], dspy.Module], dict[str, Any]]] = {
    "generate": (lambda: Generate("verified", scorer=None), {"prompt": "Decline.", "profile": PROFILE}),
    "drafts": (lambda: Generate(best_of=3, scorer=None), {"prompt": "Decline.", "profile": PROFILE}),
    "personalizer": (person, {"prompt": "Decline.", "profile": PROFILE}),
    "fit": (person, {"prompt": "Decline.", "records": ADA}),
    "infer": (InferHypotheses, {"records": ADA, "others": OTHERS}),
    "extract": (ExtractPreferences, {"records": PAIRS}),
    "weigh": (Weigh, {"prompt": "Kill a process?"}),
    "deliberate": (Deliberate, {"prompt": "Kill a process?"}),
    "audit": (lambda: Audit(OverlapScorer()), {"statements": ["Is kind.", "Likes jam."], "records": PAIRS}),
    "manners": (DrawAnswers, {"prompts": ["Go?"]}),
    "judge": (lambda: Judge(OverlapScorer()), {"prompt": "Go?", "answers": ["Jam.", "Oil."], "profile": PROFILE}),
}


def same(one: Any, other: Any) -> bool:
    """Whether two predictions say the same; when a profile was made is nobody's business."""
    return all(
        one[key].hypotheses == other[key].hypotheses if isinstance(one[key], Profile) else one[key] == other[key]
        for key in {*one.keys(), *other.keys()}
    )


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_what_is_awaited_says_and_asks_the_same(server: ScriptedServer, name: str) -> None:
    build, inputs = PROGRAMS[name]
    lm = named(server, "any")

    async def later() -> Any:
        with dspy.context(lm=lm):
            return await build().acall(**inputs)

    with dspy.context(lm=lm):
        now = build()(**inputs)
    before = sorted(request.prompt for request in server.requests)
    server.requests.clear()
    assert same(asyncio.run(later()), now)
    assert sorted(request.prompt for request in server.requests) == before


@pytest.mark.parametrize("name", ["drafts", "infer", "weigh"])
def test_what_does_not_depend_on_each_other_goes_side_by_side(server: ScriptedServer, name: str) -> None:
    build, inputs = PROGRAMS[name]
    at_once, most, lock = 0, 0, threading.Lock()

    def counted(request: Recorded) -> str:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.3)
        with lock:
            at_once -= 1
        return answered(request)

    server.default = reply(counted)

    async def later() -> None:
        with dspy.context(lm=named(server, "any")):
            await build().acall(**inputs)

    with dspy.context(lm=named(server, "any")):
        build()(**inputs)
    assert most == (2 if name == "weigh" else 3)
    most = 0
    asyncio.run(later())
    assert most == (2 if name == "weigh" else 3)
    most = 0
    with dspy.context(lm=named(server, "one", concurrency=1)):
        build()(**inputs)
    assert most == 1


@pytest.mark.parametrize("name", sorted(set(PROGRAMS) - {"judge"}))
def test_set_lm_is_obeyed(server: ScriptedServer, name: str) -> None:
    build, inputs = PROGRAMS[name]
    program = build()
    program.set_lm(named(server, "set"))
    with dspy.context(lm=named(server, "configured")):
        program(**inputs)
    assert asked_of(server) == {"set"}


def test_the_model_that_was_asked_is_the_one_that_is_named(server: ScriptedServer) -> None:
    given, configured = named(server, "given"), named(server, "configured")
    with dspy.context(lm=configured):
        by_given, by_configured = person(given, scorer=None), person(scorer=None)
        assert by_given.fit(ADA).provenance.model == "openai/given"
        assert asked_of(server) == {"given"}
        server.requests.clear()
        found = by_configured.fit_detailed(ADA)
        assert found.profile.provenance.model == "openai/configured"
        assert found.memory.settings["scorer"] == "openai/configured"
        assert asked_of(server) == {"configured"}
        server.requests.clear()
        by_given.set_lm(named(server, "set"))
        found = by_given.fit_detailed(ADA)
    assert found.profile.provenance.model == "openai/set"
    assert found.memory.settings["scorer"] == "openai/set"
    assert by_given.lm is not None
    assert by_given.lm.model == "openai/set"
    assert asked_of(server) == {"set"}


def streamed(program: dspy.Module, lm: dspy.LM, inputs: dict[str, Any], **settings: Any) -> list[Any]:
    async def pieces() -> list[Any]:
        with dspy.context(lm=lm):
            return [each async for each in dspy.streamify(program, **settings)(**inputs)]

    return asyncio.run(pieces())


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("name", ["generate", "personalizer", "fit", "deliberate"])
def test_the_answer_is_streamed(server: ScriptedServer, name: str, is_async: bool) -> None:
    build, inputs = PROGRAMS[name]
    lm = named(server, "any")
    *chunks, last = streamed(build(), lm, inputs, is_async_program=is_async)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == last.answer == "Yes, my dear friend."
    assert len(chunks) > 3, "as it comes"
    listener = dspy.streaming.StreamListener("answer", allow_reuse=True)
    if name == "deliberate":
        return  # two of its predictors have that field
    *said, end = streamed(build(), lm, inputs, is_async_program=is_async, stream_listeners=[listener])
    assert "".join(each.chunk for each in said) == end.answer
    assert {each.signature_field_name for each in said} == {"answer"}
    assert [each.is_last_chunk for each in said].index(True) == len(said) - 1


def test_of_several_drafts_none_is_streamed_before_it_is_chosen(server: ScriptedServer) -> None:
    build, inputs = PROGRAMS["drafts"]
    (last,) = streamed(build(), named(server, "any"), inputs)
    assert len(last.drafts) == 3


@pytest.mark.parametrize("name", ["generate", "personalizer", "fit"])
def test_a_saved_program_goes_on_as_it_was(server: ScriptedServer, name: str, tmp_path: Path) -> None:
    build, inputs = PROGRAMS[name]
    lm = named(server, "any")
    first = person(lm) if name != "generate" else build()
    predictors = dict(first.named_predictors())
    answer = predictors["answer" if name == "generate" else "generate.answer"]
    answer.signature = answer.signature.with_instructions("Be brief.")
    answer.demos = [dspy.Example(prompt="Greet.", profile=PROFILE, answer="Hello.")]
    with dspy.context(lm=lm):
        first(**inputs)
    sent = sorted(json.dumps(request.messages) for request in server.requests)
    saved = tmp_path / "saved"
    first.save(saved / "whole", save_program=True)
    first.save(saved / "state.json")
    second = person(lm) if name != "generate" else build()
    second.load(saved / "state.json")
    whole = dspy.load(str(saved / "whole"), allow_pickle=True)
    for program in (second, whole):
        if name == "fit" and program is whole:
            continue  # without the records of other people, it is held against the example people
        server.requests.clear()
        with dspy.context(lm=lm):
            program.set_lm(lm)
            program(**inputs)
        assert sorted(json.dumps(request.messages) for request in server.requests) == sent
    written = b"".join(path.read_bytes() for path in saved.rglob("*") if path.is_file())
    assert b"Be brief." in written
    words = [sample.text.encode() for sample in (*ADA, *OTHERS)]
    assert not [each for each in (b"sk-secret", *words) if each in written]


@pytest.mark.parametrize("name", ["generate", "personalizer"])
def test_a_model_that_was_set_is_saved_without_its_key_and_connected_again(
    server: ScriptedServer, name: str, tmp_path: Path
) -> None:
    build, inputs = PROGRAMS[name]
    lm = named(server, "any", extra_headers={"X-Key": "sk-header"})
    first = build()
    first.set_lm(lm)
    first(**inputs)
    saved = tmp_path / "saved"
    first.save(saved / "whole", save_program=True)
    first.save(saved / "state.json")
    written = b"".join(path.read_bytes() for path in saved.rglob("*") if path.is_file())
    assert b"openai/any" in written
    assert not [each for each in (b"sk-secret", b"sk-header", b"Is kind.", b"Decline.") if each in written]
    second = build()
    second.load(saved / "state.json", allow_unsafe_lm_state=True)
    whole = dspy.load(str(saved / "whole"), allow_pickle=True)
    assert whole.get_lm().model == "openai/any", "one model is still one"
    assert {predictor.lm.model for predictor in second.predictors()} == {"openai/any"}


def test_a_program_that_was_saved_whole_stands_on_its_own_feet(server: ScriptedServer, tmp_path: Path) -> None:
    first = person(named(server, "any"), half_life=7.0, strategy="persona", progress=lambda *_: None)
    first.save(tmp_path / "whole", save_program=True)
    loaded = dspy.load(str(tmp_path / "whole"), allow_pickle=True)
    assert (loaded.settings["half_life"], loaded.lm.model) == (7.0, "openai/any")
    assert loaded.settings["population"] == sorted(record.id for record in ShippedPopulation().records(""))
    assert loaded.scorer is None, "the scorer that was handed in is not saved, and this model has none"


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_a_deep_copy_has_prompts_of_its_own_and_shares_the_model(server: ScriptedServer, name: str) -> None:
    build, inputs = PROGRAMS[name]
    lm = named(server, "any")
    first = build()
    first.set_lm(lm)
    for copied in (copy.deepcopy(first), first.deepcopy()):
        assert type(copied) is type(first)
        assert [each for each, _ in copied.named_predictors()] == [each for each, _ in first.named_predictors()]
        for (_, mine), (_, theirs) in zip(copied.named_predictors(), first.named_predictors(), strict=True):
            assert mine is not theirs
            assert mine.lm is theirs.lm is lm
            before = list(theirs.demos)
            mine.signature = mine.signature.with_instructions("Changed.")
            mine.demos.append(dspy.Example(answer="Changed."))
            assert theirs.demos == before
            assert theirs.signature.instructions != "Changed."
    with dspy.context(lm=lm):
        copied = first.deepcopy()
        assert same(copied(**inputs), first(**inputs))


def test_a_deep_copy_of_a_personalizer_shares_its_ledger_and_other_people(server: ScriptedServer) -> None:
    from hyperalign.budget import Budget

    budget, scorer = Budget(), OverlapScorer()
    first = person(named(server, "any", budget=budget), budget=budget, scorer=scorer)
    first.deepcopy()(prompt="Decline.", records=ADA)
    assert set(budget.by_step) >= {"infer", "generate"}
    assert scorer.asked


WITH_PROFILE = [
    dspy.Example(prompt=f"Decline {n}.", profile=PROFILE, answer=f"No, dear {n}.").with_inputs("prompt", "profile")
    for n in range(6)
]
WITH_RECORDS = [
    dspy.Example(prompt=f"Decline {n}.", records=ADA, answer=f"No, dear {n}.").with_inputs("prompt", "records")
    for n in range(6)
]


def gives_an_answer(gold: dspy.Example, pred: Any, trace: Any = None) -> bool:
    return "dear" in pred.answer


@pytest.mark.parametrize(
    ("optimizer", "program"),
    [
        *(("bootstrap", each) for each in ("generate", "with profiles", "with records")),
        *(("labeled", each) for each in ("generate", "with profiles", "with records")),
        # With records it fits sixty times, and asks the same predictors.
        *(("mipro", each) for each in ("generate", "with profiles")),
    ],
)
def test_optimizers_run_as_they_come(
    server: ScriptedServer, optimizer: str, program: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lm = named(server, "any")
    student = Generate("verified", scorer=None) if program == "generate" else person(lm)
    trainset = WITH_RECORDS if program == "with records" else WITH_PROFILE
    with dspy.context(lm=lm):
        if optimizer == "bootstrap":
            better = dspy.BootstrapFewShot(metric=gives_an_answer).compile(student, trainset=trainset)
        elif optimizer == "labeled":
            better = dspy.LabeledFewShot().compile(student, trainset=trainset)
        else:
            better = dspy.MIPROv2(metric=gives_an_answer).compile(student, trainset=trainset)
        server.requests.clear()
        found = better(prompt="Decline 9.", profile=PROFILE)
    assert found.answer == "Yes, my dear friend."
    (sent,) = [request.messages for request in server.requests]
    told = [turn["content"] for turn in sent if turn["role"] == "assistant"]
    if optimizer == "labeled":
        assert sorted(told) == [f"No, dear {n}." for n in range(6)], "an optimizer's examples are shown"
    if optimizer == "bootstrap":
        assert told.count("Yes, my dear friend.") == 4
        assert sum(each.startswith("No, dear") for each in told) == 2
    if optimizer != "mipro" and program != "with records":
        assert "Write as a person like this:\n- Is kind.\n\nDecline" in sent[1]["content"], "with its own profile"


def test_plain_texts_and_dicts_are_records_of_one_person(server: ScriptedServer) -> None:
    lm = named(server, "any")
    profile = person(lm).fit([sample.text for sample in ADA])
    assert profile.user == "me"
    assert len(profile.provenance.records) == len(ADA)
    mixed: list[Any] = [{"text": ADA[0].text, "prompt": "Go."}, *ADA[1:]]
    assert person(lm).fit(mixed).user == "ada"
    with pytest.raises(RecordError, match=r"row 2: .*this is no record"):
        person(lm).fit(["Some text of mine.", {"txt": "Misspelled."}])
    with pytest.raises(RecordError, match=r"row 1: text"):
        person(lm).fit([" "])
    with pytest.raises(RecordError, match="row 3: a int is no record"):
        person(lm).fit(["One text.", Sample(user="ada", text="Another."), 3])  # type: ignore[list-item]
