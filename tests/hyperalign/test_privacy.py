"""What identifies people is taken out of what is read, by Presidio itself; and nothing else is."""

from __future__ import annotations

import importlib.util
import socket
from pathlib import Path

import pytest

from hyperalign import privacy as redaction
from hyperalign.errors import MissingExtraError
from hyperalign.privacy import find_redactor, redact_texts
from hyperalign.records import Pair, Sample

needs_presidio = pytest.mark.skipif(
    importlib.util.find_spec("presidio_analyzer") is None, reason="the extra 'privacy' is not installed"
)
# spaCy's and Presidio's own parts warn of each other's versions.
pytestmark = pytest.mark.filterwarnings("ignore")

PRIVATE = [
    ("Write to bob.miller@mail.example.org today.", "Write to [mail address] today."),
    ("Call me at (212) 555-0134, please.", "Call me at [telephone number], please."),
    ("Pay to DE89 3704 0044 0532 0130 00.", "Pay to [account number]."),
    ("The card is 4111 1111 1111 1111.", "The card is [card number]."),
    ("The host is 192.168.1.20 now.", "The host is [network address] now."),
]
PLAIN = [
    "In 1984 he had 451 books and 20,000 leagues to go.",
    "Room 12, at 5:30 on 2024-05-03; version 3.11.2 costs 19.99.",
    "See chapter 3, verses 4-9, and mind the gap @ the end.",
]


@needs_presidio
@pytest.mark.parametrize(("text", "left"), PRIVATE)
def test_what_identifies_somebody_is_taken_out(text: str, left: str) -> None:
    redact = find_redactor(True)
    assert redact is not None
    assert redact(text) == left


@needs_presidio
@pytest.mark.parametrize("text", PLAIN)
def test_other_numbers_stay(text: str) -> None:
    redact = find_redactor()
    assert redact is not None
    assert redact(text) == text


@needs_presidio
def test_nothing_is_asked_of_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def refuse(*where: object, **_: object) -> None:
        # A library may swallow what is raised here.
        asked.append(where)
        raise OSError("no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    redaction._load_redactor.cache_clear()
    redact = find_redactor(True)
    assert redact is not None
    assert "[mail address]" in redact("bob@some-new-place.example")
    assert asked == []


@needs_presidio
def test_names_are_taken_out_where_a_pipeline_finds_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # A real pipeline of spaCy with rules in place of a trained model, which no package registry has.
    import spacy

    pipeline = spacy.blank("en")
    rules = pipeline.add_pipe("entity_ruler")
    rules.add_patterns([{"label": "PERSON", "pattern": [{"LOWER": "margaret"}, {"LOWER": "thompson"}]}])
    pipeline.to_disk(tmp_path / "rules")
    monkeypatch.setattr(redaction, "_find_pipelines", lambda: [str(tmp_path / "rules")])
    redaction._load_redactor.cache_clear()
    redact = find_redactor(True)
    redaction._load_redactor.cache_clear()
    assert redact is not None
    assert (
        redact("Yesterday Margaret Thompson (m.t@mail.example.org) came.") == "Yesterday [name] ([mail address]) came."
    )


def test_records_keep_their_own_ids_and_get_new_ones_where_those_were_of_the_content() -> None:
    def hide(text: str) -> str:
        return text.replace("Bob", "[name]")

    named = Sample(user="ada", id="mine", text="Bob called.", prompt="Who? Bob?")
    unnamed = Pair(user="ada", prompt="Who?", chosen="Bob.", rejected="Nobody.")
    plain = Sample(user="ada", text="Nothing here.")
    first, second, third = redact_texts([named, unnamed, plain], hide)
    assert first == Sample(user="ada", id="mine", text="[name] called.", prompt="Who? [name]?")
    assert second == Pair(user="ada", prompt="Who?", chosen="[name].", rejected="Nobody.")
    assert second.id != unnamed.id
    assert third is plain


def test_where_it_is_not_installed_it_is_off_and_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_redactor(False) is None
    monkeypatch.setattr(redaction, "is_redactor_installed", lambda: False)
    assert find_redactor() is None

    def absent() -> None:
        raise ModuleNotFoundError("presidio_analyzer")

    monkeypatch.setattr(redaction, "_load_analyzer", absent)
    redaction._load_redactor.cache_clear()
    with pytest.raises(MissingExtraError, match="privacy"):
        find_redactor(True)
    redaction._load_redactor.cache_clear()
