"""New records are added without reading the old ones again: the same weights for a fraction of the tokens, and a taste
that changed is followed."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence

import dspy
import pytest

from hyperalign.backends.models.connect import connect
from hyperalign.errors import InputError
from hyperalign.profile import Profile
from hyperalign.programs.fit_result import RECENT, Memory
from hyperalign.programs.personalizer import Personalizer
from hyperalign.programs.update import HALF_LIFE, Update
from hyperalign.records import Pair, Record, Sample
from hyperalign.scores import Message, TextScore
from tests.fixtures.scripted_server import ScriptedServer, reply

from .toys import OTHERS, SPACE, FixedPopulation, OverlapScorer, jam_sample


class Counting(OverlapScorer):
    """Counts the words that it reads, once a context and once a statement, as a model's tokens would be."""

    def __init__(self) -> None:
        super().__init__()
        self.words = 0

    def score(self, context: Sequence[Message], texts: Sequence[str]) -> list[TextScore]:
        self.words += sum(len(turn["content"].split()) for turn in context) + sum(len(text.split()) for text in texts)
        return super().score(context, texts)


FRUIT, ENGINE = ("Toast, jam and marmalade with {0}.", "An engine with oil and smoke, {0}.")
SEA, ROAD = ("Then an anchor and a sail.", "Then a carriage and a horse.")


def choices(
    count: int, *, turned_at: int | None = None, seed: int = 0, user: str = "ada", start: int = 0
) -> list[Record]:
    """Somebody who likes jam and doesn't care about ships; from ``turned_at`` on they like engines."""
    draw = random.Random(seed)
    found: list[Record] = []
    for n in range(start, start + count):
        ends = [SEA, ROAD]
        draw.shuffle(ends)
        likes, dislikes = (FRUIT, ENGINE) if turned_at is None or n < turned_at else (ENGINE, FRUIT)
        # One in ten is a slip.
        if draw.random() < 0.1:
            likes, dislikes = dislikes, likes
        day = "".join(draw.choices("bdfgklmnprstvz", k=7))
        chosen, rejected = (f"{side.format(day)} {end}" for side, end in ((likes, ends[0]), (dislikes, ends[1])))
        found.append(Pair(user=user, id=f"{user}-{n}", prompt=f"Say {n}.", chosen=chosen, rejected=rejected))
    return found


UNDECIDED = [record for n in range(4) for record in choices(3, seed=50 + n, user=f"other{n}", turned_at=2 * (n % 2))]


@pytest.fixture
def lm(scripted_server: ScriptedServer) -> dspy.LM:
    scripted_server.default = reply("Nothing that could be read.")
    return connect("openai/any", api_base=scripted_server.base, api_key="k", num_retries=0)


def person(lm: dspy.LM, scorer: OverlapScorer | None = None, half_life: float | None = HALF_LIFE) -> Personalizer:
    return Personalizer(
        lm,
        scorer=scorer or OverlapScorer(),
        population=FixedPopulation([*UNDECIDED, *OTHERS]),
        space=SPACE,
        reference=12,
        tested=200,  # all: what was read once must count as if it were read now
        half_life=half_life,
    )


def streamed(fitter: Personalizer, records: Sequence[Record], memory: Memory | None = None) -> Update:
    """One record after the other, with the memory written and read between, as on disk."""
    found: Update | None = None
    for record in records:
        found = fitter.update([record], memory)
        memory = Memory.from_json(found.memory.to_json(), where="memory")
    assert found is not None
    return found


def statements(profile: Profile) -> dict[str, float]:
    return {h.statement: h.weight for h in profile.hypotheses}


def test_a_stream_ends_where_fitting_all_at_once_does(lm: dspy.LM) -> None:
    records = choices(64)
    one_by_one = streamed(person(lm), records).profile
    at_once = person(lm).fit(records)
    assert "Marmalade jam toast." in statements(at_once)
    # Claims of measured style are made anew from the newest records, so that their words differ.
    apart = {h.statement for h in [*at_once.hypotheses, *one_by_one.hypotheses] if h.source != "measured"}
    for statement in apart:
        assert statements(one_by_one)[statement] == pytest.approx(statements(at_once)[statement], abs=0.001)
    for name, probability in at_once.direction.items():
        assert one_by_one.direction[name] == pytest.approx(probability, abs=0.001)
    assert one_by_one.provenance.records == [record.id for record in records]


def test_a_step_reads_a_tenth_of_what_fitting_anew_does(lm: dspy.LM, scripted_server: ScriptedServer) -> None:
    records = choices(64)
    all_at_once, scorer = Counting(), Counting()
    person(lm, all_at_once).fit(records)
    fitter = person(lm, scorer)
    memory, most, asked = None, 0, 0
    for n, record in enumerate(records):
        before, calls = scorer.words, len(scripted_server.requests)
        memory = fitter.update([record], memory).memory
        if n >= 4:  # the fourth fits them for the first time
            most = max(most, scorer.words - before)
            asked += len(scripted_server.requests) - calls
    assert most <= all_at_once.words / 10
    assert asked == 0, "what is believed holds, so nothing is proposed"


@pytest.mark.parametrize("half", range(2))
def test_a_taste_that_changed_is_followed(lm: dspy.LM, half: int) -> None:
    believed = gone = followed = 0
    for seed in range(25 * half, 25 * half + 25):
        records = choices(44, turned_at=32, seed=seed)
        fitter = person(lm)
        then = fitter.update(records[:32])
        believed += "Marmalade jam toast." in statements(then.profile)
        now = streamed(fitter, records[32:], then.memory)
        gone += "Marmalade jam toast." not in statements(now.profile)
        followed += now.profile.direction["jam"] < 0.5
    assert believed >= 23
    assert gone >= 23
    assert followed >= 20


def test_without_a_half_life_what_is_old_counts_alike(lm: dspy.LM) -> None:
    records = choices(44, turned_at=32)
    fitter = person(lm, half_life=None)
    now = fitter.update(records[32:], fitter.update(records[:32]).memory)
    assert "Marmalade jam toast." in statements(now.profile)
    with pytest.raises(InputError, match="half-life of 0"):
        person(lm, half_life=0)


def test_what_teaches_nothing_is_skipped_and_said(lm: dspy.LM) -> None:
    scorer = OverlapScorer()
    fitter = person(lm, scorer)
    records = choices(8)
    memory = fitter.update(records).memory
    asked = len(scorer.asked)
    same = Pair(user="ada", prompt="Say it.", chosen="The same.", rejected=" The same.\n")
    again = records[-1].model_copy(update={"id": "another"})
    found = fitter.update([records[0], same, again], memory)
    assert found.added == []
    assert list(found.skipped.values()) == [
        "it was read before",
        "both of its texts say the same",
        "it repeats a record that was just read",
    ]
    assert len(scorer.asked) == asked
    assert fitter.update([same], found.memory).skipped == {same.id: "it taught nothing before"}


def test_what_speaks_against_a_belief_is_noted_and_quoted(lm: dspy.LM) -> None:
    fitter = person(lm)
    memory = fitter.update(choices(24)).memory
    slip = Pair(user="ada", id="slip", prompt="Say.", chosen=ENGINE.format(1), rejected=FRUIT.format(1))
    found = fitter.update([slip], memory)
    assert ("slip", "Marmalade jam toast.") in [(each.record, each.statement) for each in found.contradictions]
    assert "Carriage horse." not in [each.statement for each in found.contradictions], "it says nothing of that"
    belief = next(h for h in found.profile.hypotheses if h.statement == "Marmalade jam toast.")
    assert [(e.record, e.supports) for e in belief.evidence if not e.supports] == [("slip", False)]
    assert all(e.supports for e in belief.evidence[:1])


def test_new_hypotheses_are_proposed_once_what_is_believed_fails(lm: dspy.LM, scripted_server: ScriptedServer) -> None:
    said = '{"hypothesis": {"quote": "An engine with oil", "statement": "Engine smoke.", "opposite": "Toast jam."}}'
    scripted_server.default = reply(said)
    records = choices(64, turned_at=32)
    fitter = person(lm)
    then = fitter.update(records[:32])
    asked = len(scripted_server.requests)
    now = streamed(fitter, records[32:40], then.memory)
    assert len(scripted_server.requests) == asked + 1, "eight records, most of which failed: one question"
    names = [c.hypothesis.statement for c in now.memory.parts["choices"].candidates]
    assert "Engine smoke." in names
    later = streamed(fitter, records[40:], now.memory)
    assert "Engine oil smoke." in statements(later.profile), "the other pole, as the choices have it now"


def test_a_proposed_hypothesis_can_be_believed_and_breaks_nothing_later(
    lm: dspy.LM, scripted_server: ScriptedServer
) -> None:
    said = '{"hypothesis": {"quote": "An engine with oil", "statement": "Engine smoke.", "opposite": "Toast jam."}}'
    scripted_server.default = reply(said)
    records = choices(140, turned_at=24)
    fitter = person(lm)
    memory = fitter.update(records[:24]).memory
    believed = set()
    for record in records[24:]:
        found = fitter.update([record], memory)
        memory = found.memory
        believed |= {h.statement for h in found.profile.hypotheses}
    assert "Engine smoke." in believed, "it was read on other people's choices too"
    assert "Engine oil smoke." in statements(found.profile), "the space is still judged once every row has both"
    assert found.profile.direction["jam"] < 0.2


def test_what_was_let_go_is_not_read_again(lm: dspy.LM) -> None:
    scorer = OverlapScorer()
    fitter = person(lm, scorer, half_life=2.0)
    records = choices(60)
    memory = fitter.update(records).memory
    memory = fitter.update(choices(1, start=60), memory).memory
    assert len([row for row in memory.parts["choices"].matrices[-1].rows if row.user == "ada"]) == RECENT
    asked = len(scorer.asked)
    assert len(fitter.update(records, memory).skipped) == 60
    assert len(scorer.asked) == asked


def test_ids_that_people_share_are_theirs_alone(lm: dspy.LM) -> None:
    shared = [record.model_copy(update={"id": str(n)}) for n, record in enumerate(UNDECIDED)]
    fitter = Personalizer(
        lm,
        scorer=OverlapScorer(),
        population=FixedPopulation(shared),
        space=SPACE,
        reference=12,
        tested=200,
        half_life=2.0,
    )
    mine = [record.model_copy(update={"id": str(n)}) for n, record in enumerate(choices(40))]
    memory = fitter.update(mine[:38]).memory
    found = fitter.update(mine[38:], memory)
    others = [row for row in found.memory.parts["choices"].matrices[-1].rows if row.user != "ada"]
    assert len(others) == 12
    assert "Marmalade jam toast." in statements(found.profile)


def test_a_quote_of_a_record_that_is_long_gone_still_counts(lm: dspy.LM) -> None:
    fitter = person(lm)
    records = choices(60)
    found = fitter.update(records[:8])
    (belief,) = [h for h in found.profile.hypotheses if h.statement == "Marmalade jam toast."]
    later = streamed(fitter, records[8:], found.memory)
    (still,) = [h for h in later.profile.hypotheses if h.statement == "Marmalade jam toast."]
    assert still.evidence[0] == belief.evidence[0]
    assert belief.evidence[0].record not in {record.id for record in later.memory.parts["choices"].recent}
    assert sum(not item.supports for item in still.evidence) <= 3


def test_too_few_records_wait(lm: dspy.LM) -> None:
    records = choices(5)
    found = person(lm).update(records[:3])
    assert found.profile.is_empty
    assert len(found.memory.waiting) == 3
    more = person(lm).update(records[2:], Memory.from_json(found.memory.to_json(), where="m"))
    assert more.memory.waiting == ()
    assert list(more.skipped) == [records[2].id]
    assert more.profile.provenance.records == [record.id for record in records]


def test_texts_and_choices_are_each_added_to_their_like(lm: dspy.LM) -> None:
    fitter = person(lm)
    memory = fitter.update([*choices(8), *(jam_sample(n, "ada") for n in range(20, 26))]).memory
    assert set(memory.parts) == {"texts", "choices"}
    found = fitter.update([Sample(user="ada", id="new", text="More toast with jam, and then marmalade. Good!")], memory)
    seen = {kind: part.profile.provenance.records for kind, part in found.memory.parts.items()}
    assert "new" in seen["texts"]
    assert "new" not in seen["choices"]
    assert "Marmalade jam toast." in statements(found.profile)


def test_memory_stays_small_and_holds_few_texts(lm: dspy.LM) -> None:
    memory = person(lm).update(choices(200)).memory
    memory = person(lm).update(choices(10, start=200), memory).memory
    part = memory.parts["choices"]
    assert len(part.recent) == RECENT
    own = [row for row in part.matrices[-1].rows if row.user == "ada"]
    assert len(own) == 80, "eight half-lives"
    texts = [record.chosen for record in choices(210) if isinstance(record, Pair)]
    assert sum(json.dumps(text)[1:-1] in memory.to_json() for text in texts) <= RECENT + 8, "and examples tried"


def test_what_cannot_be_put_together_is_refused(lm: dspy.LM) -> None:
    memory = person(lm).update(choices(6)).memory

    class Other(OverlapScorer):
        name = "other@1"

    with pytest.raises(InputError, match="can't be put together"):
        person(lm, Other()).update(choices(1, start=9), memory)
    with pytest.raises(InputError, match="of ada, bob"):
        person(lm).update(choices(1, user="bob"), memory)
    with pytest.raises(InputError, match="0 of nobody"):
        person(lm).update([])
    for text in ("", "{}", '{"schema": 9}', '{"schema": 1, "parts": 3}'):
        with pytest.raises(InputError, match="no memory of an earlier fit"):
            Memory.from_json(text, where="here")
