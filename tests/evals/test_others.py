"""Other people of a task: those not drawn, never the person, and nothing that is asked about."""

from __future__ import annotations

from hyperalign.contrast import reference_records
from hyperalign.evals.cases import Case
from hyperalign.evals.others import OtherPeople
from hyperalign.records import Edit, Pair, Record, Sample, own_text


def wrote(user: str, *texts: str) -> tuple[Record, ...]:
    return tuple(Sample(user=user, prompt="Well?", text=text) for text in texts)


def case(user: str, records: tuple[Record, ...], *, number: int = 0, reference: str = "Asked.") -> Case:
    return Case(f"{user}{number}", user, user, "p", records, reference=reference)


def three(user: str) -> tuple[Record, ...]:
    return wrote(user, *(f"{user} wrote {number}." for number in range(3)))


def told(others: OtherPeople, user: str) -> list[str]:
    return [own_text(record) for record in others.records(user)]


def test_people_who_were_not_drawn_are_the_reference() -> None:
    everybody = [case(user, three(user)) for user in ("ada", "bob", "cal", "dan")]
    others = OtherPeople(everybody, everybody[:2])
    for user in ("ada", "bob"):
        assert {record.user for record in others.records(user)} == {"cal", "dan"}
        assert len(others.records(user)) == 6
    assert {record.user for record in others.records("cal")} == {"dan"}, "nobody is their own reference"


def test_where_too_few_were_left_the_drawn_are_each_other_s() -> None:
    everybody = [case(user, three(user)) for user in ("ada", "bob", "cal")]
    for drawn in (everybody, everybody[:2]):
        others = OtherPeople(everybody, drawn)
        assert {record.user for record in others.records("ada")} == {"bob", "cal"}
    # Two people left, but with five records between them.
    few = [case("ada", three("ada")), case("bob", three("bob")), case("cal", three("cal")[:2])]
    assert {record.user for record in OtherPeople(few, few[:1]).records("bob")} == {"ada", "cal"}


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
    assert told(OtherPeople(everybody, [asked, written]), "ada") == [
        *(f"cal wrote {number}." for number in range(3)),
        *(f"dan wrote {number}." for number in range(3)),
    ], "what the undrawn are asked about does no harm"


def test_what_people_share_is_there_once_and_never_beside_the_person_s_own() -> None:
    shared = "We all say so."
    everybody = [case(user, (*three(user), *wrote(user, shared))) for user in ("ada", "bob", "cal", "dan")]
    for drawn in (everybody, everybody[:1]):
        assert shared not in told(OtherPeople(everybody, drawn), "ada"), "ada says so too, drawn or not"
    # The same words as an answer to something else are another record.
    everybody[0] = case("ada", (*three("ada"), Sample(user="ada", prompt="Else?", text=shared)))
    for drawn in (everybody, everybody[:1]):
        assert told(OtherPeople(everybody, drawn), "ada").count(shared) == 1


def test_a_drawn_person_s_own_choice_is_nobody_else_s_whatever_its_id() -> None:
    def chose(user: str, name: str, rejected: str = "Tea.") -> Pair:
        return Pair(user=user, id=name, prompt="Which?", chosen="Coffee.", rejected=rejected)

    everybody = [
        case("ada", (*three("ada"), chose("ada", "1"))),
        case("bob", (*three("bob"), chose("bob", "2"), chose("bob", "3", rejected="Milk."))),
        case("cal", three("cal")),
    ]
    theirs = OtherPeople(everybody, everybody[:1]).records("ada")
    assert [record.rejected for record in theirs if isinstance(record, Pair)] == ["Milk."], "another choice stays"
    assert len(theirs) == 7


def test_a_record_that_many_cases_show_is_there_once() -> None:
    everybody = [case(user, three(user), number=number) for user in ("ada", "bob", "cal") for number in range(4)]
    assert len(OtherPeople(everybody, everybody[:4]).records("ada")) == 6


def test_they_serve_as_a_contrast() -> None:
    everybody = [case(user, three(user)) for user in ("ada", "bob", "cal")]
    chosen = reference_records(OtherPeople(everybody, everybody[:1]), "ada", list(three("ada")), 4)
    assert [record.user for record in chosen] == ["bob", "cal", "bob", "cal"], "people in turn"
