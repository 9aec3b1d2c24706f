"""Matrices are filled without letting a hypothesis see what it was made from; candidates and their evidence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hyperalign.population import ShippedPopulation
from hyperalign.profile import Evidence, Hypothesis, TestResult, check_evidence
from hyperalign.programs.candidates import (
    MAX_TESTED,
    Candidate,
    find_untestable,
    from_edits,
    from_examples,
    from_measurement,
    from_space,
    proposal_split,
)
from hyperalign.programs.cost_estimate import (
    CHECKED_STATEMENTS,
    CHOICE_INSTRUCTION_TOKENS,
    CHOICE_QUESTIONS,
    FREE_HYPOTHESES,
    PHRASE_TOKENS,
    QUESTION_TOKENS,
    QUESTIONS_ASKED,
    estimate_cost,
)
from hyperalign.programs.evidence import find_evidence
from hyperalign.programs.fitting import REFERENCE_RECORDS
from hyperalign.programs.hypothesis_tests import Done, average, fill
from hyperalign.programs.hypothesis_tests.likelihood import MeasurementTest, fill_rows
from hyperalign.programs.infer import QUESTIONS
from hyperalign.programs.personalizer import Personalizer
from hyperalign.programs.selection import Rules
from hyperalign.records import Pair, Record, Sample
from hyperalign.scores import Row, ScoreMatrix
from hyperalign.space import load_space
from tests.programs.toys import OTHERS, SPACE, OverlapScorer, jam_sample, make_hypothesis

ADA = [jam_sample(i) for i in range(4)]


class Lengths:
    """A test of one's own: how long a record is, in characters."""

    name = "lengths"
    scorer = "none"

    def applies(self, hypothesis: Hypothesis) -> bool:
        return hypothesis.id != "unfit"

    def cells(
        self, records: Sequence[Record], hypotheses: Sequence[Hypothesis], wanted: NDArray[np.bool_], done: Done
    ) -> NDArray[np.float64]:
        return fill_rows(self._row, records, hypotheses, wanted, done)

    def _row(self, record: Record, hypotheses: Sequence[Hypothesis]) -> list[float]:
        return [float(len(getattr(record, "text", ""))) for _ in hypotheses]


def test_a_hypothesis_never_sees_what_it_was_made_from() -> None:
    told: list[tuple[str, int, int]] = []
    matrix = fill(
        Lengths(),
        [make_hypothesis("a"), make_hypothesis("unfit"), make_hypothesis("b")],
        [*ADA, OTHERS[0]],
        made_from={"a": {"ada-0", "ada-2"}},
        progress=lambda *said: told.append(said),
    )
    assert matrix.columns == ("a", "b")
    assert matrix.of("a", lambda row: True)[0] == ["ada-1", "ada-3", "o0"]
    assert matrix.of("b", lambda row: True)[0] == ["ada-0", "ada-1", "ada-2", "ada-3", "o0"]
    assert matrix.rows[-1] == Row("o0", "other0")
    assert told[-1] == ("test by lengths", 5, 5)
    # Somebody else's record may have the same id: two people who chose alike have.
    theirs = OTHERS[0].model_copy(update={"id": "ada-0"})
    same = fill(Lengths(), [make_hypothesis("a")], [*ADA, theirs], made_from={"a": {"ada-0", "ada-2"}}, user="ada")
    assert same.of("a", lambda row: row.user != "ada")[0] == ["ada-0"]
    assert same.of("a", lambda row: row.user == "ada")[0] == ["ada-1", "ada-3"]


def test_nothing_to_fill_is_no_trouble() -> None:
    assert fill(Lengths(), [], ADA, made_from={}).values.shape == (4, 0)
    assert fill(Lengths(), [make_hypothesis("a")], [], made_from={}).values.shape == (0, 1)


def test_the_space_gives_one_candidate_a_dimension() -> None:
    candidates = [candidate.hypothesis for candidate in from_space(load_space())]
    assert len({candidate.id for candidate in candidates}) == len(load_space().dimensions)
    assert all(c.source == "space" and c.opposite and c.statement != c.opposite for c in candidates)


def test_measured_and_example_candidates_quote_word_for_word() -> None:
    for person in ("ada", "bruno", "chiara"):
        everything = ShippedPopulation().records("")
        records = [record for record in everything if record.user == person and isinstance(record, Sample)]
        measured, examples = from_measurement(records), from_examples(records, 2)
        assert measured, "clearly different voices can be measured"
        assert len(examples) == 2
        for candidate in [*measured, *examples]:
            assert candidate.hypothesis.evidence
            assert check_evidence(candidate.hypothesis.evidence, records)
        assert all(candidate.made_from == {record.id for record in records} for candidate in measured)
        assert all(len(candidate.made_from) == 1 for candidate in examples)
        test = MeasurementTest({c.hypothesis.id: c.claim for c in measured if c.claim})
        cells = fill(test, [c.hypothesis for c in measured], records, made_from={}).values
        assert np.isfinite(cells).all()
        assert (np.abs(cells) <= 3).all()


def test_examples_show_what_was_chosen_and_nothing_makes_nothing() -> None:
    (example,) = from_examples([Pair(user="ada", prompt="", chosen="Good day.", rejected="hey")], 2)
    assert example.hypothesis.statement == "Good day."
    assert from_measurement([]) == []
    assert from_edits([]) == from_edits(list(ADA)) == []
    assert from_examples([], 2) == []


def with_test(hypothesis: Hypothesis) -> Hypothesis:
    result = TestResult(
        test="likelihood", gain=1, low=0.5, high=1.5, p=0.01, q=0.05, records=[], reference_records=2, scorer="m"
    )
    return hypothesis.model_copy(update={"test": result})


def cells(*values: float) -> ScoreMatrix:
    rows = [Row(record.id, "ada") for record in ADA[:2]] + [Row("o0", "other0"), Row("o1", "other1")]
    return ScoreMatrix("likelihood", "m", tuple(rows), ("toast",), np.array(values)[:, None])


def test_evidence_is_the_sentence_that_speaks_most_from_the_record_that_does() -> None:
    hypothesis = with_test(make_hypothesis("toast"))
    (found,) = find_evidence(hypothesis, ADA, [cells(1, 2, 0, 0)], OverlapScorer()).evidence
    assert found.record == "ada-1"
    assert found.quote in ADA[1].text
    # Turned to its other pole, a statement is quoted from the record with the lowest cell.
    (found,) = find_evidence(hypothesis, ADA, [cells(1, -2, -3, -3)], None, turned=True).evidence
    assert found.record == "ada-1"
    assert check_evidence([found], ADA)
    # The strongest cell of the person's own, whatever somebody else's record of that id has.
    rows = (Row("ada-0", "ada"), Row("ada-1", "ada"), Row("ada-0", "other0"))
    matrix = ScoreMatrix("likelihood", "m", rows, ("toast",), np.array([[3.0], [9.0], [12.0]]))
    assert find_evidence(hypothesis, ADA, [matrix], None).evidence[0].record == "ada-1"


def test_evidence_is_left_alone_where_there_is_some_or_nothing_to_quote() -> None:
    with_quote = with_test(make_hypothesis("toast")).model_copy(update={"evidence": [Evidence(quote="x", record="r")]})
    untested, elsewhere = make_hypothesis("toast"), with_test(make_hypothesis("other"))
    for hypothesis in (with_quote, untested, elsewhere):
        assert find_evidence(hypothesis, ADA, [cells(1, 2, 0, 0)], None) == hypothesis
    assert find_evidence(with_test(make_hypothesis("toast")), [], [cells(1, 2, 0, 0)], None).evidence == []


def test_the_estimate_knows_what_fitting_does() -> None:
    assert len(QUESTIONS) == QUESTIONS_ASKED
    assert Rules().max_statements == CHECKED_STATEMENTS
    assert Personalizer().settings["reference"] == REFERENCE_RECORDS
    told, asked = estimate_cost(ADA, OTHERS), estimate_cost(ADA, OTHERS, by_choice=True)
    assert told["infer"].calls == 3
    assert told["score"].calls == 10
    assert asked["score"].calls == 2 * 10, "all statements at once, in both orders"
    one = estimate_cost(ADA, OTHERS, by_choice=True, statements_per_call=1)
    assert one["score"].calls == 2 * (6 * 9 + 4 * 5), "with four texts, what two of them made can't be tested"
    six = estimate_cost([jam_sample(i) for i in range(6)], OTHERS, by_choice=True, statements_per_call=1)
    assert six["score"].calls == 2 * (6 * (9 + FREE_HYPOTHESES) + 3 * 6 + 3 * 5), "half go on after the first rows"
    assert estimate_cost(ADA[:2], OTHERS)["score"].calls == 0
    assert one["score"].tokens_in > asked["score"].tokens_in > told["score"].tokens_in > 0
    assert (told["evidence"].calls, asked["evidence"].calls) == (2 * CHECKED_STATEMENTS, 2)
    small = estimate_cost(ADA, OTHERS, by_choice=True, space=SPACE, statements_per_call=1)
    assert small["score"].calls == 2 * (6 * 3 + 4 * 2)
    many = estimate_cost([jam_sample(i) for i in range(100)], OTHERS, by_choice=True)
    assert sum(usage.calls for usage in many.values()) <= 40


def test_the_estimate_of_choices_reads_both_answers_in_both_orders() -> None:
    pairs = [
        Pair(user="ada", id=f"p{n}", prompt=f"Say{n}.", chosen=f"Good day to you{n}.", rejected="hey") for n in range(8)
    ]
    pairs, more = pairs[:4], pairs[4:]
    told = estimate_cost(pairs, [])
    assert told["score"].calls == 8
    phrases = MAX_TESTED * 2 * PHRASE_TOKENS + QUESTION_TOKENS
    assert told["score"].tokens_in == 8 * phrases + round(8 * (1 + 4 + 1) * 1.4)
    assert told["infer"].calls == 0, "what is proposed of four can't be tested"
    told = estimate_cost([*pairs, *more], [])
    assert told["infer"].calls == CHOICE_QUESTIONS
    assert told["infer"].tokens_in == CHOICE_INSTRUCTION_TOKENS + round(4 * (1 + 4 + 1) * 1.4), "half are shown"


def test_the_estimate_of_texts_and_choices_is_that_of_both() -> None:
    pairs = [Pair(user="ada", id=f"p{n}", prompt="Say.", chosen="Good day to you.", rejected="hey") for n in range(6)]
    texts, choices, both = (
        estimate_cost(ADA, OTHERS[:3]),
        estimate_cost(pairs[:5], pairs[:3]),
        estimate_cost([*ADA, *pairs[:5]], [*OTHERS, *pairs]),
    )
    assert both == {step: texts[step] + choices[step] for step in ("infer", "score", "evidence")}
    assert choices["score"].tokens_in > 16 * MAX_TESTED * 2 * PHRASE_TOKENS


def test_hypotheses_are_made_from_half_of_the_records_where_the_others_can_test_them() -> None:
    pairs: list[Record] = [
        Pair(user="ada", id=f"p{n}", prompt="", chosen=f"Good day {n}.", rejected=f"hey {n}") for n in range(7)
    ]
    rules = Rules()
    assert [len(proposal_split(pairs[:count], rules)) for count in range(1, 8)] == [0, 0, 0, 0, 0, 3, 4]
    assert [len(proposal_split(ADA[:count], rules)) for count in range(1, 5)] == [0, 1, 2, 2]
    assert len(proposal_split(pairs[:4], Rules(min_records=2))) == 2


def test_what_nothing_can_test_is_known_beforehand() -> None:
    made = [
        Candidate(make_hypothesis(name), frozenset(record.id for record in ADA[:count]))
        for name, count in (("none", 0), ("one", 1), ("two", 2), ("all", 4))
    ]
    assert find_untestable(made, ADA, ADA, OTHERS, Rules()) == {
        "two": "only 2 of the person's records could test it (needs 3)",
        "all": "only 0 of the person's records could test it (needs 3)",
    }
    assert set(find_untestable(made, ADA, ADA[:2], OTHERS, Rules())) == {"none", "one", "two", "all"}
    assert set(find_untestable(made, ADA, ADA, OTHERS[:2], Rules()).values()) >= {
        "only 2 records of other people to compare with"
    }


def test_evidence_is_prose_where_there_is_some() -> None:
    text = "# A heading of five words\n\n| toast | is | in | the | table |\n\nToast is what we had."
    record = Sample(user="ada", id="md", text=text)
    row = ScoreMatrix("likelihood", "m", (Row("md", "ada"), Row("o0", "o")), ("toast",), np.array([[2.0], [0.0]]))
    (found,) = find_evidence(with_test(make_hypothesis("toast")), [record], [row], None).evidence
    assert found.quote == "Toast is what we had."
    table = record.model_copy(update={"text": "| only | a | table | of toast |"})
    assert find_evidence(with_test(make_hypothesis("toast")), [table], [row], None).evidence[0].quote == table.text


def test_tests_of_the_same_records_count_alike_whatever_their_units() -> None:
    rows = tuple(Row(f"{at}", "ada", True) for at in range(2))
    nats = ScoreMatrix("a", "m", rows, ("x", "y", "z"), np.array([[10.0, 5.0, np.nan], [-10.0, -5.0, np.nan]]))
    cosines = ScoreMatrix("b", "n", rows, ("x", "z", "w"), np.array([[0.1, 0.3, 0.0], [0.1, -0.3, 0.0]]))
    found = average([nats, cosines])
    assert (found.test, found.scorer, found.rows, found.columns) == ("a + b", "m + n", rows, ("x", "y", "z", "w"))
    assert np.allclose(found.values, [[1.0, 1.0, 1.0, 0.0], [0.0, -1.0, -1.0, 0.0]])
    assert average([nats]) is nats
