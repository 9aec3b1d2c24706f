"""Ids that are one person's in two spellings are one; ids that look alike and are not are refused."""

from __future__ import annotations

import unicodedata

import pytest
from sqlalchemy import text

from hyperalign.errors import NotFoundError, UserIdError
from hyperalign.profile import Profile
from hyperalign.records import Sample, check_user
from hyperalign.runs import RunFolder, remove_runs
from hyperalign.store import Bundle, Store

COMPOSED = "Zoë Müller"
IN_PARTS = unicodedata.normalize("NFD", COMPOSED)


def test_an_id_in_parts_is_the_composed_one(store: Store) -> None:
    assert IN_PARTS != COMPOSED
    assert check_user(IN_PARTS) == Profile(user=IN_PARTS).user == Sample(user=IN_PARTS, text="x").user == COMPOSED
    store.add_records([Sample(user=IN_PARTS, text="one"), Sample(user=COMPOSED, text="two")])
    store.save(Profile(user=IN_PARTS))
    assert [person.user for person in store.users()] == [COMPOSED]
    assert len(store.records(IN_PARTS)) == len(store.records(COMPOSED)) == 2
    assert store.other_records(IN_PARTS, 5) == []
    assert store.load(IN_PARTS).user == COMPOSED
    assert Bundle.from_json(store.export(IN_PARTS).to_json().replace(COMPOSED, IN_PARTS)).user == COMPOSED
    store.remove(IN_PARTS)
    assert store.users() == []


@pytest.mark.parametrize(
    ("known", "given"),
    [
        ("ada", "Ada"),
        ("Straße", "STRASSE"),
        ("ada", "\u0430da"),  # Cyrillic a
        ("BOB", "\u0412\u041e\u0412"),  # Cyrillic capitals
        ("bob", "\u0412\u041e\u0412"),
        ("\u0432\u043e\u0432", "\u0412\u041e\u0412"),  # Cyrillic in both
        ("nina", "n\u0131na"),
        ("kim", "\uff4bim"),  # a wide letter
        ("a b", "a  b"),
        ("\u03bfx", "ox"),  # Greek o
        ("O'Brien", "O\u2019Brien"),
        ("u/mira", "u/mir\u0430"),  # Cyrillic a
        ("❤ Mira", "❤\ufe0f Mira"),
    ],
)
@pytest.mark.parametrize("way", ["records", "profile", "bundle"])
def test_a_new_id_that_looks_like_a_known_one_is_refused(store: Store, known: str, given: str, way: str) -> None:
    store.add_records([Sample(user=known, text="x")])
    with pytest.raises(UserIdError, match="looks like") as caught:
        if way == "records":
            store.add_records([Sample(user="somebody", text="y"), Sample(user=given, text="x")])
        elif way == "profile":
            store.save(Profile(user=given))
        else:
            store.add_bundle(Bundle(user=given, records=[Sample(user=given, text="x")]))
    assert repr(known) in caught.value.message
    assert [person.user for person in store.users()] == [known], "nothing was added"
    store.remove(known)
    store.add_records([Sample(user=given, text="x")])


def test_ids_that_can_be_told_apart_are_two_people(store: Store) -> None:
    names = ["a.b", "a-b", "a_b", "ab", "李雷", "韩梅", "Unal", "Ünal", "u0", "uO1", "मैं", "में"]
    store.add_records([Sample(user=name, text="x") for name in names])
    assert {person.user for person in store.users()} == set(names)
    for name in names:
        store.add_records([Sample(user=name, text="y")])


def test_names_that_people_have_are_kept_and_found(store: Store) -> None:
    names = ["King Jr.", "King Jr", "u/mira", "O'Brien", "नेहा", "محمد", "علی\u200cرضا", "Mira 🌸", "+49 170 1234567"]
    store.add_records([Sample(user=name, text=f"words of {name}") for name in names])
    for name in names:
        store.save(Profile(user=name))
        assert [record.user for record in store.records(name)] == [store.load(name).user] == [name]
        assert Bundle.from_json(store.export(name).to_json()).user == name
    assert {person.user for person in store.users()} == set(names)
    store.remove("u/mira")
    assert {person.user for person in store.users()} == set(names) - {"u/mira"}


@pytest.mark.parametrize("user", ["a\u200bb", "a\u3164b", "a\ufe0fb", "a\u034fb", "\u0301a", "a\u202eb"])
def test_what_shows_nothing_is_no_part_of_an_id(user: str) -> None:
    with pytest.raises(UserIdError):
        check_user(user)


def test_people_of_a_store_that_kept_no_list_of_them_are_known(place: str) -> None:
    with Store(place) as store:
        store.add_records([Sample(user="ada", text="x")])
        store.save(Profile(user="bob"))
        with store._engine.begin() as connection:
            connection.execute(text("DROP TABLE hyperalign_people"))
    with Store(place) as store:
        for given in ("Ada", "BOB"):
            with pytest.raises(UserIdError):
                store.save(Profile(user=given))
        store.save(Profile(user="ada"))


@pytest.mark.parametrize("pair", [("a.b", "a-b"), ("李雷", "韩梅"), ("a" * 60, "a" * 61), ("Ünal", "Önal")])
def test_runs_of_two_people_lie_in_two_folders(pair: tuple[str, str]) -> None:
    first, second = (RunFolder("fit", user, {"records": ["r1"]}) for user in pair)
    assert first.path != second.path
    assert not second.resumed
    assert first.path.name.isascii()
    assert RunFolder("fit", pair[0], {"records": ["r1"]}).resumed, "the same person's is found again"
    assert remove_runs(pair[0]) == 1
    assert not first.path.exists()
    assert (second.path / "run.json").exists()


def test_removing_somebody_who_is_not_there_suggests_the_one_who_is(store: Store) -> None:
    store.add_records([Sample(user="ada", text="x")])
    with pytest.raises(NotFoundError, match="ada"):
        store.remove("Ada")
