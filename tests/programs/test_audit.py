"""An audit of statements from elsewhere: what records bear out, what they contradict, and what they leave open."""

from __future__ import annotations

import math
from collections.abc import Sequence

import dspy
import numpy as np
import pytest
from numpy.typing import NDArray

from hyperalign.backends.models.connect import connect
from hyperalign.errors import InputError
from hyperalign.profile import Hypothesis
from hyperalign.programs.audit import Audit, EmbeddingTest
from hyperalign.programs.hypothesis_tests import fill
from hyperalign.records import Pair, Record
from tests.fixtures.scripted_server import Recorded, ScriptedServer, reply

from .toys import OTHERS, OverlapScorer, jam_sample

JAM, OIL, RAIN = "Marmalade jam toast.", "Engine oil smoke.", "Umbrella puddle."
OPPOSITES = {JAM: OIL, OIL: JAM, RAIN: "Desert camel."}


def choices(count: int, user: str = "ada") -> list[Record]:
    return [
        Pair(
            user=user,
            id=f"{user}{at}",
            prompt=f"What of day {at}?",
            chosen=f"Toast with marmalade, or jam, on day {at}.",
            rejected=f"The engine lost oil, and there was smoke, on day {at}.",
        )
        for at in range(count)
    ]


def audit(records: list[Record], others: list[Record], *statements: str) -> dict[str, str]:
    found = Audit(OverlapScorer())(statements=statements, records=records, others=others, opposites=OPPOSITES)
    return {finding.statement: finding.verdict for finding in found.findings}


def test_choices_bear_out_a_statement_and_contradict_its_opposite() -> None:
    assert audit(choices(8), [], JAM, OIL, RAIN) == {JAM: "holds", OIL: "contradicted", RAIN: "not shown"}


def test_the_figures_are_those_of_the_statement_as_it_was_given() -> None:
    found = Audit(OverlapScorer())(statements=[JAM, OIL], records=choices(8), opposites=OPPOSITES).findings
    holds, contradicted = found
    assert holds.test.gain > 0 > contradicted.test.gain
    assert holds.test.gain == pytest.approx(-contradicted.test.gain)
    assert (holds.test.low, holds.test.high) == pytest.approx((-contradicted.test.high, -contradicted.test.low))
    assert holds.strength == pytest.approx(-contradicted.strength)
    assert holds.test.p == pytest.approx(2 / 2**8, abs=1e-5), "either side"
    assert [quote.record for quote in holds.evidence] == [quote.record for quote in contradicted.evidence]
    assert "marmalade" in holds.evidence[0].quote


def test_what_everybody_chooses_is_not_shown_of_one() -> None:
    others = [*choices(6, "bruno"), *choices(6, "chiara")]
    assert audit(choices(8), others, JAM) == {JAM: "not shown"}


def test_texts_are_compared_with_other_peoples() -> None:
    samples = [jam_sample(at) for at in range(6)]
    assert audit([*samples], [*OTHERS], JAM, OIL) == {JAM: "holds", OIL: "contradicted"}
    alone = Audit(OverlapScorer())(statements=[JAM], records=samples, opposites=OPPOSITES).findings[0]
    assert (alone.verdict, alone.test) == ("not shown", None)
    assert "other people" in alone.reason


def test_of_texts_and_choices_the_clearer_count() -> None:
    found = Audit(OverlapScorer())(
        statements=[JAM], records=[jam_sample(0), *choices(8)], others=[*OTHERS], opposites=OPPOSITES
    ).findings[0]
    assert found.verdict == "holds"
    assert found.test.p == pytest.approx(2 * 2 / 2**8, abs=1e-5), "corrected for two tests"


def test_few_choices_and_tossed_coins_show_nothing() -> None:
    assert audit(choices(4), [], JAM) == {JAM: "not shown"}
    tossed = [
        pair.model_copy(update={"chosen": pair.rejected, "rejected": pair.chosen}) if at % 2 else pair
        for at, pair in enumerate(choices(8))
        if isinstance(pair, Pair)
    ]
    assert audit([*tossed], [], JAM, OIL, RAIN) == {JAM: "not shown", OIL: "not shown", RAIN: "not shown"}


def test_the_model_writes_opposites_that_are_not_known(scripted_server: ScriptedServer) -> None:
    scripted_server.default = reply(lambda request: OIL if "jam" in request.messages[-1]["content"] else " ")
    lm = connect("openai/any", api_base=scripted_server.base, api_key="k")
    found = Audit(OverlapScorer(), lm=lm)(statements=[JAM, RAIN, JAM], records=choices(8)).findings
    assert [(each.statement, each.verdict, each.opposite) for each in found] == [
        (JAM, "holds", OIL),
        (RAIN, "not shown", ""),
    ]
    assert "no opposite" in found[1].reason
    assert (
        JAM in scripted_server.requests[0].messages[-1]["content"] + scripted_server.requests[1].messages[-1]["content"]
    )


def test_a_model_without_log_probabilities_is_asked_which_text_fits(scripted_server: ScriptedServer) -> None:
    def fits(request: Recorded) -> str:
        asked = request.messages[-1]["content"]
        jam = "A" if asked.index("marmalade") < asked.index("engine lost") else "B"
        oil = "B" if jam == "A" else "A"
        return f"1: {jam}\n2: {oil}"

    scripted_server.default = reply(fits)
    lm = connect("openai/any", api_base=scripted_server.base, api_key="k")
    with dspy.context(lm=lm):
        found = Audit()(statements=["Likes sweet things.", "Likes machines."], records=choices(8)).findings
    assert [each.verdict for each in found] == ["holds", "contradicted"]
    assert len(scripted_server.requests) == 16, "both statements in one call, in both orders, and no opposites"


def test_an_untested_finding_has_no_strength() -> None:
    found = Audit(OverlapScorer())(statements=[JAM], records=choices(2), opposites=OPPOSITES).findings[0]
    assert (found.test, found.strength) == (None, 0.0)
    assert not math.isnan(found.strength)


class WordEncoder:
    """Counts a few words: what a text is about, and whether it is for or against it."""

    name = "words@1"
    words = ("jam", "trains", "chess", "love", "hate")

    def __init__(self) -> None:
        self.read: list[tuple[str, str]] = []

    def encode(self, items: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        self.read += items
        return np.array([[text.lower().count(word) for word in self.words] for _, text in items], dtype=np.float32)


def tastes(topic: str, user: str, count: int = 8) -> list[Pair]:
    return [
        Pair(
            user=user,
            id=f"{user}{at}",
            prompt=f"What of {topic} on day {at}?",
            chosen=f"I love {topic} on day {at}.",
            rejected=f"I hate {topic} on day {at}.",
        )
        for at in range(count)
    ]


LOVES = {"Loves jam.": "Hates jam.", "Loves trains.": "Hates trains.", "Loves chess.": "Hates chess."}
CROWD = [*tastes("trains", "bruno", 2), *tastes("chess", "chiara", 2)]


def embedding_cells(records: Sequence[Record]) -> NDArray[np.float64]:
    hypotheses = [
        Hypothesis(id=one, statement=one, opposite=other, aspect="background", source="space")
        for one, other in LOVES.items()
    ]
    return fill(EmbeddingTest(WordEncoder()), hypotheses, records, made_from={}).values


def test_a_taste_for_one_thing_is_not_a_taste_for_everything() -> None:
    cells = embedding_cells([*tastes("jam", "ada"), *CROWD])
    assert (cells[:8, 0] > 0.3).all()
    assert (cells[:8, 1:] == 0).all(), "what the texts are not about"
    assert (cells[8:10, 1] > 0.3).all(), "others are read as well"
    found = Audit(test=EmbeddingTest(WordEncoder()))(
        statements=["Loves jam.", "Hates jam.", "Loves trains."],
        records=tastes("jam", "ada"),
        others=CROWD,
        opposites=LOVES | {"Hates jam.": "Loves jam."},
    ).findings
    assert [each.verdict for each in found] == ["holds", "contradicted", "not shown"]
    assert found[0].strength > 0 > found[2].strength, "others choose for trains, and this person does not"
    assert found[0].evidence


def test_an_exchange_of_texts_turns_the_sign_of_an_embeddings_cell_alone() -> None:
    pairs = tastes("jam", "ada")
    turned = [pair.model_copy(update={"chosen": pair.rejected, "rejected": pair.chosen}) for pair in pairs]
    assert np.allclose(embedding_cells([*turned, *CROWD])[:8], -embedding_cells([*pairs, *CROWD])[:8])
    mixed = [*turned[:4], *pairs[4:]]
    found = Audit(test=EmbeddingTest(WordEncoder()))(
        statements=["Loves jam."], records=mixed, others=CROWD, opposites=LOVES
    ).findings
    assert found[0].verdict == "not shown"


def test_choices_are_read_by_the_scorer_and_the_encoder_alike() -> None:
    given = {"statements": [JAM, OIL], "records": choices(8), "others": [*OTHERS], "opposites": OPPOSITES}
    encoder = WordEncoder()
    found = Audit(OverlapScorer(), encoder=encoder)(**given).findings
    assert [each.verdict for each in found] == ["holds", "contradicted"]
    assert found[0].test.test == "likelihood + embedding"
    assert found[0].test.scorer == "overlap@1 + words@1"
    assert {prompt for prompt, _ in encoder.read} == {"Say something about yourself."}
    scored = Audit(OverlapScorer())(**given).findings[0].test
    assert (scored.test, scored.scorer) == ("likelihood", "overlap@1")


def test_texts_are_not_read_by_the_encoder() -> None:
    encoder = WordEncoder()
    samples = [jam_sample(at) for at in range(6)]
    found = Audit(OverlapScorer(), encoder=encoder)(
        statements=[JAM], records=samples, others=[*OTHERS], opposites=OPPOSITES
    ).findings
    assert (found[0].verdict, found[0].test.test, encoder.read) == ("holds", "likelihood", [])


@pytest.mark.parametrize(("statements", "records"), [([" "], choices(3)), ([JAM], []), ([JAM], [*choices(2), *OTHERS])])
def test_nothing_to_audit_is_refused(statements: list[str], records: list[Record]) -> None:
    with pytest.raises(InputError, match="statements, and records of"):
        Audit(OverlapScorer())(statements=statements, records=records)
