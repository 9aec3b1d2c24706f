"""Mailboxes and single mails: whose words are whose, what they answer, and what no person wrote."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path

import pytest

from hyperalign.ingest.interface import Author, Columns, Entry, PassedOver, Utterance
from hyperalign.ingest.mail import FORMATS, PROMPT_WORDS
from hyperalign.ingest.source import Source

MBOX, EML = FORMATS
HERS = "I mended the gate before lunch.\nIt holds now."
HIS = "WHERE ARE THE FORMS?! I need them TODAY!!!"
MIRA, TOM = "Mira Kern <mira@example.org>", "Tom <tom@example.org>"
STAMP = "From mira@example.org Mon Jan  1 10:00:00 2024"


def mail(text: str = HERS, sender: str = MIRA, **headers: str) -> str:
    given = {"From": sender, "To": TOM, "Subject": "Forms", "Date": "Mon, 01 Jan 2024 10:00:00 +0100"}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    return "".join(f"{name}: {value}\n" for name, value in given.items() if value) + f"\n{text}\n"


def mailbox(*mails: str) -> bytes:
    return "\n\n".join(f"{STAMP}\n{each}".rstrip("\n") for each in mails).encode() + b"\n"


def read_eml(data: str | bytes, name: str = "letter.eml") -> list[Entry]:
    return list(EML.read(Source(name, data.encode() if isinstance(data, str) else data), Columns()))


def read_mbox(data: bytes) -> list[Entry]:
    return list(MBOX.read(Source("sent.mbox", data), Columns()))


def said(entries: Iterable[Entry]) -> list[tuple[str, str]]:
    return [(each.author.name, each.text) for each in entries if isinstance(each, Utterance) and each.author]


def passed(entries: Iterable[Entry]) -> list[str]:
    return [each.reason for each in entries if isinstance(each, PassedOver)]


@pytest.mark.parametrize(
    ("name", "data", "sure"),
    [
        ("letter.eml", mail(), (0, 2)),
        ("letter.txt", mail(Message_ID="<1@x>"), (0, 3)),
        ("-", "Received: from a\n\tby b; Mon\n" + mail(), (0, 3)),
        ("1700000000.M1P2.host:2,S", mail(MIME_Version="1.0"), (0, 3)),
        ("sent.mbox", mailbox(mail()).decode(), (3, 0)),
        ("Sent", mailbox(mail()).decode(), (3, 0)),
        ("x", mailbox(mail()).decode().replace("\n", "\r\n"), (3, 0)),
        ("x", "From - Mon Jan 01 10:00:00 2024\nX-Mozilla-Status: 0001\n" + mail(), (3, 0)),
        ("x", "From 1786@xxx Mon Jan 01 10:00:00 +0000 2024\n" + mail(), (3, 0)),
        ("x", "From m@x.org Mon Jan  1 10:00:00 CET 2024\n" + mail(), (3, 0)),
        ("memo.txt", "To: all\nFrom: Mira\nSubject: The gate\n\nIt holds.", (0, 0)),
        ("diary.txt", "From Monday on I walked.\nNote: it rained.", (0, 0)),
        ("diary.txt", "From Mon 10:00 to 2024\nI walked.", (0, 0)),
        ("letter.txt", "Dear Tom: hello.\n\nFrom: me", (0, 0)),
        ("notes.md", "Title: x\nAuthor: mira@example.org\n\nText.", (0, 0)),
        ("broken.eml", "no header at all", (0, 1)),
        ("empty.mbox", "", (1, 0)),
        ("picture.txt", "\x00\x01", (0, 0)),
    ],
)
def test_told_by_content_then_by_name(name: str, data: str, sure: tuple[int, int]) -> None:
    source = Source(name, data.encode("latin-1"))
    found = MBOX.match(source), EML.match(source)
    assert found == sure


def test_one_mail() -> None:
    text = f"{HERS}\n\n-- \nMira Kern\n\n"
    (signature, utterance) = read_eml(
        mail(text, Message_ID="<a1@example.org>", Subject="=?UTF-8?Q?Re=3A_Gr=C3=BC=C3=9Fe?=")
    )
    assert signature == PassedOver("signatures", 1)
    assert utterance == Utterance(
        Author("Mira Kern", frozenset({"mira@example.org"})),
        HERS,
        prompt="Subject: Grüße",
        time=datetime(2024, 1, 1, 9, tzinfo=UTC),
        id="a1@example.org",
        line=1,
    )


def test_a_reply_answers_what_it_quotes() -> None:
    quoted = f"On Mon, Jan 1, 2024 at 9:00 AM Tom <tom@example.org>\nwrote:\n\n> {HIS}\n>\n> Tom\n>> Older words."
    (note, utterance) = read_eml(mail(f"{HERS}\n\n{quoted}"))
    assert note == PassedOver("quoted passages", 1)
    assert isinstance(utterance, Utterance)
    assert (utterance.text, utterance.prompt) == (HERS, f"{HIS}\n\nTom")
    long = "\n".join("> one two three four five six seven eight nine ten" for _ in range(90))
    (_, utterance) = read_eml(mail(f"{HERS}\n\nOn 1 Jan 2024, at 09:00, Tom wrote:\n{long}"))
    assert isinstance(utterance, Utterance)
    assert len((utterance.prompt or "").split()) <= PROMPT_WORDS


def test_a_line_that_names_the_one_who_is_written_to_begins_their_words() -> None:
    text = f"{HERS}\n\nTom Gray wrote:\n\n{HIS}\n\nMore of his words."
    (note, utterance) = read_eml(mail(text, To='Ann <ann@example.org>, "Tom Gray" <tom@example.org>'))
    assert note == PassedOver("quoted passages", 1)
    assert isinstance(utterance, Utterance)
    assert (utterance.text, utterance.prompt) == (HERS, f"{HIS}\n\nMore of his words.")
    told = f"{HERS}\n\nThe neighbour wrote:\n\nThe gate is mine."
    assert said(read_eml(mail(told))) == [("Mira Kern", told)]


def test_a_mailbox_holds_what_its_replies_answer() -> None:
    first = mail(f"{HIS}\n\n> old words", TOM, Message_ID="<t1@x>")
    second = mail(HERS, Message_ID="<m1@x>", In_Reply_To="<t1@x>", Subject="Re: Forms")
    third = mail("You are a treasure, Mira.", TOM, Message_ID="<t2@x>", References="<gone@x> <t1@x> <m1@x>")
    entries = read_mbox(mailbox(first, second, third))
    assert said(entries) == [("Tom", HIS), ("Mira Kern", HERS), ("Tom", "You are a treasure, Mira.")]
    found = [each for each in entries if isinstance(each, Utterance)]
    assert [each.prompt for each in found] == ["old words", HIS, HERS]
    assert [each.line for each in found] == [1, 12, 23]


@pytest.mark.parametrize(
    "subject", ["Re: Forms", "AW: Re: Forms", "Fwd: Forms", "RE[2]: Forms", "回复：Forms", "SV: VS: Forms", "  Forms "]
)
def test_the_subject_is_asked_where_nothing_is_quoted(subject: str) -> None:
    (utterance,) = read_eml(mail(Subject=subject))
    assert isinstance(utterance, Utterance)
    assert utterance.prompt == "Subject: Forms"
    (utterance,) = read_eml(mail(Subject=""))
    assert isinstance(utterance, Utterance)
    assert utterance.prompt is None


def test_lines_that_begin_with_from_part_no_mail() -> None:
    body = "We met.\n\nFrom Monday on, I am away.\n\nFrom 10:00 on Mon Jan 1 2024 I slept.\nFrom here on.\n>From afar."
    entries = read_mbox(mailbox(mail(body), mail()))
    assert said(entries) == [("Mira Kern", body.replace(">From", "From")), ("Mira Kern", HERS)]
    # Between quoted lines it is quoted.
    body = f"{HERS}\n\nOn Mon, Jan 1, 2024 at 9:00 AM Tom wrote:\n>I came.\n>From far away.\n>And left."
    assert said(read_mbox(mailbox(mail(body)))) == [("Mira Kern", HERS)]
    assert said(read_mbox(mailbox(mail(f"{HERS}\n\n>>From his mail.")))) == [("Mira Kern", HERS)]


def test_line_ends_and_marks_of_other_systems() -> None:
    data = b"\xef\xbb\xbf\r\n" + mailbox(mail(), mail("Another letter of hers.")).replace(b"\n", b"\r\n")
    entries = read_mbox(data)
    assert said(entries) == [("Mira Kern", HERS), ("Mira Kern", "Another letter of hers.")]
    assert [each.line for each in entries] == [2, 11]
    message = mail()
    emlx = f"{len(message.encode())}\n{message}<?xml version='1.0'?><plist></plist>"
    assert said(read_eml(emlx, "1.emlx")) == [("Mira Kern", HERS)]


@pytest.mark.parametrize(
    ("sender", "name", "also"),
    [
        ("mira@example.org", "mira@example.org", set()),
        ("Mira@Example.org", "mira@example.org", set()),
        ('"Kern, Mira" <mira@example.org>', "Kern, Mira", {"mira@example.org"}),
        ("=?iso-8859-1?Q?J=FCrgen?= <j@example.org>", "Jürgen", {"j@example.org"}),
        ('"=?UTF-8?B?SsO8cmdlbg==?=" <j@example.org>', "Jürgen", {"j@example.org"}),
        ("Jürgen <j@example.org>", "Jürgen", {"j@example.org"}),
        ("=?UTF-8?Q?J=C3=BC?= =?UTF-8?Q?rgen?=\n <j@example.org>", "Jürgen", {"j@example.org"}),
        ("=?x-unknown?Q?Mira?= <m@example.org>", "Mira", {"m@example.org"}),
        ("mira@example.org (Mira)", "Mira", {"mira@example.org"}),
        ("'Mira via Carpenters' <list@example.org>", "Mira", {"mira@example.org"}),
        ("/O=EXCH/OU=ORG/CN=MIRA", "/O=EXCH/OU=ORG/CN=MIRA", set()),
        ("Mira Kern", "Mira Kern", set()),
        ("Kern, Mira <mira@example.org>", "Kern, Mira", {"mira@example.org"}),
        ("\u202eMira\u202c <m@example.org>", "Mira", {"m@example.org"}),
    ],
)
def test_senders(sender: str, name: str, also: set[str]) -> None:
    (utterance,) = read_eml(mail(sender=sender, Reply_To="mira@example.org"))
    assert isinstance(utterance, Utterance)
    assert utterance.author is not None
    assert utterance.author.name.lower() == name.lower()
    assert utterance.author.also == also


def test_a_header_in_latin_1_without_encoding() -> None:
    (utterance,) = read_eml(mail(sender="Jürgen Müller <j@example.org>", Subject="Grüße").encode("latin-1"))
    assert isinstance(utterance, Utterance)
    assert utterance.author is not None
    assert (utterance.author.name, utterance.prompt) == ("Jürgen Müller", "Subject: Grüße")


def test_spellings_of_a_name_are_one_person_and_two_at_an_address_are_two() -> None:
    senders = ["Mira Kern <m@x.org>"] * 3 + ["m@x.org", "M. Kern <m@x.org>", "Kern, Mira <m@x.org>"]
    entries = read_mbox(mailbox(*(mail(sender=each) for each in senders)))
    people = {each.author for each in entries if isinstance(each, Utterance)}
    assert [(each.name, "m@x.org" in each.also) for each in people if each] == [("Mira Kern", True)]
    # Never by name: two addresses are two authors.
    entries = read_mbox(mailbox(mail(sender="Mira <a@x.org>"), mail(sender="Mira <b@x.org>")))
    assert len({each.author for each in entries if isinstance(each, Utterance)}) == 2
    # An address that a family or a service shares is nobody's alone.
    entries = read_mbox(mailbox(mail(sender="Mira Kern <kern@x.org>"), mail(HIS, sender="Tom Kern <kern@x.org>")))
    assert said(entries) == [("Mira Kern", HERS), ("Tom Kern", HIS)]
    for each in entries:
        assert isinstance(each, Utterance)
        assert each.author
        assert not each.author.is_called("kern@x.org")


def test_a_label_says_whose_mailbox_it_is() -> None:
    mine = mail(X_Gmail_Labels="=?UTF-8?Q?Gesendet,Wichtig?=")
    entries = read_mbox(mailbox(mine, mail(HIS, TOM, X_Gmail_Labels="Inbox"), mail("One more letter of hers.")))
    assert [each.author.is_owner for each in entries if isinstance(each, Utterance) and each.author] == [
        True,
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (mail(Auto_Submitted="auto-replied"), "automatic replies"),
        (mail(Subject="Automatische Antwort: Formulare"), "automatic replies"),
        (mail(Subject="Out of Office: Forms"), "automatic replies"),
        (mail(X_Autoreply="yes"), "automatic replies"),
        (mail(sender="Mail Delivery <MAILER-DAEMON@mx.example.org>"), "delivery reports"),
        (mail(X_Failed_Recipients="tom@example.org"), "delivery reports"),
        (mail(Content_Type="text/calendar; method=REPLY"), "calendar invitations"),
        (mail(Content_Type="application/pkcs7-mime"), "encrypted messages"),
        (mail(sender=""), "messages without a sender"),
        (mail("\n \n"), "messages without words of their own"),
        (mail(f"On Mon, Jan 1, 2024 at 9:00 AM Tom wrote:\n> {HIS}"), "messages without words of their own"),
        (mail(f"---------- Forwarded message ---------\nFrom: Tom\n\n{HIS}"), "messages without words of their own"),
        (mail("Yes."), "texts of under 3 words"),
        (mail("-----BEGIN PGP MESSAGE-----\n\nabc\n-----END PGP MESSAGE-----"), "encrypted passages"),
    ],
)
def test_what_is_nobody_s_letter(raw: str, reason: str) -> None:
    entries = read_eml(raw)
    assert said(entries) == []
    assert reason in passed(entries)


def test_a_mailbox_of_everything() -> None:
    html = EmailMessage()
    html["From"], html["Subject"] = MIRA, "Forms"
    html.set_content(
        f"<p>{HERS.replace(chr(10), '<br>')}</p><div class='gmail_quote'><div class='gmail_attr'>On Mon, Jan 1, 2024 at"
        f" 9:00 AM Tom &lt;t@x.org&gt; wrote:</div><blockquote>{HIS}</blockquote></div>",
        subtype="html",
    )
    html.add_attachment(b"\x89PNG", maintype="image", subtype="png", filename="gate.png")
    damaged = (
        "From: Mira <mira@example.org\nContent-Type: multipart/mixed; boundary=\nDate: never\n\n--\n\nNo end here."
    )
    copies = mail(Message_ID="<same@x>"), mail(Message_ID="<same@x>", List_Id="Carpenters")
    entries = read_mbox(mailbox(html.as_string(), damaged, *copies, mail(HIS, TOM)))
    assert said(entries) == [*(("Mira Kern", each) for each in (HERS, "No end here.", HERS)), ("Tom", HIS)]
    assert "copies of a message" in passed(entries)
    assert {"attachments", "quoted passages"} <= set(passed(entries))
    assert next(each.prompt for each in entries if isinstance(each, Utterance)) == HIS


@pytest.mark.parametrize(
    "raw",
    [
        "From: a@b\nContent-Type: text/plain; charset=\x00\n\nSome words of hers.",
        "From: a@b\nContent-Transfer-Encoding: base64\n\n!!!not base64!!!",
        "From: a@b\nContent-Type: multipart/mixed\n\nSome words of hers.",
        "From: a@b\nContent-Type: multipart/mixed; boundary=x\n\n--x",
        "From: a@b\nDate: Mon, 99 Foo 99999 99:99:99 +9999\n\nSome words of hers.",
        "From: a@b\nSubject: =?utf-8?b?####?=\n\nSome words of hers.",
        "From: =?utf-8?q?=?= <a@b>\nMessage-ID: " + "x" * 5000 + "\n\nSome words of hers.",
        "From: a@b, c@d\n\nSome words of hers.",
        "From: a@b\nFrom: c@d\n\nSome words of hers.",
        "From: a@b\nContent-Type: ;;;\n\nSome words of hers.",
        "From: a@b\nno colon here\n\nSome words of hers.",
        "From: a@b\nContent-Type: message/rfc822\n\nSome words of hers.",
        "From: a@b\nContent-Type: text/html\n\n<![CDATA[<!DOCTYPE [<p>Some words of hers.",
        "From: a@b\nContent-Type: text/plain; charset*0=utf; charset*1=-8; name*=x''%ff\n\nSome words of hers.",
    ],
)
def test_damaged_mails_end_nothing(raw: str) -> None:
    entries = read_mbox(mailbox(raw, mail()))
    assert said(entries)[-1] == ("Mira Kern", HERS)
    assert read_eml(raw) is not None


def test_a_time_is_that_of_the_header_or_of_the_last_server() -> None:
    received = "from a (a.example.org [192.0.2.1])\n\tby b.example.org; Tue, 2 Jan 2024 10:00:00 +0000"
    (utterance,) = read_eml(mail(Date="", Received=received))
    assert isinstance(utterance, Utterance)
    assert utterance.time == datetime(2024, 1, 2, 10, tzinfo=UTC)
    (utterance,) = read_eml(mail(Date="yesterday"))
    assert isinstance(utterance, Utterance)
    assert utterance.time is None


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252"])
@pytest.mark.parametrize(
    "head",
    [
        "From:\tJürgen Kern\nSent:\tMonday, January 1, 2024 9:00 AM\nTo:\tTom\nSubject:\tRE: Forms",
        "Von: Jürgen Kern\nGesendet: Montag, 1. Januar 2024 09:00\nAn: Tom\nBetreff: AW: Forms",
        "De : Jürgen Kern\nEnvoyé : lundi 1 janvier 2024\nÀ : Tom; Ann;\n Somebody\nObjet : Forms",
    ],
)
def test_a_mail_saved_as_text(head: str, encoding: str) -> None:
    text = f"{head}\n\n{HERS}\n\nGrüße\nJürgen\n\nVon: Tom\nGesendet: Sonntag\nAn: Jürgen\nBetreff: Forms\n\n{HIS}"
    source = Source("letter.txt", text.encode(encoding))
    assert EML.match(source) == 2
    assert said(EML.read(source, Columns())) == [("Jürgen Kern", f"{HERS}\n\nGrüße\nJürgen")]
    essay = Source("essay.txt", text.replace(head, "From: nobody, to nowhere").encode(encoding))
    assert EML.match(essay) == 0


def test_thousands_of_mails() -> None:
    reply = f"{HERS}\n\nOn Mon, Jan 1, 2024 at 9:00 AM Tom wrote:\n" + f"> {HIS}\n" * 20
    data = mailbox(*(mail(reply, Message_ID=f"<{number}@x>") for number in range(1_000)))
    began = time.process_time()
    entries = read_mbox(data)
    assert len(said(entries)) == 1_000
    assert time.process_time() - began < 8


def test_the_mails_and_replies_that_were_once_read_wrongly() -> None:
    folder = Path(__file__).resolve().parents[4] / "shared/data/faults/mails"
    if not folder.is_dir():
        pytest.skip("the examples are not beside this checkout")
    for path in sorted(folder.glob("*.eml")):
        (utterance,) = EML.read(Source(path.name, path.read_bytes(), path), Columns())
        assert isinstance(utterance, Utterance)
        assert utterance.author == Author("Mira", frozenset({"mira@example.org"}))
        assert utterance.text.endswith("th of the month.")
        assert utterance.prompt == "Subject: Grüße"
        assert utterance.time is not None
