"""Guided writing: controlled decoding by blocks, the reward of texts, drafts and revision."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import dspy
import numpy as np
import pytest
from numpy.typing import NDArray

from hyperalign.backends.models.connect import connect
from hyperalign.errors import InputError
from hyperalign.population import ShippedPopulation, StorePopulation
from hyperalign.profile import Measurement, Profile
from hyperalign.programs.decoding import Branch, Repeats, leave_out, pick, write_guided
from hyperalign.programs.guided import REWRITE, GuidedGenerate
from hyperalign.programs.reward import Reward
from hyperalign.programs.text_reward import TextReward, passages, word_cosine
from hyperalign.records import Edit, Pair, Sample
from hyperalign.style.claims import find_differences

from ..fixtures.scripted_server import Recorded, ScriptedServer, Step, error, reply

SHIPPED = [record for record in ShippedPopulation().records("") if isinstance(record, Sample)]
ADA = [record for record in SHIPPED if record.user == "ada"]
BRUNO = [record for record in SHIPPED if record.user == "bruno"]


class Scripted:
    """A session whose ways to go on are given: each block has one list."""

    def __init__(self, blocks: Sequence[Sequence[Branch]]) -> None:
        self.text = ""
        self.asked: list[tuple[int, int]] = []
        self._blocks = [*blocks]
        self._now: Sequence[Branch] = ()

    def branch(self, count: int, tokens: int, *, temperature: float = 0.8) -> list[Branch]:
        del temperature
        self.asked.append((count, tokens))
        self._now = self._blocks.pop(0)
        return [*self._now]

    def keep(self, index: int) -> None:
        self.text += self._now[index].text


def likes(word: str) -> Callable[[Sequence[str]], NDArray[np.float64]]:
    return lambda texts: np.array([float(text.count(word)) for text in texts])


def test_each_block_goes_on_from_the_best_way() -> None:
    session = Scripted(
        [
            [Branch("A dog came. ", 10, False), Branch("A cat came. ", 10, False)],
            [Branch("The cat sat.", 5, True), Branch("It left.", 4, False)],
        ]
    )
    told: list[str] = []
    found = write_guided(session, likes("cat"), count=2, block=10, max_tokens=40, told=told.append)
    assert found.text == "A cat came. The cat sat."
    assert (found.tokens, found.blocks) == (29, 2), "what was not kept was written, too"
    assert told == ["A cat came. ", "The cat sat."]


def test_an_answer_is_no_longer_than_asked_and_ends_after_a_sentence() -> None:
    session = Scripted([[Branch("One came. Two ca", 10, False)], [Branch("me and th", 5, False)]])
    found = write_guided(session, likes("x"), count=1, block=10, max_tokens=15)
    assert session.asked == [(1, 10), (1, 5)]
    assert found.text == "One came."


def test_an_answer_without_room_is_not_whole() -> None:
    session = Scripted([[Branch("It was late. We le", 8, False)], [Branch("", 0, False)]])
    found = write_guided(session, likes("cat"), count=1, block=8)
    assert (found.text, found.is_whole) == ("It was late.", False)
    assert write_guided(Scripted([[Branch("It was late", 8, True)]]), likes("cat"), count=1).is_whole


def test_the_model_says_when_to_end_by_half_of_its_ways() -> None:
    ways = [Branch("The cat. ", 3, True), Branch("A dog came and ", 4, False), Branch("It was late and ", 4, False)]
    end = [Branch("left.", 2, True), Branch("slept.", 2, True), Branch("sat", 1, False)]
    assert write_guided(Scripted([ways, end]), likes("cat"), count=3).text == "A dog came and left."


def test_circles_and_copies_are_chosen_only_where_all_are() -> None:
    copied = "we went down to the river before the sun was up and saw herons there"
    circle = "the cat sat and " * 12
    plain = "Nobody saw anything at all."
    assert pick([copied, plain], likes("river"), [copied]) == 1
    assert pick([circle, plain], likes("cat")) == 1
    assert pick([circle, copied], likes("cat"), [copied]) == 0
    # Where all do, the one that does least.
    assert pick([circle, circle + "the dog came home and nobody saw it again"], likes("cat")) == 1


def test_many_short_copies_are_a_copy() -> None:
    own = "we went down to the river, before the sun was up, and saw the herons rise over the far bank of it"
    pieces = "we went down to the lake, before the sun was high, and saw the herons rise above the far bank there"
    fresh = "In the end nobody came to the river with me, so I sat there for an hour and counted the boats alone."
    assert pick([pieces, fresh], likes("herons"), [own]) == 1


def test_words_that_would_repeat_are_known_before_they_are_written() -> None:
    own = "We went down to the river before the sun was up."
    repeats = Repeats([own])
    assert repeats.next_words("Then we went down -- to the River") == {"before"}
    assert repeats.next_words("They went to the river") == set(), "three words may be chance"
    assert repeats.next_words("It was late and it rained. It was late and it") == {"rained"}
    assert repeats.next_words("") == set()


def test_the_reward_tells_a_person_s_unseen_texts_from_others() -> None:
    reward = TextReward([each.text for each in ADA[:-2]], [each.text for each in BRUNO])
    own, other = reward.score([ADA[-1].text, BRUNO[0].text])
    assert own > other
    spread = reward.own_range()
    assert spread.low <= spread.median <= spread.high
    # Held out: a text that the reward was learned from would score higher.
    assert spread.median < np.median(reward.score([each.text for each in ADA[:-2]]))
    assert reward.score([""])[0] == -np.inf
    with pytest.raises(InputError, match="somebody else"):
        TextReward([ADA[0].text], [])


def test_passages_are_whole_sentences_and_lose_nothing() -> None:
    for record in SHIPPED:
        parts = passages(record.text)
        assert " ".join(parts).split() == record.text.split()
    assert passages("Too short.") == []
    assert passages("Too short.", least=1) == ["Too short."]


STYLE = {"sentence_words": Measurement(value=38.0, reference=20.0, z=2.5)}
PROFILE = Profile(user="ada", style=STYLE)
SHORT = "I came. I saw it. We left. It was fine."
LONG = (
    "I came down to the river, which was higher than it had been all winter, and waited there for an hour with the "
    "dogs before anybody else thought of coming, so that we had it to ourselves."
)


def test_differences_are_told_with_both_figures() -> None:
    (told,) = find_differences({"sentence_words": 38.0}, SHORT)
    assert "long sentences" in told and "38" in told and "3" in told
    assert find_differences({"sentence_words": 38.0}, LONG) == []


def test_content_is_compared_without_function_words() -> None:
    assert word_cosine("The meeting is on Monday.", "On Monday there is the meeting.") > 0.9
    assert word_cosine("The meeting is on Monday.", "It is on the table.") < 0.1
    assert word_cosine("", "x") == 0.0


def drafts_by(request: Recorded) -> str:
    """Says what was asked, in a manner that only being told or shown changes."""
    said = request.prompt
    if "write as this person does" in said:
        return f"{LONG} The dinner is on Friday."
    return f"The dinner is on Friday. {SHORT}"


def test_a_hosted_model_drafts_and_revises_once_told_in_figures(scripted_server: ScriptedServer) -> None:
    scripted_server.default = reply(drafts_by)
    others = StorePopulation(lambda _: BRUNO)
    program = GuidedGenerate("medium", population=others)
    with dspy.context(lm=connect(f"vllm:{scripted_server.url}", num_retries=0)):
        found = program(prompt="Decline the dinner on Friday.", profile=PROFILE, records=ADA)
    assert len(scripted_server.requests) == 4, "the bare answer, two drafts, and one revision: four times an answer"
    (*_, revision) = scripted_server.requests
    assert [len(each.messages) for each in scripted_server.requests].count(1) == 1, "the bare model is told nothing"
    assert "38" in revision.messages[-1]["content"]
    assert ADA[0].text[:40] in revision.prompt, "whole texts are shown"
    assert found.revised and found.answer.startswith("I came down to the river")
    assert found.rewards[0] > found.rewards[1]
    assert found.moved[0].feature == "sentence_words"


def test_a_revision_that_says_something_else_is_not_taken(scripted_server: ScriptedServer) -> None:
    def reply_by(request: Recorded) -> str:
        lost = "write as this person does" in request.prompt
        return LONG if lost else f"The farewell dinner on Friday, the colleague, the note. {SHORT}"

    scripted_server.default = reply(reply_by)
    with dspy.context(lm=connect(f"vllm:{scripted_server.url}", num_retries=0)):
        found = GuidedGenerate("medium")(prompt="Decline the dinner.", profile=PROFILE, records=ADA)
    assert not found.revised
    assert "dinner" in found.answer


def test_low_effort_only_tells(scripted_server: ScriptedServer) -> None:
    scripted_server.default = reply(SHORT)
    with dspy.context(lm=connect(f"vllm:{scripted_server.url}", num_retries=0)):
        GuidedGenerate("low")(prompt="Decline.", profile=PROFILE, records=ADA)
        assert len(scripted_server.requests) == 2
        GuidedGenerate("high")(prompt="Decline.", profile=PROFILE)
    assert len(scripted_server.requests) == 4, "where nothing can choose, more drafts would be wasted"
    with pytest.raises(InputError, match="no effort"):
        GuidedGenerate("all")  # type: ignore[arg-type]


def test_corrections_are_shown_as_answers_to_their_drafts(scripted_server: ScriptedServer) -> None:
    scripted_server.default = reply(SHORT)
    edits = [
        Edit(user="ada", prompt="Correct it.", draft=f"Send me the report {i}.", edited=f"{LONG} {i}.")
        for i in range(4)
    ]
    theirs = [
        Edit(user="bo", prompt="Correct it.", draft=f"Send me the report {i}.", edited=f"{SHORT} {i}.")
        for i in range(4)
    ]
    program = GuidedGenerate("medium", population=StorePopulation(lambda _: theirs))
    prompt = REWRITE.format(draft="Come at 9.")
    with dspy.context(lm=connect(f"vllm:{scripted_server.url}", num_retries=0)):
        found = program(prompt=prompt, profile=PROFILE, records=edits, draft="Come at 9.")
    shown = max((each.messages for each in scripted_server.requests[:3]), key=len)
    asked = [turn["content"] for turn in shown if turn["role"] == "user"]
    assert asked[0].startswith(REWRITE.format(draft="Send me the report"))
    assert asked[-1].endswith("Come at 9.")
    assert found.own is not None


def test_who_only_chose_is_steered_by_the_reward_of_choices(scripted_server: ScriptedServer) -> None:
    pairs = [Pair(user="u", prompt=f"Q{i}?", chosen=f"{LONG} {i}", rejected=f"{SHORT} {i}") for i in range(8)]
    profile = Profile(user="u", reward=Reward.fit(pairs).to_profile([]))
    scripted_server.default = reply(lambda request: LONG if request.body.get("seed") == 2 else SHORT)
    with dspy.context(lm=connect(f"vllm:{scripted_server.url}", num_retries=0)):
        found = GuidedGenerate("high")(prompt="What happened?", profile=profile, records=pairs)
    assert found.answer == LONG
    assert found.own is None
    assert found.rewards[0] > found.rewards[1]


def test_where_every_draft_copies_none_of_their_texts_is_shown(scripted_server: ScriptedServer) -> None:
    copied = ADA[0].text[:300]
    scripted_server.default = reply(lambda request: copied if ADA[0].text[:40] in request.prompt else SHORT)
    with dspy.context(lm=connect(f"vllm:{scripted_server.url}", num_retries=0)):
        found = GuidedGenerate("low")(prompt="Decline.", profile=PROFILE, records=ADA)
    assert found.answer == SHORT


def test_hosted_models_are_told_once_what_to_do(scripted_server: ScriptedServer) -> None:
    scripted_server.default = reply(drafts_by)
    program = GuidedGenerate("medium", population=StorePopulation(lambda _: BRUNO))
    with dspy.context(lm=connect(f"vllm:{scripted_server.url}", num_retries=0)):
        program(prompt="Decline the dinner on Friday.", profile=PROFILE, records=ADA)
    instructions = "Write the answer that this person would write"
    assert {each.prompt.count(instructions) for each in scripted_server.requests[:3]} == {0, 1}
    assert "Rewrite your last answer" in scripted_server.requests[-1].prompt


def test_texts_without_words_tell_nothing_and_stop_nothing(scripted_server: ScriptedServer) -> None:
    scripted_server.default = reply(drafts_by)
    records = [Sample(user="ada", text=text) for text in ("👍", "?!", "…")]
    with dspy.context(lm=connect(f"vllm:{scripted_server.url}", num_retries=0)):
        program = GuidedGenerate("medium", population=StorePopulation(lambda _: [*BRUNO, records[0]]))
        alone = program(prompt="Decline.", profile=PROFILE, records=records)
        found = program(prompt="Decline.", profile=PROFILE, records=[*records, ADA[0]])
        many = program(prompt="Decline.", profile=PROFILE, records=[*records, *ADA])
    assert alone.own is None and alone.rewards is None
    for each in (found, many):
        assert np.isfinite([*each.own, *each.rewards]).all()


def test_a_long_draft_may_be_rewritten_at_its_length(scripted_server: ScriptedServer) -> None:
    scripted_server.default = reply(SHORT)
    draft = "We meet on Friday at nine, and bring the plans. " * 80
    with dspy.context(lm=connect(f"vllm:{scripted_server.url}", num_retries=0)):
        GuidedGenerate("low")(prompt=REWRITE.format(draft=draft), profile=PROFILE, records=ADA, draft=draft)
    assert {each.body["max_tokens"] for each in scripted_server.requests} == {len(draft.encode()) // 2}


def test_what_the_draft_says_itself_is_no_copy(scripted_server: ScriptedServer) -> None:
    sign = "Kind regards from the harbour office, where the door is always open and the kettle on since 1987, Ada"
    records = [each.model_copy(update={"text": f"{each.text}\n{sign}"}) for each in ADA]
    draft = f"Come on Friday at nine. {sign}"
    scripted_server.default = reply(lambda request: draft if sign in request.prompt else "No.")
    with dspy.context(lm=connect(f"vllm:{scripted_server.url}", num_retries=0)):
        found = GuidedGenerate("low")(prompt=REWRITE.format(draft=draft), profile=PROFILE, records=records, draft=draft)
    assert found.answer == draft and not found.rewritten
    own = "We went to the river. See you soon at the old mill."
    assert leave_out(own, "Come. See you soon at the old mill, Bo") == ["we went to the river"]
    assert leave_out(own, "See you soon.") == [own]


def test_a_revision_keeps_the_draft_s_content_as_drafts_do(scripted_server: ScriptedServer) -> None:
    draft = "The dinner is on Friday at nine in the harbour hall, with fish, wine and a dance; answer by Monday."

    def reply_by(request: Recorded) -> str:
        return f"{LONG} Dinner, Friday, harbour." if "write as this person does" in request.prompt else draft

    scripted_server.default = reply(reply_by)
    program = GuidedGenerate("medium", population=StorePopulation(lambda _: BRUNO))
    with dspy.context(lm=connect(f"vllm:{scripted_server.url}", num_retries=0)):
        found = program(prompt=REWRITE.format(draft=draft), profile=PROFILE, records=ADA, draft=draft)
    assert len(scripted_server.requests) == 4, "a revision was written"
    assert not found.revised and found.answer == draft


def test_a_long_draft_is_cut_short_by_a_model_with_a_small_window_only(scripted_server: ScriptedServer) -> None:
    too_long = error(400, "This model's maximum context length is 1000 tokens.", code="context_length_exceeded")
    short = reply(SHORT)
    scripted_server.default = Step(
        "of 400 tokens at most",
        lambda handler, request: (too_long if request.body["max_tokens"] > 400 else short).action(handler, request),
    )
    draft = "We meet on Friday at nine, and bring the plans. " * 40
    with dspy.context(lm=connect(f"vllm:{scripted_server.url}", num_retries=0)):
        found = GuidedGenerate("low")(prompt=REWRITE.format(draft=draft), profile=PROFILE, records=ADA, draft=draft)
    assert found.answer == SHORT


def test_a_revision_that_does_not_fit_costs_no_draft(scripted_server: ScriptedServer) -> None:
    too_long = error(400, "This model's maximum context length is 1000 tokens.", code="context_length_exceeded")
    drafts = reply(drafts_by)
    scripted_server.default = Step(
        "no revision",
        lambda handler, request: (too_long if "write as this person does" in request.prompt else drafts).action(
            handler, request
        ),
    )
    with dspy.context(lm=connect(f"vllm:{scripted_server.url}", num_retries=0)):
        found = GuidedGenerate("medium", population=StorePopulation(lambda _: BRUNO))(
            prompt="Decline the dinner on Friday.", profile=PROFILE, records=ADA
        )
    assert not found.revised and found.answer.endswith(SHORT)
    assert len(scripted_server.requests) == 4


def test_fewer_texts_are_shown_where_all_do_not_fit(scripted_server: ScriptedServer) -> None:
    too_long = error(400, "This model's maximum context length is 1000 tokens.", code="context_length_exceeded")
    short = reply(SHORT)
    scripted_server.default = Step(
        "of 4,000 characters at most",
        lambda handler, request: (too_long if len(request.prompt) > 4_000 else short).action(handler, request),
    )
    with dspy.context(lm=connect(f"vllm:{scripted_server.url}", num_retries=0)):
        found = GuidedGenerate("low")(prompt="Decline.", profile=PROFILE, records=ADA)
    assert found.answer == SHORT
    fitting = [each.prompt for each in scripted_server.requests if len(each.prompt) <= 4_000]
    assert any(each.text[:30] in prompt for each in ADA for prompt in fitting)
