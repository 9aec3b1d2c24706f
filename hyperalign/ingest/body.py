"""The text of a mail's body: which of its parts, in which encoding, its flowed lines joined, its HTML as plain lines.

Quotes in HTML become lines that begin with ``>``, so that one set of rules tells the writer's words from others'.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from email.message import Message
from html.parser import HTMLParser
from typing import Any

from hyperalign.errors import RecordError

from .source import decode

__all__ = ["Body", "decode_text", "html_to_text", "join_flowed", "read_body"]

MOST_DEPTH = 30
"""Parts nested deeper are left out; no mail program goes so far."""

# Names under which browsers and mail programs read a larger encoding; mails are often marked with the smaller one.
_LARGER = {"iso-8859-1": "cp1252", "latin-1": "cp1252", "us-ascii": "utf-8", "ascii": "utf-8", "gb2312": "gb18030"}
_LARGER |= {"gbk": "gb18030", "ks_c_5601-1987": "cp949", "euc-kr": "cp949", "shift_jis": "cp932", "x-sjis": "cp932"}
_LARGER |= {"iso-8859-9": "cp1254", "x-gbk": "gb18030", "cp-850": "cp850", "unicode-1-1-utf-7": "utf-7"}
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufeff\ud800-\udfff]")


@dataclass
class Body:
    """What a mail holds.

    Attributes:
        text: with ``\\n`` for line ends, quotes included.
        passed: for each part left out why, in the plural.
        reason: why the whole mail is nobody's letter; empty if it is one.
    """

    text: str = ""
    passed: list[str] = field(default_factory=list)
    reason: str = ""


def read_body(message: Message[str, str]) -> Body:
    """The body of a mail: plain text before HTML where it has both, without attachments."""
    body = Body()
    _collect(message, body, 0)
    body.text = body.text.strip("\n")
    return body


def _collect(part: Message[str, str], body: Body, depth: int) -> None:
    kind = part.get_content_type()
    children: Any = part.get_payload() if part.is_multipart() else None
    if depth > MOST_DEPTH:
        return
    if kind in ("multipart/report", "message/delivery-status", "message/disposition-notification"):
        body.reason = "delivery reports"
    elif kind in ("multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime"):
        body.reason = "encrypted messages"
    elif kind == "text/calendar":
        body.reason = "calendar invitations"
    elif kind.startswith("message/"):
        body.passed.append("attached messages")
    elif isinstance(children, list):
        _collect_children(kind, [each for each in children if isinstance(each, Message)], body, depth)
    elif _is_attachment(part, kind):
        if kind not in ("application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature"):
            body.passed.append("attachments")
    # In a body of parts, HTML beside plain text says the same again.
    elif kind != "text/html" or not body.text.strip():
        _add(part, kind, body)


def _is_attachment(part: Message[str, str], kind: str) -> bool:
    is_text = kind in ("text/plain", "text/html", "text/enriched")
    return not is_text or part.get_content_disposition() == "attachment" or bool(part.get_filename())


def _collect_children(kind: str, children: list[Message[str, str]], body: Body, depth: int) -> None:
    if kind == "multipart/alternative":
        if any(each.get_content_type() == "text/calendar" for each in children):
            body.reason = "calendar invitations"
        plain = [each for each in children if each.get_content_type() == "text/plain"]
        # The plain one first, then from the richest on: the first that says anything.
        for each in [*plain, *(each for each in reversed(children) if each not in plain)]:
            before = len(body.text)
            _collect(each, body, depth + 1)
            if body.text[before:].strip():
                return
        return
    if kind == "multipart/signed":
        children = children[:1]
    for each in children:
        _collect(each, body, depth + 1)


def _add(part: Message[str, str], kind: str, body: Body) -> None:
    raw = part.get_payload(decode=True)
    data = raw if isinstance(raw, bytes) else b""
    text = decode_text(data, part.get_content_charset()).replace("\r\n", "\n").replace("\r", "\n")
    if kind == "text/html":
        text, signatures = html_to_text(text)
        body.passed += ["signatures"] * signatures
    elif str(part.get_param("format", "")).lower() == "flowed":
        text = join_flowed(text, is_space_deleted=str(part.get_param("delsp", "")).lower() == "yes")
    text = _take_armor_off(_CONTROL.sub("", text), body)
    body.text = f"{body.text.rstrip()}\n\n{text}" if body.text.strip() else text


def _take_armor_off(text: str, body: Body) -> str:
    """A text signed with OpenPGP (RFC 9580, 6 and 7) without its armor, and without passages that are encrypted."""
    if "-----BEGIN PGP " not in text:
        return text
    lines: list[str] = []
    # What is being left out ends with this; a head of armor ends with a blank line.
    until, is_signed = "", False
    for line in text.split("\n"):
        if until:
            if line.startswith(until) if until.strip() else not line.strip():
                until = ""
        elif line.startswith("-----BEGIN PGP SIGNED MESSAGE"):
            until, is_signed = "\n", True
        elif line.startswith("-----BEGIN PGP "):
            until, is_signed = "-----END PGP ", False
            body.passed.append("encrypted passages" if line.startswith("-----BEGIN PGP MESSAGE") else "signatures")
        else:
            lines.append(line.removeprefix("- ") if is_signed else line)
    return "\n".join(lines)


def decode_text(data: bytes, charset: str | None) -> str:
    """The text of bytes in the encoding that a mail names, or in the one they have if it names a wrong one or none.

    Args:
        data: the bytes.
        charset: the name; None if there is none.
    """
    if not data.strip():
        return ""
    named = (charset or "utf-8").lower().strip("'\" ")
    # Bytes above 127 that are UTF-8 throughout are that, whatever the mail says; those of UTF-7 and ISO-2022 are below.
    for encoding in ("utf-8", named) if not data.isascii() else (named,):
        try:
            return data.decode(_LARGER.get(encoding, encoding))
        except (UnicodeError, LookupError):
            continue
    try:
        return decode(data, "mail")
    except RecordError:
        return data.decode("utf-8", "replace")


def join_flowed(text: str, *, is_space_deleted: bool = False) -> str:
    """Paragraphs of their lines as ``format=flowed`` breaks them (RFC 3676, section 4).

    Args:
        text: as it was sent.
        is_space_deleted: whether the space that marks a broken line is no part of the text (``delsp=yes``).
    """
    joined: list[str] = []
    open_depth = -1
    for line in text.split("\n"):
        content = line.lstrip(">")
        depth = len(line) - len(content)
        content = content.removeprefix(" ")
        is_broken = content.endswith(" ") and content != "-- "
        shown = content[:-1] if is_broken and is_space_deleted else content
        if depth == open_depth and content != "-- ":
            joined[-1] += shown
        else:
            joined.append(f"{'>' * depth} {shown}" if depth else shown)
        open_depth = depth if is_broken else -1
    return "\n".join(joined)


_BREAKS = {"p", "div", "li", "ul", "ol", "table", "tr", "blockquote", "pre", "h1", "h2", "h3", "h4", "h5", "h6"}
_BREAKS |= {"section", "article", "header", "footer", "center", "dl", "dt", "dd", "hr", "address", "form"}
_SPACED = {"p", "ul", "ol", "blockquote", "pre", "h1", "h2", "h3", "h4", "h5", "h6", "table"}
_SKIPPED = {"style", "script", "head", "title", "template", "noscript", "svg", "select", "button", "textarea"}
_TRACKED = {"div", "blockquote", "span", "table", "td", "section", "article", "pre", "center", "p", *_SKIPPED}
_INLINE = {"span", "p"}
# What mail programs call the element around what they quote, and around a signature.
_QUOTES = {"yahoo_quoted", "moz-cite-prefix", "moz-email-headers-table", "outlookmessageheader"}
_QUOTES |= {"ms-outlook-mobile-reference-message", "protonmail_quote", "tutanota_quote", "zmail_extra"}
_QUOTES |= {"isreplycontent", "isforwardcontent", "olk_src_body_section", "replyforwardmessage", "mailquote"}
_BOXES = {"gmail_quote", "gmail_quote_container"}
_RESTS = {"divrplyfwdmsg", "appendonsend", "mail-editor-reference-message-container", "reply-intro"}
_SIGNATURES = {"gmail_signature", "moz-signature", "applemailsignature", "ms-outlook-mobile-signature", "signature"}
_SIGNATURES |= {"protonmail_signature_block", "linebreakatbeginningofsignature", "tutanota_signature"}


@dataclass
class _Line:
    depth: int
    boxes: tuple[int, ...]
    is_signature: bool
    text: str = ""


def html_to_text(html: str) -> tuple[str, int]:
    """The text of a mail in HTML, with ``>`` before the lines of what it quotes, and how many signatures were left out.

    Args:
        html: the part of a mail.
    """
    parser = _Html()
    parser.feed(html)
    parser.close()
    return parser.render(), parser.signatures


class _Html(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.signatures = 0
        self._open: list[tuple[str, str]] = []
        self._tags: Counter[str] = Counter()
        self._effects: Counter[str] = Counter()
        self._box_depths: list[int] = []
        self._boxes: list[int] = []
        self._rest = 0
        self._lines: list[_Line] = []
        # Before the next text: 0 nothing, 1 a new line, 2 a blank one.
        self._gap = 1
        self._bullet = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "br":
            self._gap = min(self._gap + 1, 2)
        self._break_at(tag)
        if tag == "td":
            self.handle_data(" ")
        elif tag == "li":
            self._bullet = "- "
        if tag in _TRACKED:
            self._enter(tag, _find_effect(tag, {name: value or "" for name, value in attrs}))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        # As browsers do: '<div/>' opens, and is closed by '</div>' or by what is around it.
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        self._break_at(tag)
        if not self._tags[tag]:
            return
        at = len(self._open) - 1
        while self._open[at][0] != tag:
            # The end of a span inside a quote that was opened in it does not end the quote.
            if tag in _INLINE and self._open[at][0] not in _INLINE:
                return
            at -= 1
        while len(self._open) > at:
            self._leave(*self._open.pop())

    def handle_data(self, data: str) -> None:
        if self._effects["skip"]:
            return
        data = data.replace("\xa0", " ")
        if not self._tags["pre"]:
            self._write(re.sub(r"\s+", " ", data))
            return
        first, *others = data.split("\n")
        self._write(first)
        for line in others:
            self._gap = min(self._gap + 1, 2)
            self._write(line)

    def _write(self, text: str) -> None:
        if self._gap:
            if not text.strip():
                return
            state = self._depth(), tuple(self._boxes), self._effects["signature"] > 0
            if self._gap > 1 and self._lines:
                self._lines.append(_Line(*state))
            self._lines.append(_Line(*state, self._bullet))
            self._gap, self._bullet = 0, ""
            text = text if self._tags["pre"] else text.lstrip()
        self._lines[-1].text += text

    def _break_at(self, tag: str) -> None:
        if tag in _BREAKS:
            self._gap = max(self._gap, 2 if tag in _SPACED else 1)

    def _enter(self, tag: str, effect: str) -> None:
        self._open.append((tag, effect))
        self._tags[tag] += 1
        if not effect:
            return
        if effect == "rest":
            self._rest = 1
        elif effect == "box":
            self._boxes.append(len(self._box_depths))
            self._box_depths.append(self._depth())
        elif effect == "signature" and not self._effects["signature"] and not self._depth():
            self.signatures += 1
        self._effects[effect] += 1
        self._gap = max(self._gap, 1)

    def _leave(self, tag: str, effect: str) -> None:
        self._tags[tag] -= 1
        if effect:
            self._effects[effect] -= 1
            if effect == "box":
                self._boxes.pop()
            self._gap = max(self._gap, 1)

    def _depth(self) -> int:
        return self._effects["quote"] + self._rest

    def render(self) -> str:
        """The lines, each with the marks of its depth."""
        quoting = {box for line in self._lines for box in line.boxes if line.depth > self._box_depths[box]}
        found: list[str] = []
        before = 0
        for line in self._lines:
            depth = line.depth + sum(box not in quoting for box in line.boxes)
            if line.is_signature and not depth:
                continue
            # A blank line keeps what comes after a quote from being read as the end of its last line.
            if depth != before and not (depth and before):
                found.append("")
            before = depth
            found.append(f"{'>' * depth} {line.text}".rstrip() if depth else line.text.rstrip())
        return re.sub(r"\n{3,}", "\n\n", "\n".join(found)).strip("\n")


def _find_effect(tag: str, attributes: dict[str, str]) -> str:
    style = re.sub(r"\s", "", attributes.get("style", "")).lower()
    called = {name.removeprefix("x_").lower() for name in attributes.get("class", "").split()}
    called.add(re.sub(r"^x_|(?<=yahoo_quoted)_.*", "", attributes.get("id", "")).lower())
    if tag in _SKIPPED or "display:none" in style or "visibility:hidden" in style or "mso-hide:all" in style:
        return "skip"
    if tag == "blockquote":
        # Mail programs indent with a quote without a border: these are the writer's own words.
        is_indent = "border:none" in style and not (attributes.get("type") or attributes.get("cite") or called - {""})
        return "" if is_indent else "quote"
    for names, effect in ((_RESTS, "rest"), (_QUOTES, "quote"), (_BOXES, "box"), (_SIGNATURES, "signature")):
        if called & names:
            return effect
    return "signature" if attributes.get("data-smartmail") == "gmail_signature" else ""
