"""What the page shows, and what each of its forms does to the store."""

from __future__ import annotations

import json
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from hyperalign.backends.gateway.outcomes import Outcomes
from hyperalign.backends.gateway.page.background import Background, Comparison
from hyperalign.errors import InputError
from hyperalign.profile import Hypothesis, Profile
from hyperalign.records import Pair, Sample
from hyperalign.runs import lock_person
from hyperalign.store import Store

from .person import RECORDS, Visitor, fill


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return fill(tmp_path / "people.sqlite")


def ids(profile: Profile) -> list[str]:
    return [each.id for each in profile.hypotheses]


def test_it_says_what_is_believed_on_what_evidence_and_what_was_dropped(store: Path) -> None:
    shown = Visitor(store).read()
    for words in (
        "Learned from 6 choices, 1 correction and 1 text.",
        "<h3 dir=\"auto\">Uses exclamation marks.</h3>",
        "Supported by 5 of your 6 choices.",
        "It fits 1 text of yours better than 12 texts of other people.",
        "Of 6 choices of yours that it had not seen, it guessed 6 right.",
        "Gladly, on day 1!",
        "from a text you turned down",
        "Only where it is about: <bdi>letter or note</bdi>",
        "+0.40 nats; 90 % interval +0.10 to +0.70",
        "4.0 for each 100 words, where most people use 0.5",
        "Is fond of the sea.",
        "It may be chance.",
        "Surer ones were kept in its place.",
        "No emoji, please.",
        "אני מעדיפה תשובות קצרות.",
    ):  # fmt: skip
        assert words in shown, words
    assert shown.index("Uses exclamation marks.") < shown.index("Answers warmly.")


def test_a_person_of_whom_nothing_is_known_can_begin(store: Path) -> None:
    visitor = Visitor(store, "nova")
    assert "Nothing was learned yet." in visitor.read()
    assert "Nothing is kept of you." in visitor.read("texts")
    assert "There is no version yet." in visitor.read("history")
    assert "Added." in visitor.send("add", text="  Short\n answers. ")
    assert visitor.profile().stated == ["Short answers."]


def test_what_is_turned_off_is_not_used_and_comes_back_as_it_was(store: Path) -> None:
    visitor = Visitor(store)
    before = visitor.profile()
    shown = visitor.send("off", id="i-warm")
    assert "Turned off." in shown
    assert "Turned off by you" in shown
    after = visitor.profile()
    assert "i-warm" not in ids(after)
    assert after.silenced == ["i-warm"]
    assert "Turned on again." in visitor.send("on", id="i-warm")
    back = visitor.profile()
    assert back.silenced == []
    assert {each.id: each for each in back.hypotheses} == {each.id: each for each in before.hypotheses}


def test_every_change_is_a_version_that_undo_takes_back(store: Path) -> None:
    visitor = Visitor(store)
    shown = visitor.send("off", id="chosen-exclamations")
    assert '<input type="hidden" name="version" value="1">' in shown
    assert "Gone back to that version." in visitor.send("restore", version="1")
    assert ids(visitor.profile())[0] == "chosen-exclamations"
    history = visitor.read("history")
    for words in (
        "Version 3",
        "Went back to version 1",
        "Turned off “Uses exclamation marks",
        "Inferred from 8 record(s)",
    ):
        assert words in history, words
    assert "New: “Uses exclamation marks" in history
    assert "Gone: “Uses exclamation marks" in history
    assert "Undo" not in visitor.read(), "nothing was changed just now"
    assert "There is no version" in visitor.send("restore", version="99", back="history")


def test_turned_around_it_says_the_opposite_and_the_reward_follows(store: Path) -> None:
    visitor = Visitor(store)
    before = visitor.profile()
    visitor.send("flip", id="chosen-exclamations")
    after = visitor.profile()
    found = next(each for each in after.hypotheses if each.id == "chosen-exclamations")
    assert (found.statement, found.source, found.test) == ("Avoids exclamation marks: none.", "stated", None)
    assert before.reward
    assert after.reward
    assert before.reward.weights["exclamations"] > 0 > after.reward.weights["exclamations"]
    visitor.send("ignore", id="exclamations")
    last = visitor.profile().reward
    assert last
    assert last.weights["exclamations"] == 0
    assert "There is no such preference." in visitor.send("ignore", id="nonsense")


def test_a_correction_is_the_persons_own_statement_without_a_test(store: Path) -> None:
    visitor = Visitor(store)
    assert "You put it in these words." in visitor.send("correct", id="i-warm", text="Answers warmly, but briefly.")
    found = next(each for each in visitor.profile().hypotheses if each.id == "i-warm")
    assert (found.statement, found.source, found.test, found.weight) == (
        "Answers warmly, but briefly.", "edited", None, 0.5,
    )  # fmt: skip
    for text, words in ((" ", "is empty"), ("x" * 501, "501 characters")):
        assert words in visitor.send("correct", id="i-warm", text=text)
    assert "not in use any more" in visitor.send("correct", id="gone", text="Anything.")


def test_what_one_said_oneself_can_be_taken_back(store: Path) -> None:
    visitor = Visitor(store)
    assert "You said that already." in visitor.send("add", text="No emoji, please.")
    visitor.send("take", text="No emoji, please.")
    assert visitor.profile().stated == ["אני מעדיפה תשובות קצרות."]
    assert "not among what you said" in visitor.send("take", text="No emoji, please.")
    visitor.send("add", text="Short\u202e, please.")
    visitor.send("take", text="Short, please.")
    assert len(visitor.profile().stated) == 1


def test_a_text_that_is_used_as_an_example_is_shown_as_one_and_not_corrected(store: Path) -> None:
    example = Hypothesis(id="example-text-1", kind="example", source="example", statement="Dear " * 200, aspect="style")
    with Store(store) as opened:
        opened.save(Profile(user="mira", hypotheses=[example]), "an example")
    shown = Visitor(store).read()
    assert "A text of yours as an example" in shown
    assert "Correct or forget" not in shown
    assert len(shown) < 8_000


def test_a_forgotten_statement_is_in_no_version(store: Path) -> None:
    visitor = Visitor(store)
    visitor.send("off", id="i-warm")
    asked = visitor.read("forget?id=i-warm")
    assert "This cannot be undone." in asked
    assert "Answers warmly." in asked
    assert "Forgotten for good." in visitor.send("forget", id="i-warm")
    with Store(store) as opened:
        assert "Answers warmly" not in opened.export("mira").to_json()
        newest = opened.load("mira")
    assert "i-warm" in newest.silenced
    assert "i-warm" not in visitor.read("history")
    assert visitor.client.get(f"{visitor.home}/forget?id=i-warm").status_code == 404


def test_a_forgotten_record_leaves_no_trace(store: Path) -> None:
    visitor = Visitor(store)
    assert "Gladly, on day 1!" in visitor.read("texts")
    visitor.send("forget", id="choice-1", back="texts")
    with Store(store) as opened:
        assert "choice-1" not in opened.export("mira").to_json()
    assert "Gladly, on day 1!" not in visitor.read("texts") + visitor.read() + visitor.read("history")
    assert "Supported by 4 of your 5 choices." in visitor.read()


def test_texts_come_in_pages_the_newest_first(store: Path) -> None:
    with Store(store) as opened:
        opened.add_records([Sample(user="mira", id=f"more-{at}", text=f"Text number {at:02}.") for at in range(30)])
    visitor = Visitor(store)
    first, second = visitor.read("texts"), visitor.read("texts?from=20")
    assert first.index("Text number 29.") < first.index("Text number 10.")
    assert "Text number 09." not in first
    assert "Text number 09." in second
    assert "?from=20" in first
    assert "?from=0" in second
    assert "Text number 29." in visitor.read("texts?from=x") == visitor.read("texts?from=9999")


def answer(visitor: Visitor, takes: str) -> str:
    sealed = visitor.field("question", "question")
    return visitor.send("answer", question=sealed, takes=takes, back="question")


def test_one_question_at_a_time_is_kept_as_a_choice_and_learned_from(store: Path) -> None:
    answers = {
        "Tea or coffee?": [
            "Tea.",
            "I would say that you ought to think for a good while, and then have coffee.",
        ],
        "Rain?": ["No. None.", "They say that it may rain in the evening, so it would be wise to take a coat along."],
    }
    visitor = Visitor(store, answers=answers)
    shown = visitor.read("question")
    assert ("Tea or coffee?" in shown) + ("Rain?" in shown) == 1
    asked = "Rain?" if "Rain?" in shown else "Tea or coffee?"
    first = min(answers[asked], key=shown.index)
    done = answer(visitor, "first")
    assert "has learned from it" in done
    assert "Undo" not in done, "what was learned from a record that stays cannot be undone"
    with Store(store) as opened:
        kept = opened.records("mira")[-1]
        learned = opened.load("mira").reward
    assert isinstance(kept, Pair)
    assert (kept.prompt, kept.chosen) == (asked, first)
    assert {kept.rejected, first} == set(answers[asked])
    assert learned
    assert len(learned.rows) == len(RECORDS) + 1
    left = visitor.read("question")
    assert asked not in left.split("<main", 1)[1]
    assert "Left out." in visitor.send("skip", question=visitor.field("question", "question"))
    assert "nothing left to ask" in visitor.read("question")


def test_a_question_is_that_persons_and_its_answers_are_not_forged(store: Path) -> None:
    visitor, bo = Visitor(store), Visitor(store, "bo")
    for sealed in ("", "x", bo.field("question", "question"), visitor.field("csrf")):
        assert "too old" in visitor.send("answer", question=sealed, takes="first", back="question")
    with Store(store) as opened:
        assert len(opened.records("mira")) == len(RECORDS)


def test_a_page_does_not_wait_for_who_learns_from_the_person_meanwhile(store: Path) -> None:
    visitor = Visitor(store)
    begun, ends = threading.Event(), threading.Event()

    def learn() -> None:
        with lock_person("mira"):
            begun.set()
            ends.wait(30)

    thread = threading.Thread(target=learn)
    thread.start()
    assert begun.wait(10)
    try:
        shown = visitor.send("off", id="i-warm")
    finally:
        ends.set()
        thread.join()
    assert "Try again in a minute; nothing was changed." in shown
    assert "i-warm" in ids(visitor.profile())


def test_both_answers_are_written_while_the_page_loads_itself_again(store: Path) -> None:
    may_end = threading.Event()

    def compare(user: str, prompt: str) -> Comparison:
        may_end.wait(30)
        if "fail" in prompt:
            raise InputError("The model is not there.", remedy="Start it.")
        return Comparison(prompt, "Bare & cold.", f"Warm, for {user}.", "By a model.")

    visitor = Visitor(store, compare=compare)
    sent = visitor.client.post(f"{visitor.home}/do/ask", data={"csrf": visitor.field("csrf"), "text": "Decline."})
    assert '<meta http-equiv="refresh" content="2">' in sent.text
    job = str(sent.url)
    may_end.set()
    shown = visitor.read(f"compare?job={job.rpartition('=')[2]}")
    for words in ("Bare &amp; cold.", "Warm, for mira.", "By a model.", "Decline."):
        assert words in shown
    assert "http-equiv" not in shown
    bo = Visitor(store, "bo", compare=compare)
    assert "too old" in bo.read(f"compare?job={job.rpartition('=')[2]}")
    failed = visitor.client.post(f"{visitor.home}/do/ask", data={"csrf": visitor.field("csrf"), "text": "fail"})
    assert "The model is not there. Start it." in visitor.read(f"compare?job={str(failed.url).rpartition('=')[2]}")
    assert "The prompt is empty." in visitor.send("ask", text=" ", back="compare")
    assert "No model is configured here" in Visitor(store).read("compare")
    assert "No model is configured." in Visitor(store).send("ask", text="x", back="compare")


def test_notices_stand_at_the_top(store: Path) -> None:
    said = "Your profile is switched off: it did not help."
    assert said in Visitor(store, notices=lambda user: [said] if user == "mira" else []).read()
    assert said not in Visitor(store, "bo", notices=lambda user: [said] if user == "mira" else []).read()


def test_a_profile_that_the_gateway_switched_off_is_said_to_be(store: Path) -> None:
    visitor = Visitor(store)
    assert "switched off" not in visitor.read()
    with closing(Outcomes(store)) as outcomes:
        outcomes.switch("mira", "by 40 thumbs it does not help")
    assert "the gateway answers you without it. Reason: by 40 thumbs it does not help" in visitor.read()
    assert "switched off" not in Visitor(store, "bo").read()


def test_a_damaged_profile_is_said_and_nothing_breaks(store: Path) -> None:
    import sqlite3

    with sqlite3.connect(store) as database:
        database.execute("UPDATE hyperalign_versions SET content = '{}' WHERE user_id = 'mira'")
    database.close()
    visitor = Visitor(store)
    answer = visitor.client.get(f"{visitor.home}/")
    assert answer.status_code == 500
    assert "Your page cannot be shown" in answer.text


def test_work_that_failed_without_being_foreseen_tells_nothing_of_it() -> None:
    background = Background(1)
    background.start("a", lambda: 1 / 0)
    background.start("b", lambda: json.dumps({"n": 1}))
    background.start("b", lambda: "never run")
    assert background.look("a", 10).problem == "Something went wrong that was not foreseen."
    assert background.look("b", 10).result == '{"n": 1}'
    assert not background.look("c").is_known
    background.drop("b")
    assert not background.look("b").is_known
    hold = threading.Event()
    for at in range(32):
        background.start(at, lambda: hold.wait(20))
    with pytest.raises(InputError, match="waiting"):
        background.start("one more", time.time)
    hold.set()
    background.close()


def test_a_statement_that_was_turned_off_twice_comes_back_once(store: Path) -> None:
    visitor = Visitor(store)
    again = Hypothesis(id="i-new", statement="Says it once.", aspect="style", source="stated", weight=1)
    with Store(store) as opened:
        profile = opened.load("mira")
        opened.save(profile.model_copy(update={"hypotheses": [*profile.hypotheses, again]}), "stated")
    visitor.send("off", id="i-new")
    visitor.send("on", id="i-new")
    visitor.send("off", id="i-new")
    visitor.send("on", id="i-new")
    assert ids(visitor.profile()).count("i-new") == 1
    assert "not turned off" in visitor.send("on", id="i-new")
