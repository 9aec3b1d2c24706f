"""What is kept is learned from at once, and what is forgotten leaves every version."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from hyperalign.backends.gateway.outcomes import Outcomes
from hyperalign.backends.gateway.tables import Said
from hyperalign.backends.keeping import forget, keep, open_reward_of
from hyperalign.errors import NotFoundError, RecordError
from hyperalign.profile import Hypothesis, Profile
from hyperalign.records import Pair, Sample
from hyperalign.store import Store

CHOICES = [
    Pair(user="mira", prompt=f"Day {at}?", chosen=f"Yes! Gladly, on day {at}!", rejected=f"Day {at} is possible.")
    for at in range(4)
]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "people.sqlite")


def test_a_new_persons_choices_are_kept_and_learned_from(store: Store) -> None:
    kept = keep(store, CHOICES, encoder="none", redact=False)
    assert kept.records == kept.new == tuple(each.id for each in CHOICES)
    assert kept.version == 1
    learned = store.load("mira").reward
    assert learned
    assert [row.record for row in learned.rows] == list(kept.new)
    assert learned.weights["exclamations"] > 0
    assert store.history("mira")[0].note == "4 new record(s)"
    again = keep(store, CHOICES, encoder="none", redact=False)
    assert (again.new, again.version, again.why_not) == ((), None, "")
    assert len(store.history("mira")) == 1


def test_what_cannot_be_learned_from_now_is_kept_all_the_same(store: Store) -> None:
    keep(store, CHOICES, encoder="none", redact=False)
    learned = store.load("mira")
    assert learned.reward
    lost = learned.model_copy(update={"reward": learned.reward.model_copy(update={"population": "/gone.json"})})
    store.save(lost)
    kept = keep(store, [Pair(user="mira", prompt="", chosen="a b", rejected="c d")], encoder="none", redact=False)
    assert kept.version is None
    assert "/gone.json" in kept.why_not
    assert len(store.records("mira")) == 5


def test_an_id_that_stands_for_something_else_keeps_nothing(store: Store) -> None:
    keep(store, [Sample(user="mira", id="one", text="This.")], encoder="none", redact=False)
    with pytest.raises(RecordError):
        keep(store, [Sample(user="mira", id="one", text="That.")], encoder="none", redact=False)
    assert [record.id for record in store.records("mira")] == ["one"]


def test_the_reward_of_an_empty_person_is_that_of_anybody(store: Store) -> None:
    profile, reward = open_reward_of(store, "nova", encoder="none")
    assert profile == Profile(user="nova")
    assert reward.rows == ()


def test_a_forgotten_record_and_statement_are_in_no_version(store: Store) -> None:
    keep(store, CHOICES, encoder="none", redact=False)
    said = Hypothesis(id="i-warm", statement="Answers warmly.", aspect="style", weight=0.5)
    store.save(store.load("mira").model_copy(update={"hypotheses": [said]}))
    store.save(store.load("mira").model_copy(update={"stated": ["Short."]}))
    gone = forget(store, "mira", CHOICES[0].id)
    assert gone.is_record
    assert gone.versions == (1, 2, 3)
    assert CHOICES[0].id not in store.export("mira").to_json()
    taken = forget(store, "mira", "i-warm")
    assert not taken.is_record
    assert taken.statements == {"Answers warmly."}
    assert "Answers warmly." not in store.export("mira").to_json()
    assert store.load("mira").silenced == ["i-warm"]
    with pytest.raises(NotFoundError, match="no record and no hypothesis"):
        forget(store, "mira", "nonsense")
    with pytest.raises(NotFoundError):
        forget(store, "nobody", "i-warm")


def test_a_forgotten_record_takes_the_feedback_that_it_was_made_of_with_it(store: Store, tmp_path: Path) -> None:
    record = Sample(user="mira", id="feedback-f", text="Words that must go.")
    keep(store, [record], encoder="none", redact=False)
    said = Said(id="f", user="mira", kind="edit", request="r", content={"edited": "Words that must go."})
    with closing(Outcomes(tmp_path / "people.sqlite")) as outcomes:
        outcomes.keep(said=[said])
    forget(store, "mira", "feedback-f")
    store.close()
    left = b"".join(path.read_bytes() for path in tmp_path.glob("people.sqlite*"))
    assert b"must go" not in left
