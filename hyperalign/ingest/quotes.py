"""Which lines of a mail or text are its writer's own, and what they answer.

Quoted lines, forwarded messages, signatures and disclaimers are left out. In doubt a line is not the writer's: taking
somebody else's words for theirs does more harm than losing a line.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import groupby

from .attributions import Head, find_head, is_marked, next_line
from .phrases import DISCLAIMER, FOOTER_SAYS, begins_notice, is_sent_from

__all__ = ["OwnWords", "split_own_words"]


class _Part(Enum):
    """What a line is; the value is the reason for passing over it."""

    OWN = ""
    QUOTE = "quoted passages"
    HEAD = "heads of quoted passages"
    REST = "quoted messages"
    FORWARD = "forwarded messages"
    SIGNATURE = "signatures"
    DISCLAIMER = "disclaimers"


_QUOTED = {_Part.QUOTE, _Part.HEAD, _Part.REST}


@dataclass(frozen=True, slots=True)
class OwnWords:
    """A text taken apart.

    Attributes:
        text: the writer's own words; empty if there are none.
        answered: what the writer quotes, without what is quoted in it in turn; empty if nothing.
        passed: for each passage left out its reason, in the plural, and its line from 1.
        is_reply: whether somebody is named as the author of what is quoted, as mail programs do.
    """

    text: str
    answered: str = ""
    passed: tuple[tuple[str, int], ...] = ()
    is_reply: bool = False


_ONE_LEVEL = re.compile(
    r"(?:\s*(?:[-*+]|\d{1,3}[.)])\s+(?=>))?[ \t\u00a0\u200b\ufeff]{0,3}(?:[A-Z][A-Za-z]{0,3}> |[>＞]|&gt;)[ \t]?"
)
_FENCE = re.compile(r"[ \t]{0,3}(?:```|~~~)")
_BLOCK = re.compile(r"\s*(?:<blockquote\b|\[quote\b|#\+begin_quote)", re.IGNORECASE)
_BLOCK_END = re.compile(r"</blockquote>|\[/quote\]|#\+end_quote", re.IGNORECASE)
_SENTENCE_END = tuple(".!?…:;。！？)\"'”»")
_RULE = re.compile(r"\s*[_\-*=─]{5,}\s*$")
_OPEN_LINK = re.compile(r"<(?:https?|mailto):[^<>\s]*$")
_BROKEN_LINK = re.compile(r"(?:https?://|www\.)\S*$")
_LINK_ALONE = re.compile(r"\s*[(<\[]?https?://\S+?[)>\]]?\s*>?\s*$")
_DELIMITER = re.compile(r"--\s*$")
_FOOTER = re.compile(r"_{20,}\s*$")
_LONGEST_SIGNATURE = 15


def split_own_words(text: str, *, is_mail: bool, is_markdown: bool = False) -> OwnWords:
    """Tell a writer's own words from what they quote, forward and sign with.

    Args:
        text: with ``\\n`` for line ends.
        is_mail: whether it is the body of a mail; signatures are left out of these, and of texts that are replies.
        is_markdown: whether lines after a marked one belong to the quote up to a blank line, as in Markdown.
    """
    return _split(text, is_mail, is_markdown, is_quoted_asked=True)


def _split(text: str, is_mail: bool, is_markdown: bool, *, is_quoted_asked: bool) -> OwnWords:
    lines = text.split("\n")
    parts = [_Part.OWN] * len(lines)
    _label_quotes(lines, parts, is_mail, is_markdown)
    is_reply = any(part in (_Part.HEAD, _Part.REST, _Part.FORWARD) for part in parts)
    if is_mail or is_reply:
        _label_signatures(lines, parts)
        _label_disclaimers(lines, parts)
    return OwnWords(
        _join(line if part is _Part.OWN else "" for line, part in zip(lines, parts, strict=True)),
        _find_answered(lines, parts) if is_quoted_asked else "",
        tuple(_list_passages(lines, parts)),
        is_reply,
    )


def _join(lines: Iterator[str]) -> str:
    return re.sub(r"\n{3,}", "\n\n", "\n".join(line.rstrip() for line in lines)).strip()


def _find_answered(lines: Sequence[str], parts: Sequence[_Part]) -> str:
    found: list[str] = []
    for line, part in zip(lines, parts, strict=True):
        if part is _Part.REST:
            found.append(line)
        elif part is _Part.QUOTE:
            found.append(_ONE_LEVEL.sub("", line, count=1))
        elif found and found[-1]:
            found.append("")
    # Some mail programs quote the line that says who wrote it, too.
    first = next_line(found, 0)
    head = None if first is None else find_head(found, first, True)
    if head is not None and not head.is_forward:
        found = found[head.end :]
    return _split("\n".join(found), True, False, is_quoted_asked=False).text if found else ""


def _list_passages(lines: Sequence[str], parts: Sequence[_Part]) -> Iterator[tuple[str, int]]:
    before = _Part.OWN
    for number, (line, part) in enumerate(zip(lines, parts, strict=True), start=1):
        now = _Part.QUOTE if part in _QUOTED else part
        if now is _Part.OWN and not line.strip():
            continue  # blank lines between an attribution and its quote part nothing
        if now not in (before, _Part.OWN):
            yield now.value, number
        before = now


def _label_quotes(lines: Sequence[str], parts: list[_Part], is_mail: bool, is_markdown: bool) -> None:
    at, is_code = 0, False
    ends = [at for at, line in enumerate(lines) if "quote" in line.lower() and _BLOCK_END.search(line)]
    while at < len(lines):
        if parts[at] is not _Part.OWN:
            at += 1
            continue
        if not is_mail and _FENCE.match(lines[at]):
            is_code = not is_code
        if is_code:
            at += 1
        elif _BLOCK.match(lines[at]):
            # Without an end, the line alone.
            place = bisect_left(ends, at)
            end = ends[place] + 1 if place < len(ends) else at + 1
            parts[at:end] = [_Part.QUOTE] * (end - at)
            at = end
        elif is_marked(lines[at], is_mail) and not (at and _OPEN_LINK.search(lines[at - 1])):
            at = _label_marked(lines, parts, at, is_mail, is_markdown)
        else:
            head = find_head(lines, at, is_mail)
            at = at + 1 if head is None else _label_head(lines, parts, at, head, is_mail)


def _label_marked(lines: Sequence[str], parts: list[_Part], at: int, is_mail: bool, is_markdown: bool) -> int:
    parts[at] = _Part.QUOTE
    at += 1
    while at < len(lines) and lines[at].strip() and not is_marked(lines[at], is_mail):
        follows = at + 1 < len(lines) and is_marked(lines[at + 1], is_mail)
        if not (is_markdown or _goes_on(lines[at - 1], lines[at], follows)) or find_head(lines, at, is_mail):
            break
        parts[at] = _Part.QUOTE
        at += 1
    return at


def _goes_on(before: str, line: str, is_quote_next: bool) -> bool:
    """Whether an unmarked line is the end of the quoted one before it, which a mail program broke."""
    if is_quote_next and _LINK_ALONE.match(line):
        return True
    before = before.rstrip()
    if not _ONE_LEVEL.sub("", before).strip():
        return False
    first = line.split(maxsplit=1)[0]
    width = _width(before) + 1 + min(_width(first), 2 if ord(first[0]) > 0x2E7F else 40)
    if before.endswith(_SENTENCE_END):
        return is_quote_next and 72 < width < 100 and len(line) < 30
    is_link = is_quote_next and bool(_BROKEN_LINK.search(before)) and " " not in line.strip()
    return is_link or width > 66 or (first[0].islower() and width > 40)


def _width(text: str) -> int:
    return sum(2 if ord(letter) > 0x2E7F else 1 for letter in text)


def _label_head(lines: Sequence[str], parts: list[_Part], at: int, head: Head, is_mail: bool) -> int:
    """Label an attribution or separator, and what it stands over; returns where to go on."""
    after = next_line(lines, head.end)
    is_over_quote = after is not None and is_marked(lines[after], is_mail)
    if not (head.is_forward or head.is_certain or is_over_quote):
        return at + 1
    rule = next((i for i in range(at - 1, max(at - 3, -1), -1) if lines[i].strip()), None)
    if rule is not None and parts[rule] is _Part.OWN and _RULE.match(lines[rule]):
        parts[rule] = _Part.HEAD
    if head.is_forward:
        parts[at:] = [_Part.FORWARD] * (len(lines) - at)
        return len(lines)
    parts[at : head.end] = [_Part.HEAD] * (head.end - at)
    if is_over_quote:
        return head.end
    parts[head.end :] = [_Part.REST] * (len(lines) - head.end)
    return len(lines)


def _label_signatures(lines: Sequence[str], parts: list[_Part]) -> None:
    for start, end in list(_runs(parts)):
        tail = end
        for at in range(start, end):
            if lines[at].startswith(("--", "__")) and _is_delimiter(lines[at], lines[at + 1 : end]):
                parts[at:end] = [_Part.SIGNATURE] * (end - at)
                tail = at
                break
        # What a phone adds stands below all else.
        for at in range(tail - 1, start - 1, -1):
            if is_sent_from(lines[at]):
                parts[at] = _Part.SIGNATURE
            elif lines[at].strip():
                break


def _runs(parts: Sequence[_Part]) -> Iterator[tuple[int, int]]:
    """Where the writer's own lines begin and end."""
    at = 0
    for part, run in groupby(parts):
        end = at + sum(1 for _ in run)
        if part is _Part.OWN:
            yield at, end
        at = end


def _is_delimiter(line: str, below: Sequence[str]) -> bool:
    if line == "-- ":
        return True
    is_signature, is_footer = _DELIMITER.match(line), _FOOTER.match(line)
    if not (is_signature or is_footer):
        return False
    body = [each for each in below if each.strip()]
    return len(body) <= _LONGEST_SIGNATURE and bool(is_signature or any(map(FOOTER_SAYS.search, body)))


def _label_disclaimers(lines: Sequence[str], parts: list[_Part]) -> None:
    last: tuple[int, int] | None = None
    for start, end in _paragraphs(lines, parts):
        text = " ".join(lines[start:end])
        last = (start, end) if begins_notice(text) else None
        if DISCLAIMER.search(text[:2000]):
            parts[start:end] = [_Part.DISCLAIMER] * (end - start)
    if last:
        parts[last[0] : last[1]] = [_Part.DISCLAIMER] * (last[1] - last[0])


def _paragraphs(lines: Sequence[str], parts: Sequence[_Part]) -> Iterator[tuple[int, int]]:
    start = None
    for at in range(len(lines) + 1):
        is_in = at < len(lines) and parts[at] is _Part.OWN and bool(lines[at].strip())
        if is_in and start is None:
            start = at
        elif not is_in and start is not None:
            yield start, at
            start = None
