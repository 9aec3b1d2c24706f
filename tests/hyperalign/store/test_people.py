"""Records and versions of profiles come back as they were."""

from __future__ import annotations

import pytest

from hyperalign.errors import NotFoundError, RecordError, UserIdError
from hyperalign.records import Pair, Sample
from hyperalign.store import Person, Store, StoreLike
from tests.hyperalign.example_people import LETTER, RECORDS, profile
from tests.hyperalign.store.helpers import sample


def test_records_come_back_as_they_were_in_order(store: Store) -> None:
    odd = Sample(user="ada", text="a NUL \0, an emoji 🎉, 'quotes', %s and :name")
    assert store.add_records([*RECORDS, odd]) == 4
    assert store.records("ada") == [*RECORDS, odd]
    assert store.records("nobody") == []


def test_the_same_record_is_kept_once(store: Store) -> None:
    assert store.add_records([LETTER, LETTER]) == 1
    assert store.add_records(RECORDS) == 2
    assert store.records("ada") == RECORDS


def test_one_id_for_two_records_is_refused_and_nothing_is_added(store: Store) -> None:
    store.add_records([LETTER])
    clash = LETTER.model_copy(update={"text": "Something else entirely."})
    with pytest.raises(RecordError) as caught:
        store.add_records([sample("ada", "a new one"), clash])
    assert LETTER.id in caught.value.message
    assert store.records("ada") == [LETTER]
    with pytest.raises(RecordError):
        store.add_records([clash.model_copy(update={"user": "bob"}), LETTER.model_copy(update={"user": "bob"})])
    assert store.records("bob") == []


def test_two_people_may_use_one_id(store: Store) -> None:
    mine, yours = (Sample(user=user, id="1", text=f"the words of {user}") for user in ("ada", "bob"))
    assert store.add_records([mine, yours]) == 2
    assert (store.records("ada"), store.records("bob")) == ([mine], [yours])


def test_many_records_at_once(store: Store) -> None:
    many = [sample("ada", f"piece number {n}") for n in range(1500)]
    assert store.add_records(many) == 1500
    assert store.add_records([*many, sample("ada", "one more")]) == 1
    assert len(store.records("ada")) == 1501


def test_other_people_take_turns_in_a_fixed_order(store: Store) -> None:
    for user in ("cy", "ada", "bob"):
        store.add_records([sample(user, f"{user} {n}") for n in range(3)])
    texts = [r.text for r in store.other_records("ada", 4) if isinstance(r, Sample)]
    assert texts == ["bob 0", "cy 0", "bob 1", "cy 1"]
    assert store.other_records("ada", 4) == store.other_records("ada", 4)
    assert len(store.other_records("ada", 100)) == 6
    assert len(store.other_records("a stranger", 100)) == 9


def test_many_texts_of_others_crowd_out_none_of_their_choices(store: Store) -> None:
    pairs = [
        Pair(user=user, prompt=f"Question {n}?", chosen=f"{user} {n}", rejected="No.")
        for user in ("bob", "cy")
        for n in range(3)
    ]
    store.add_records([*(sample(user, f"{user} {n}") for user in ("bob", "cy") for n in range(50)), *pairs])
    others = store.other_records("ada", 4)
    assert [r.chosen for r in others if isinstance(r, Pair)] == ["bob 0", "cy 0", "bob 1", "cy 1"]
    assert [r.text for r in others if isinstance(r, Sample)] == ["bob 0", "cy 0", "bob 1", "cy 1"]


# Profiles


def test_versions_are_appended_and_all_of_them_load(store: Store) -> None:
    second = profile().model_copy(update={"stated": ["Be brief."]})
    assert [store.save(profile(), "first"), store.save(second), store.save(profile("bob"))] == [1, 2, 1]
    assert store.load("ada") == second
    assert store.load("ada", 1) == profile()
    first, newest = store.history("ada")
    assert (first.number, first.note, first.kept, first.dropped) == (1, "first", 2, 6)
    assert first.time.utcoffset() is not None
    assert first.time <= newest.time


def test_everybody_is_listed_with_counts(store: Store) -> None:
    store.add_records(RECORDS)
    store.save(profile("bob"))
    store.save(profile("bob"))
    assert store.users() == [Person("ada", 3, 0), Person("bob", 0, 2)]


def test_what_is_not_there_is_said_with_a_suggestion(store: Store) -> None:
    store.save(profile("ada.lovelace"))
    store.add_records([sample("bob", "some words of his")])
    with pytest.raises(NotFoundError, match=r"Did you mean 'ada.lovelace'\?"):
        store.load("ada.lovelase")
    with pytest.raises(NotFoundError, match="no version 7"):
        store.load("ada.lovelace", 7)
    with pytest.raises(NotFoundError, match="hyperalign fit"):
        store.history("bob")
    with pytest.raises(NotFoundError, match="profile list"):
        store.export("zoe")
    with pytest.raises(NotFoundError):
        store.remove("zoe")


@pytest.mark.parametrize("method", ["load", "history", "export", "remove"])
def test_a_user_id_that_is_a_path_is_refused(store: Store, method: str) -> None:
    with pytest.raises(UserIdError):
        getattr(store, method)("../../etc/passwd")


def test_text_that_is_sql_stays_text(store: Store) -> None:
    evil = sample("ada", "'; DROP TABLE hyperalign_records; --")
    store.add_records([evil])
    store.save(profile(), "'); DELETE FROM hyperalign_versions; --")
    assert store.records("ada") == [evil]
    assert store.history("ada")[0].note.startswith("');")


def test_it_survives_being_closed(place: str) -> None:
    with Store(place) as first:
        first.add_records(RECORDS)
        first.save(profile())
    with Store(place) as second:
        assert second.records("ada") == RECORDS
        assert second.load("ada") == profile()


def test_it_is_what_the_seam_asks_for(store: Store) -> None:
    assert isinstance(store, StoreLike)
