"""The text of a mail's body: parts, encodings, flowed lines and HTML."""

from __future__ import annotations

import time
from email.message import EmailMessage
from email.parser import BytesParser

import pytest

from hyperalign.ingest.body import MOST_DEPTH, decode_text, html_to_text, join_flowed, read_body
from hyperalign.ingest.quotes import split_own_words

HERS = "I mended the gate before lunch, and it holds."


def body(raw: bytes | EmailMessage) -> str:
    data = raw if isinstance(raw, bytes) else raw.as_bytes()
    return read_body(BytesParser().parsebytes(data)).text


@pytest.mark.parametrize(
    ("encoding", "named"),
    [
        ("utf-8", "utf-8"),
        ("utf-8", "iso-8859-1"),
        ("utf-8", "us-ascii"),
        ("utf-8", None),
        ("utf-8", "x-unknown"),
        ("iso-8859-1", "iso-8859-1"),
        ("iso-8859-15", "iso-8859-15"),
        ("cp1252", "windows-1252"),
        ("cp1252", "iso-8859-1"),
        ("cp1252", "utf-8"),
        ("cp1252", None),
        ("utf-16", "utf-16"),
        ("utf-7", "utf-7"),
    ],
)
def test_encodings(encoding: str, named: str | None) -> None:
    text = "Grüße aus dem Süden: die Straße ist geräumt, für heute jedenfalls, und es wäre schön, Sie kämen früher."
    assert decode_text(text.encode(encoding), named) == text


@pytest.mark.parametrize(
    ("encoding", "named"),
    [("gb18030", "gb2312"), ("gb18030", "gb18030"), ("gb18030", "utf-8"), ("big5", "big5"), ("utf-8", "gb2312")],
)
def test_chinese_encodings(encoding: str, named: str) -> None:
    text = "今天上午我把大門修好了，午飯以前就完工，現在它關得很緊。請你明天早上來看一看，順便把表格帶過來給我。"
    assert decode_text(text.encode(encoding), named) == text


def test_japanese_and_korean_encodings() -> None:
    assert decode_text("門を直しました。".encode("iso-2022-jp"), "iso-2022-jp") == "門を直しました。"
    assert decode_text("門を直しました①。".encode("cp932"), "shift_jis") == "門を直しました①。"
    assert decode_text("문을 고쳤습니다 똠".encode("cp949"), "ks_c_5601-1987") == "문을 고쳤습니다 똠"


@pytest.mark.parametrize("transfer", ["quoted-printable", "base64", "8bit"])
def test_transfer_encodings(transfer: str) -> None:
    message = EmailMessage()
    message.set_content("Grüße — " + HERS, charset="utf-8", cte=transfer)
    assert body(message) == "Grüße — " + HERS


def test_plain_text_comes_before_html_and_html_before_nothing() -> None:
    message = EmailMessage()
    message.set_content(HERS)
    message.add_alternative(f"<p>{HERS} In bold.</p>", subtype="html")
    assert body(message) == HERS
    empty = EmailMessage()
    empty.set_content("\n \n")
    empty.add_alternative(f"<p>{HERS}</p>", subtype="html")
    assert body(empty) == HERS
    alone = EmailMessage()
    alone.set_content(f"<html><head><title>No</title></head><body>{HERS}</body></html>", subtype="html")
    assert body(alone) == HERS


def test_attachments_and_pictures_are_counted_and_not_read() -> None:
    message = EmailMessage()
    message.set_content(HERS)
    message.add_alternative(f"<p>{HERS}</p>", subtype="html")
    message.add_attachment(b"\x89PNG", maintype="image", subtype="png", filename="gate.png")
    message.add_attachment("The words of a contract.", filename="contract.txt")
    message.add_attachment(b"%PDF", maintype="application", subtype="pdf")
    inner = EmailMessage()
    inner["Subject"] = "Forms"
    inner.set_content("Tom's words.")
    message.add_attachment(inner)
    read = read_body(BytesParser().parsebytes(message.as_bytes()))
    assert read.text == HERS
    assert sorted(read.passed) == ["attached messages", "attachments", "attachments", "attachments"]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("text/calendar; method=REQUEST", "calendar invitations"),
        ("application/pkcs7-mime; smime-type=enveloped-data", "encrypted messages"),
        ("multipart/encrypted; boundary=b", "encrypted messages"),
        ("multipart/report; report-type=delivery-status; boundary=b", "delivery reports"),
    ],
)
def test_what_is_no_letter(kind: str, reason: str) -> None:
    raw = f"Content-Type: {kind}\n\n--b\nContent-Type: text/plain\n\nGenerated words.\n--b--\n"
    assert read_body(BytesParser().parsebytes(raw.encode())).reason == reason


def test_an_invitation_beside_its_text_is_none() -> None:
    message = EmailMessage()
    message.set_content("Tom invites you.")
    message.add_alternative("BEGIN:VCALENDAR\nEND:VCALENDAR", subtype="calendar")
    assert read_body(BytesParser().parsebytes(message.as_bytes())).reason == "calendar invitations"


def test_a_signed_mail_is_read_and_its_signature_is_not() -> None:
    raw = (
        f"Content-Type: multipart/signed; boundary=b\n\n--b\nContent-Type: text/plain\n\n{HERS}\n"
        "--b\nContent-Type: application/pgp-signature\n\n-----BEGIN PGP SIGNATURE-----\n--b--\n"
    )
    read = read_body(BytesParser().parsebytes(raw.encode()))
    assert (read.text, read.passed) == (HERS, [])


def test_signed_and_encrypted_text() -> None:
    signed = (
        "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nI mended the gate.\n- - with nails\n\n- -- \nMira\n"
        "-----BEGIN PGP SIGNATURE-----\n\niQEzBAEBCAAdFiEE\n=abcd\n-----END PGP SIGNATURE-----\nA footer."
    )
    read = read_body(BytesParser().parsebytes(f"Subject: x\n\n{signed}".encode()))
    assert read.text == "I mended the gate.\n- with nails\n\n-- \nMira\nA footer."
    assert read.passed == ["signatures"]
    secret = "One.\n-----BEGIN PGP MESSAGE-----\n\nhQEMA1234\n=abcd\n-----END PGP MESSAGE-----\nTwo."
    read = read_body(BytesParser().parsebytes(f"Subject: x\n\n{secret}".encode()))
    assert (read.text, read.passed) == ("One.\nTwo.", ["encrypted passages"])
    assert body(b"Subject: x\n\n-----BEGIN PGP MESSAGE-----\n\nno end") == ""


def test_parts_in_parts_end() -> None:
    raw = f"Content-Type: text/plain\n\n{HERS}"
    for number in range(MOST_DEPTH + 5):
        raw = f"Content-Type: multipart/mixed; boundary=b{number}\n\n--b{number}\n{raw}\n--b{number}--\n"
    assert body(raw.encode()) == ""


def test_flowed_lines_are_joined() -> None:
    flowed = "I mended \nthe gate.\n\nIt \nholds.\n> Where are \n> the forms?\n>> Which? \n> Those.\n"
    flowed += "-- \nMira \nKern\n From me"
    assert join_flowed(flowed).split("\n") == [
        "I mended the gate.",
        "",
        "It holds.",
        "> Where are the forms?",
        ">> Which? ",
        "> Those.",
        "-- ",
        "Mira Kern",
        "From me",
    ]
    assert join_flowed("我修好 \n了门", is_space_deleted=True) == "我修好了门"


@pytest.mark.parametrize(
    "html",
    [
        '<div dir="ltr">{hers}</div><br><div class="gmail_quote"><div dir="ltr" class="gmail_attr">On Mon, Jan 1, 2024 '
        'at 9:00 AM Tom &lt;<a href="mailto:t@example.org">t@example.org</a>&gt; wrote:<br></div><blockquote '
        'class="gmail_quote">{his}<br></blockquote></div>',
        '<div>{hers}</div><div class="gmail_quote">---------- Forwarded message ---------<br>From: Tom<br>{his}</div>',
        '<div>{hers}</div><div class="gmail_quote gmail_quote_container">{his}</div>',
        '<div>{hers}</div><div id="yahoo_quoted_42" class="yahoo_quoted"><div>On Monday, he wrote:</div>{his}</div>',
        '<p>{hers}</p><div class="moz-cite-prefix">Am 01.01.24 um 09:00 schrieb Tom:<br></div>'
        '<blockquote type="cite" cite="mid:1@x"><pre>{his}\n  more of it</pre></blockquote>',
        '<div>{hers}</div><div id="appendonsend"></div><hr><div id="divRplyFwdMsg"><b>From:</b> Tom</div>{his}',
        '<div>{hers}</div><div class="x_gmail_quote">{his}</div>',
        "<div>{hers}<blockquote>{his}<blockquote>and Ann's</blockquote></blockquote></div>",
        "<div>{hers}</div><blockquote><b>{his}",
        "<div>{hers}</div><blockquote><p>{his}</b></i></span></p><p>More of his.</blockquote>",
        '<div>{hers}</div><blockquote type="cite"><div><br></div><div>{his}</div></blockquote>',
        "<style>p {{ color: red }}</style><script>his()</script><p>{hers}</p><div style='display: none'>{his}</div>",
        '<p>{hers}</p><div class="gmail_signature" data-smartmail="gmail_signature">{his}</div>',
        '<p>{hers}</p><pre class="moz-signature" cols="72">-- \n{his}</pre>',
        "<title>{his}</title><p>{hers}</p>",
    ],
)
def test_html_of_many_programs(html: str) -> None:
    text, signatures = html_to_text(html.format(hers=HERS, his="HIS WORDS"))
    assert split_own_words(text, is_mail=True).text == HERS
    assert signatures == ("signature" in html)


def test_her_words_between_quotes_in_html_are_kept() -> None:
    html = (
        '<div class="gmail_quote"><div class="gmail_attr">On Mon, Tom wrote:</div><blockquote class="gmail_quote">'
        "Where are the forms?</blockquote><div>In the drawer.</div><blockquote class='gmail_quote'>And the fence?"
        "</blockquote><div>Mended.</div></div>"
    )
    assert html_to_text(html)[0] == (
        "On Mon, Tom wrote:\n\n>\n> Where are the forms?\n\nIn the drawer.\n\n>\n> And the fence?\n\nMended."
    )


def test_the_layout_of_html_is_kept() -> None:
    html = (
        "<h1>The&nbsp;gate</h1><p>It   hung by\n one <b>nail</b> &amp; a hook.</p>"
        "<p>So:</p><ul><li>nails</li>"
        "<li>oil</li></ul><pre>a  b\n  c</pre><table><tr><td>1</td><td>2</td></tr><tr><td>3</td></tr></table>"
        "Ends<br><br>here.<img alt='no'>"
    )
    assert html_to_text(html)[0] == (
        "The gate\n\nIt hung by one nail & a hook.\n\nSo:\n\n- nails\n- oil\n\na  b\n  c\n\n1 2\n3\n\nEnds\n\nhere."
    )
    # Mail programs indent with a quote that has no border.
    indented = '<blockquote style="margin: 0 0 0 40px; border: none; padding: 0px">Hers.</blockquote>'
    assert html_to_text(indented)[0] == "Hers."


@pytest.mark.parametrize(
    "html",
    [
        "<div>" * 10_000 + "x" + "</div>" * 10_000,
        "<div><span>" * 5_000 + "</span>" * 5_000,
        "<" * 50_000,
        "&" * 50_000,
        "<blockquote>" * 3_000 + "x",
        "<br>" * 50_000,
        "<p>" * 20_000,
        "</div>" * 50_000,
    ],
)
def test_time_grows_with_length_alone(html: str) -> None:
    began = time.process_time()
    html_to_text(html)
    assert time.process_time() - began < 8
