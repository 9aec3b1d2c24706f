"""A person moves from one store to another."""

from __future__ import annotations

from pathlib import Path

import pytest

from hyperalign.errors import InputError, RecordError
from hyperalign.profile import Profile
from hyperalign.store import Bundle, Person, Store
from tests.hyperalign.example_people import LETTER, RECORDS, profile
from tests.hyperalign.store.helpers import sample


def test_a_bundle_moves_a_person_to_another_store(store: Store, tmp_path: Path) -> None:
    store.add_records(RECORDS)
    store.save(profile(), "first")
    store.save(profile())
    bundle = store.export("ada")
    assert Bundle.from_json(bundle.to_json()) == bundle
    with Store(tmp_path / "other.sqlite") as other:
        other.save(profile("bob"))
        assert other.add_bundle(bundle) == (3, 2)
        assert other.add_bundle(bundle) == (0, 0)
        assert other.export("ada") == bundle
    assert store.add_bundle(bundle) == (0, 0)


def test_a_bundle_is_appended_to_the_versions_that_are_there(store: Store, tmp_path: Path) -> None:
    with Store(tmp_path / "other.sqlite") as other:
        other.save(profile(), "elsewhere")
        bundle = other.export("ada")
    store.save(Profile(user="ada"), "here")
    assert store.add_bundle(bundle) == (0, 1)
    assert [v.note for v in store.history("ada")] == ["here", "elsewhere"]


def test_a_bundle_that_clashes_changes_nothing(store: Store, tmp_path: Path) -> None:
    store.add_records([LETTER])
    clash = LETTER.model_copy(update={"text": "Something else."})
    with Store(tmp_path / "other.sqlite") as other:
        other.add_records([sample("ada", "a new one"), clash])
        other.save(profile())
        bundle = other.export("ada")
    with pytest.raises(RecordError):
        store.add_bundle(bundle)
    assert store.users() == [Person("ada", 1, 0)]


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"user": "ada", "records": [{"user": "bob", "text": "his"}]}'])
def test_what_is_no_bundle_is_refused(content: str) -> None:
    with pytest.raises(InputError) as caught:
        Bundle.from_json(content, where="x.json")
    assert caught.value.message.startswith("x.json: ")
