"""Other people of a task: those not drawn, never the person, and nothing that is asked about."""

from __future__ import annotations

from hyperalign.evals.cases import Case
from hyperalign.evals.plan import TaskPopulation
from hyperalign.population import choose_reference_records
from hyperalign.records import Edit, Pair, Record, Sample, own_text


def wrote(user: str, *texts: str) -> tuple[Record, ...]:
    return tuple(Sample(user=user, prompt="Well?", text=text) for text in texts)


def case(user: str, records: tuple[Record, ...], *, number: int = 0, reference: str = "Asked.") -> Case:
    return Case(f"{user}{number}", user, user, "p", records, reference=reference)


def three(user: str) -> tuple[Record, ...]:
    return wrote(user, *(f"{user} wrote {number}." for number in range(3)))


def told(others: TaskPopulation, user: str) -> list[str]:
    return [own_text(record) for record in others.records(user)]


def test_people_who_were_not_drawn_are_the_reference() -> None:
    everybody = [case(user, three(user)) for user in ("ada", "bob", "cal", "dan")]
    others = TaskPopulation(everybody, everybody[:2])
    for user in ("ada", "bob"):
        assert {record.user for record in others.records(user)} == {"cal", "dan"}
        assert len(others.records(user)) == 6
    assert {record.user for record in others.records("cal")} == {"dan"}, "nobody is their own reference"


def test_where_too_few_were_left_the_drawn_are_each_other_s() -> None:
    everybody = [case(user, three(user)) for user in ("ada", "bob", "cal")]
    for drawn in (everybody, everybody[:2]):
        others = TaskPopulation(everybody, drawn)
        assert {record.user for record in others.records("ada")} == {"bob", "cal"}
    # Two people left, but with five records between them.
    few = [case("ada", three("ada")), case("bob", three("bob")), case("cal", three("cal")[:2])]
    assert {record.user for record in TaskPopulation(few, few[:1]).records("bob")} == {"ada", "cal"}


def test_what_a_drawn_case_asks_about_is_nobody_s_record() -> None:
    asked = Case("q", "ada", "ada", "p", three("ada"), chosen="Own.", rejected="Theirs.")
    written = case("ada", three("ada"), number=1, reference="Mine.")
    cal: tuple[Record, ...] = (
        *wrote("cal", "Theirs.", "Own.", "Mine."),
        Pair(user="cal", prompt="?", chosen="Fine.", rejected="Own."),
        Edit(user="cal", prompt="?", draft="Mine.", edited="Ours."),
        *three("cal"),
    )
    everybody = [asked, written, case("cal", cal), case("dan", three("dan"), reference="dan wrote 0.")]
    assert told(TaskPopulation(everybody, [asked, written]), "ada") == [
        *(f"cal wrote {number}." for number in range(3)),
        *(f"dan wrote {number}." for number in range(3)),
    ], "what the undrawn are asked about does no harm"


def test_who_agrees_with_the_person_stays_beside_who_does_not() -> None:
    def chose(user: str, chosen: str, rejected: str) -> tuple[Record, ...]:
        return (*three(user), Pair(user=user, prompt="Which?", chosen=chosen, rejected=rejected))

    # Were those who agree left out, what everybody prefers would set everybody apart.
    everybody = [case(user, chose(user, "Coffee.", "Tea.")) for user in ("ada", "bob", "cal", "dan", "eve")]
    everybody.append(case("fay", chose("fay", "Tea.", "Coffee.")))
    for drawn in (everybody, everybody[:1]):
        taken = [text for text in told(TaskPopulation(everybody, drawn), "ada") if text in {"Coffee.", "Tea."}]
        assert taken == ["Coffee."] * 4 + ["Tea."]


def test_what_one_person_says_twice_is_there_once() -> None:
    said = Sample(user="bob", id="again", prompt="Well?", text="bob wrote 0.")
    everybody = [case("ada", three("ada")), case("bob", (*three("bob"), said)), case("cal", three("cal"))]
    assert told(TaskPopulation(everybody, everybody[:1]), "ada").count("bob wrote 0.") == 1


def test_a_record_that_many_cases_show_is_there_once() -> None:
    everybody = [case(user, three(user), number=number) for user in ("ada", "bob", "cal") for number in range(4)]
    assert len(TaskPopulation(everybody, everybody[:4]).records("ada")) == 6


def test_they_serve_as_a_population() -> None:
    everybody = [case(user, three(user)) for user in ("ada", "bob", "cal")]
    chosen = choose_reference_records(TaskPopulation(everybody, everybody[:1]), "ada", list(three("ada")), 4)
    assert {chosen[0].user, chosen[1].user} == {"bob", "cal"}
    assert [record.user for record in chosen[2:]] == [record.user for record in chosen[:2]], "people in turn"
