"""What identifies people is taken out of what is read, by Presidio itself; and nothing else is."""

from __future__ import annotations

import importlib.util
import socket
import time
from pathlib import Path

import pytest

from hyperalign import privacy as redaction
from hyperalign.errors import MissingExtraError
from hyperalign.privacy import find_private_parts, find_redactor, redact_texts
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
    ("Ping 2001:db8::8a2e:370:7334.", "Ping [network address]."),
    ("Ping 2001:db8:0:0:0:8a2e:370:7334: it is down.", "Ping [network address]: it is down."),
    ("On [fe80::1%eth0]:443 and ::ffff:10.0.0.1", "On [[network address]]:443 and [network address]"),
    ("Mail ___o.b+x@mail.example.org.", "Mail [mail address]."),
    (f"Mail {'o' * 300}@mail.example.org", "Mail [mail address]"),
    ("邮箱是 bob@例子.example，电话 +49 30 901820。", "邮箱是 [mail address]，电话 [telephone number]。"),
    ("Call 020 7946 0958, or 01 42 68 53 00 ext. 12!", "Call [telephone number], or [telephone number]!"),
    (f"Dial {'212-555-0134 ' * 300}now", "Dial [telephone number] now"),
]
PLAIN = [
    "In 1984 he had 451 books and 20,000 leagues to go.",
    "Room 12, at 5:30 on 2024-05-03; version 3.11.2 costs 19.99.",
    "See chapter 3, verses 4-9, and mind the gap @ the end.",
    "std::vector<int> v; face::feed(); for (i : xs[::2]) a::b = ::1;",
    "npm install react@18.2.0; pip install hyperalign==1.2.3.4.5; git clone git@example.org:a/b.git; @app.route",
    "At 10:20:30 on 2024-05-03, 00:1a:2b:3c:4d:5e took 1:02:03.",
    "1 1 1 1 1 1 1 1 1 1 1 1",
    "for x in (1, 2, 3): y[x] = 1.5e-10 * 3.14159265358979",
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
    redact = _with_rules(monkeypatch, tmp_path)
    assert (
        redact("Yesterday Margaret Thompson (m.t@mail.example.org) came.") == "Yesterday [name] ([mail address]) came."
    )


def _with_rules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> redaction.Redact:
    """A redactor with a real pipeline of spaCy, with a rule in place of a trained model, which no registry has."""
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
    return redact


@needs_presidio
def test_a_long_text_is_read_in_pieces_and_what_lies_across_a_cut_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    redact = _with_rules(monkeypatch, tmp_path)
    # A period that shares no factor with the pieces: the name lies at every place of a piece, cuts among them.
    unit = "Margaret Thompson wrote to 4111 1111 1111 1111 and DE89 3704 0044 0532 0130 00. "
    text = unit * (1_020_000 // len(unit) + 1)
    assert len(text) > 1_000_000, "spaCy reads no more at once"
    assert redact(text) == "[name] wrote to [card number] and [account number]. " * text.count("Margaret")
    dense = "中" * 1_999 + " Margaret Thompson " + "文" * 3_000
    assert redact(dense) == "中" * 1_999 + " [name] " + "文" * 3_000


@needs_presidio
@pytest.mark.parametrize(
    "unit",
    ["_", "(", "[]", ":", "a:", "1.", "a@", "a@b.", "12 34 ", "4111 1111 1111 1111 ", "std::vector<int> ", " ( "],
)
def test_no_text_takes_longer_than_its_length_tells(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, unit: str) -> None:
    redact = _with_rules(monkeypatch, tmp_path)
    redact(unit * 100)
    took = []
    for length in (16_000, 128_000):
        text = unit * (length // len(unit))
        began = time.process_time()
        redact(text)
        took.append(time.process_time() - began)
    # 8 for linear time and 64 for quadratic; short times are noise.
    assert took[1] < 24 * max(took[0], 0.02)


def test_mail_addresses_in_answers_are_looked_for_in_linear_time() -> None:
    began = time.process_time()
    assert find_private_parts("_" * 1_000_000 + " @" + "a." * 500_000) == []
    assert time.process_time() - began < 10
    assert find_private_parts("Mail bob@mail.example.org or call 212-555-0134 now.") == [
        "mail address",
        "telephone number",
    ]


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

    monkeypatch.setattr(redaction, "_load_numbers", absent)
    redaction._load_redactor.cache_clear()
    with pytest.raises(MissingExtraError, match="privacy"):
        find_redactor(True)
    redaction._load_redactor.cache_clear()
