"""A store of many people: pages, names that are mistyped, samples of everybody, bulk loading, and what it all costs."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from hyperalign.errors import InputError, NotFoundError, RecordError, UserIdError
from hyperalign.profile import Profile
from hyperalign.records import Edit, Pair, Record, Sample
from hyperalign.store import Person, Store, people, tables
from tests.hyperalign.example_people import RECORDS, profile
from tests.hyperalign.store.helpers import sample

ENGLISH = "I would like to meet you on Friday at the station, if the train is on time"
GERMAN = "Ich würde dich gern am Freitag am Bahnhof treffen, wenn der Zug nicht zu spät kommt"


def names(count: int) -> list[str]:
    draw = random.Random(7)
    first, last = ("ada", "bruno", "chiara", "david", "elena"), ("king", "lovelace", "novak", "silva", "young")
    return [f"{draw.choice(first)}.{draw.choice(last)}.{number * 7919 % 99_991}" for number in range(1, count + 1)]


def fill(store: Store, count: int) -> list[str]:
    everybody = names(count)
    store.add_people(
        ([sample(user, f"{ENGLISH} {n}") for n in range(2)], Profile(user=user, stated=["Be brief."]))
        for user in everybody
    )
    return everybody


# Pages


def test_people_are_listed_in_pages(store: Store) -> None:
    everybody = sorted(fill(store, 25))
    pages, last = [], None
    while page := store.users(after=last, limit=10):
        pages.append([person.user for person in page])
        last = page[-1].user
    assert [len(page) for page in pages] == [10, 10, 5]
    assert [user for page in pages for user in page] == everybody == [person.user for person in store.users()]
    assert store.users(limit=1) == [Person(everybody[0], 2, 1)]


def test_people_are_found_by_the_beginning_of_their_names(store: Store) -> None:
    store.add_records([sample(user, "x") for user in ("ada", "Ada Lovelace", "adam", "Bob", "bobby", "Zoë", "李雷")])
    assert [person.user for person in store.users(search="ADA")] == ["ada", "Ada Lovelace", "adam"]
    assert [person.user for person in store.users(search="Ada", after="ada", limit=1)] == ["Ada Lovelace"]
    assert [person.user for person in store.users(search="bob")] == ["Bob", "bobby"]
    assert [person.user for person in store.users(search="zo\u0065\u0308")] == ["Zoë"], "in another form of Unicode"
    assert [person.user for person in store.users(search="李")] == ["李雷"]
    assert store.users(search="ob") == store.users(search="\udcff") == store.users(search="%") == []


def test_a_person_is_looked_up_alone(store: Store) -> None:
    store.add_records(RECORDS)
    assert (store.person("ada"), store.has_profile("ada")) == (Person("ada", 3, 0), False)
    store.save(profile())
    assert (store.person("ada"), store.has_profile("ada")) == (Person("ada", 3, 1), True)
    assert (store.person("zoe"), store.has_profile("zoe")) == (None, False)


# Names that are mistyped


@pytest.mark.parametrize("user", ["chiara.lovelace.4242", "Chiara Lovelace", "मीरा नोवाक", "Ирина Петрова", "王小明"])
def test_a_slip_anywhere_in_a_name_is_forgiven_among_many(
    store: Store, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(people, "_ALL_COMPARED", 20)
    monkeypatch.setattr(people, "_NEIGHBOURS", 3)
    fill(store, 400)
    store.save(Profile(user=user))
    middle = user[len(user) // 2]
    for at in range(len(user)):
        slips = {
            "left out": user[:at] + user[at + 1 :],
            "put in": user[:at] + middle + user[at:],
            "wrong": user[:at] + ("q" if user.isascii() else middle) + user[at + 1 :],
            "swapped": user[:at] + user[at + 1 : at + 2] + user[at] + user[at + 2 :],
        }
        for what, wrong in slips.items():
            try:
                store.load(wrong)
                assert wrong == user
            except UserIdError:
                continue
            except NotFoundError as error:
                assert repr(user) in error.remedy, f"{what} at {at}: {wrong}"


def test_several_slips_in_one_half_are_forgiven_among_many(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people, "_ALL_COMPARED", 20)
    fill(store, 400)
    store.save(Profile(user="margarethe.okonkwo"))
    for wrong in ("margarethe.okwonko1", "margrete.okonkwo", "mme.garethe.okonkwo"):
        with pytest.raises(NotFoundError) as caught:
            store.load(wrong)
        assert "'margarethe.okonkwo'" in caught.value.remedy
    with pytest.raises(NotFoundError) as caught:
        store.load("somebody else altogether")
    assert "Did you mean" not in caught.value.remedy


# Samples of everybody


def test_a_sample_has_people_of_the_same_language_first(store: Store) -> None:
    store.add_records([sample(f"en{n}", f"{ENGLISH} {n}.") for n in range(6)])
    store.add_records([sample(f"de{n}", f"{GERMAN} {n} {m}.") for n in range(2) for m in range(2)])
    store.add_records([sample("ada", ENGLISH), sample("gabi", GERMAN), sample("kim", "ok")])

    def users(user: str, limit: int) -> list[str]:
        return [record.user for record in store.other_records(user, limit)]

    first = users("gabi", 6)
    assert set(first[:2]) == set(first[2:4]) == {"de0", "de1"}, "people take turns"
    assert not any(user.startswith("de") for user in first[4:])
    assert all(user.startswith("en") for user in users("ada", 6))
    assert len(users("gabi", 99)) == 6 + 4 + 2
    # Of whom nothing is known, everybody is as near.
    assert users("a stranger", 9) == [user for user in users("a stranger", 99) if user in users("a stranger", 9)][:9]
    assert len(set(users("kim", 10))) == 10


def test_a_language_is_told_as_soon_as_a_text_tells_it(store: Store) -> None:
    store.add_records([sample("gabi", "ok"), *(sample("eve", f"{ENGLISH} {n}") for n in range(3))])
    store.add_records([sample("hans", GERMAN), sample("gabi", GERMAN)])
    assert store.other_records("hans", 2) == store.records("gabi")


def test_a_forgotten_record_leaves_its_turn_to_the_next(store: Store) -> None:
    for user in ("bob", "cy"):
        store.add_records([sample(user, f"{user} {n}") for n in range(3)])
    gone = store.records("bob")[0].id
    store.amend("bob", lambda _: None, record=gone)
    texts = [record.text for record in store.other_records("ada", 4) if isinstance(record, Sample)]
    assert sorted(texts[:2]) == ["bob 1", "cy 0"]
    assert sorted(texts[2:]) == ["bob 2", "cy 1"]
    store.add_records([sample("bob", "bob 3")])
    assert len(store.other_records("ada", 9)) == 6
    assert store.person("bob") == Person("bob", 3, 0)


def test_samples_stay_right_whatever_comes_and_goes(store: Store) -> None:
    draw = random.Random(11)
    kept: dict[str, list[Record]] = {}
    for step in range(120):
        user = f"p{draw.randrange(8)}"
        theirs = kept.setdefault(user, [])
        what = draw.random()
        if what < 0.6 or not theirs:
            record = draw.choice(
                [
                    sample(user, f"words {step}"),
                    Pair(user=user, prompt="Well?", chosen=f"yes {step}", rejected="no"),
                    Edit(user=user, prompt="Well?", draft="a", edited=f"b {step}"),
                ]
            )
            assert store.add_records([record, record]) == 1
            theirs.append(record)
        elif what < 0.9:
            record = draw.choice(theirs)
            store.amend(user, lambda _: None, record=record.id)
            theirs.remove(record)
        else:
            store.remove(user)
            del kept[user]
    assert store.users() == [Person(user, len(theirs), 0) for user, theirs in sorted(kept.items()) if theirs]
    others = store.other_records("p0", 1000)
    assert sorted(each.id for each in others) == sorted(
        each.id for user, theirs in kept.items() if user != "p0" for each in theirs
    )
    for kind in (Sample, Pair, Edit):
        turns = Counter[str]()
        seen = []
        for record in others:
            if type(record) is kind:
                seen.append(turns[record.user])
                turns[record.user] += 1
        assert seen == sorted(seen), "nobody's second comes before anybody's first"
        for user in turns:
            mine = [record for record in kept[user] if type(record) is kind]
            assert [record for record in others if record.user == user and type(record) is kind] == mine


# Many at once


def test_many_people_are_added_at_once_and_again(store: Store) -> None:
    everybody = [(RECORDS, profile()), ([sample("bob", "x")], None), ([], Profile(user="cy"))]
    assert store.add_people(everybody, note="from a file", batch_size=2) == (4, 2)
    assert store.users() == [Person("ada", 3, 1), Person("bob", 1, 0), Person("cy", 0, 1)]
    assert store.records("ada") == RECORDS
    assert store.history("ada")[0].note == "from a file"
    assert store.add_people(everybody) == (0, 0), "what is there is skipped"
    changed = profile().model_copy(update={"stated": ["Be brief."]})
    assert store.add_people([([sample("ada", "one more")], changed), ([sample("ada", "two more")], None)]) == (2, 1)
    assert store.load("ada") == changed
    assert store.load("ada", 1) == profile()
    assert store.add_people([([], None)] * 3) == (0, 0)


def test_many_people_are_copied_whole(store: Store) -> None:
    odd = "a NUL \0, a tab \t, a line\nbreak, \\N and \\. and 🎉"
    store.add_people([([sample(f"u{n}", f"{odd} {n}")], None) for n in range(300)])
    assert store.records("u7") == [sample("u7", f"{odd} 7")]
    assert len(store.users()) == 300


def test_those_who_cannot_be_added_are_passed_over_if_asked(store: Store) -> None:
    store.add_records([sample("ada", "x"), Sample(user="bob", id="1", text="his")])
    clash = Sample(user="bob", id="1", text="another")
    given = [([sample("Ada", "y")], None), ([clash], Profile(user="bob")), ([sample("cy", "z")], None)]
    with pytest.raises(UserIdError):
        store.add_people(given)
    with pytest.raises(RecordError):
        store.add_people(given[1:])
    assert [person.user for person in store.users()] == ["ada", "bob"], "nothing of the batch was added"
    told: dict[str, InputError] = {}
    assert store.add_people(given, refused=told.__setitem__) == (1, 0)
    assert {user: type(error) for user, error in told.items()} == {"Ada": UserIdError, "bob": RecordError}
    assert store.users() == [Person("ada", 1, 0), Person("bob", 1, 0), Person("cy", 1, 0)]


def test_rows_that_another_process_added_meanwhile_are_no_other_error(store: Store) -> None:
    rows = [{"named": n, "user_id": "ada"} for n in range(200)]
    for _ in range(2):
        with Session(store._writer) as session:
            tables.insert_rows(session, tables.MentionRow, rows[:5])
            with pytest.raises(IntegrityError):
                tables.insert_rows(session, tables.MentionRow, rows)
    assert store.users() == []


# What a memory names


def test_removing_reads_the_memories_that_name_a_person_and_no_others(store: Store) -> None:
    quoted = 'Zoë "Z" \\ O\'Neil'
    for user, others in {"bob": ["ada", "cy"], "cy": ["adam"], "dan": ["Zoë"]}.items():
        store.add_records([sample(user, "x")])
        rows = ", ".join(f'{{"record": "r", "user":"{name}"}}' for name in others)
        store.keep_memory(user, f'{{"text": {quoted!r}, "rows": [{rows}]}}')
    store.add_records([sample(user, "x") for user in ("ada", "Zoë")])
    read: list[str] = []

    def without(memory: str) -> str:
        read.append(memory)
        return memory.replace('"ada"', '"other"')

    store.remove("ada", without=without)
    assert len(read) == 1
    assert '"other"' in (store.memory("bob") or "")
    store.keep_memory("dan", '{"rows": []}')
    store.remove("Zoë")
    assert store.memory("dan") == '{"rows": []}', "it names nobody any longer"
    store.remove("cy")
    assert store.memory("bob") is None
    with store._engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM hyperalign_mentions")).scalar() == 0


# What it costs


def steps(store: Store, work: Callable[[], object]) -> int:
    """How many hundreds of instructions SQLite runs for some work: what it costs, whatever else the machine does."""
    counted = 0

    def count() -> int:
        nonlocal counted
        counted += 1
        return 0

    def listen(connection: sqlite3.Connection, *_: object) -> None:
        connection.set_progress_handler(count, 100)

    event.listen(store._engine, "checkout", listen)
    work()
    event.remove(store._engine, "checkout", listen)
    return counted


def test_no_plan_is_kept_from_when_the_store_was_small(server: str) -> None:
    # Such a plan compared every row with each of 500 names: 10,000 people a second became 500 within a minute.
    with Store(server) as store:
        for start in range(0, 600, 50):
            store.add_people(([sample(user, "x")], None) for user in names(600)[start : start + 50])
            store.other_records("ada", 20)
        with store._engine.connect() as connection:
            assert connection.scalar(text("SELECT count(*) FROM pg_prepared_statements")) == 0


def costs(place: Path, count: int) -> dict[str, int]:
    """What it costs to ask things of one person among so many."""
    with Store(place) as store:
        user = fill(store, count)[17]
        store.keep_memory(user, '{"rows": [{"user": "bob"}]}')

        def mistype() -> None:
            with pytest.raises(NotFoundError):
                store.load(f"{user}7q")

        works: dict[str, Callable[[], object]] = {
            "sample": lambda: store.other_records(user, 20),
            "of a stranger": lambda: store.other_records("a stranger", 20),
            "show": lambda: store.load(user),
            "mistyped": mistype,
            "page": lambda: store.users(after="chiara", limit=20),
            "search": lambda: store.users(search="chiara.n", limit=20),
            "add": lambda: store.add_records([sample(user, "one more"), sample("somebody new", "x")]),
            "save": lambda: store.remember(profile(user), '{"rows": [{"user": "cy"}]}'),
            "forget": lambda: store.amend(user, lambda _: None, record=store.records(user)[0].id),
            "open": lambda: Store(place).close(),
        }
        found = {name: steps(store, work) for name, work in works.items()}
        assert steps(store, store.users) >= count / 20, "to read everybody is seen"
        return found


def test_nothing_asked_of_one_person_takes_longer_with_more_people(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(people, "_ALL_COMPARED", 100)
    few, many = (costs(tmp_path / f"{count}.sqlite", count) for count in (400, 4_000))
    assert {name: (few[name], many[name]) for name in few if many[name] > 1.5 * few[name] + 10} == {}
