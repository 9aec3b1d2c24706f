"""Find the lines over a quoted mail that say who wrote it: attributions, separators, and fields as of Outlook."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .phrases import (
    ADDRESS,
    ANY_FIELD,
    BEGIN_FORWARD,
    DASHED,
    DATE,
    ENDS_IN_ADDRESS,
    FIELD,
    FORWARDED,
    MESSAGE,
    ORIGINAL,
    STARTER,
    TIME,
    says_wrote,
)

__all__ = ["Head", "find_head", "is_marked", "next_line"]

# Not '>:(' and '>_<', which are faces.
_MARKED = re.compile(r"[ \t\u00a0\u200b\ufeff]{0,3}(?:[>＞](?![:;.=_^-]{1,2}[<()\[|])|&gt;)")
_LISTED = re.compile(r"\s*(?:(?:[-*+]|\d{1,3}[.)])\s+)?>(?![:;.=_^-]{1,2}[<()\[|])")
_INITIALS = re.compile(r" ?[A-Z][A-Za-z]{0,3}> ")
_LONGEST_HEAD = 300
_LONGEST_PHRASE = 80
_MOST_FIELDS = 14
_DASHES = tuple("-_=*─—–")
_MAIL_YEAR = re.compile(r"\b(?:199\d|20\d\d)\b")
_BETWEEN_DASHES = re.compile(r"\s*-{2,}\s*(.*?)\s*-{2,}\s*$")


@dataclass(frozen=True, slots=True)
class Head:
    """Lines that say who wrote what follows.

    Attributes:
        end: the line after them.
        is_forward: whether what follows was forwarded.
        is_certain: whether they say so even if no marked line follows.
    """

    end: int
    is_forward: bool = False
    is_certain: bool = True


def is_marked(line: str, is_mail: bool) -> bool:
    """Whether a line is marked as quoted: by ``>``, in mails also by initials, in other texts also inside a list."""
    return bool(_MARKED.match(line) or (_INITIALS if is_mail else _LISTED).match(line))


def next_line(lines: Sequence[str], at: int) -> int | None:
    """The first line from a place on that is not blank; None if there is none."""
    return next((i for i in range(at, len(lines)) if lines[i].strip()), None)


def find_head(lines: Sequence[str], at: int, is_mail: bool) -> Head | None:
    """The head of a quoted or forwarded mail that begins at a line; None if none does.

    Args:
        lines: of the text.
        at: the line.
        is_mail: whether the text is the body of a mail; in other texts a head must say more.
    """
    line = lines[at]
    if not line.strip() or len(line) > _LONGEST_HEAD:
        return None
    if len(line) <= _LONGEST_PHRASE and BEGIN_FORWARD.match(line):
        return Head(at + 1, is_forward=True)
    framed = _BETWEEN_DASHES.match(line)
    if framed and _how_sure(f"{framed[1]}:", False, is_mail) > 1:
        return Head(at + 1)
    # Told by a character first: most lines are prose, and these patterns are long.
    fields = _find_fields(lines, at, is_mail) if ":" in line or "：" in line else None
    # A text that begins with such lines is a memo of its writer's.
    if fields and (
        is_mail or at >= _MOST_FIELDS or not all(not each.strip() or FIELD.match(each) for each in lines[:at])
    ):
        return fields
    return _find_separator(lines, at, is_mail) or _find_attribution(lines, at, is_mail)


def _find_separator(lines: Sequence[str], at: int, is_mail: bool) -> Head | None:
    """A line such as ``-----Original Message-----``, with the fields or the attribution after it."""
    dashed = DASHED.match(lines[at]) if lines[at].lstrip().startswith(_DASHES) else None
    if dashed is None:
        return None
    after = next_line(lines, at + 1)
    below = after and (_find_fields(lines, after, True) or _find_attribution(lines, after, True))
    end = below.end if below else None
    if FORWARDED.search(dashed[1]) and (MESSAGE.search(dashed[1]) or end):
        return Head(at + 1, is_forward=True)
    if ORIGINAL.search(dashed[1]) and MESSAGE.search(dashed[1]):
        return Head(end or at + 1)
    # In a language that is not known here: a phrase between dashes over two fields.
    if is_mail and after and after + 1 < len(lines) and all(ANY_FIELD.match(lines[i]) for i in (after, after + 1)):
        return Head(end or after + 2)
    return None


def _find_fields(lines: Sequence[str], at: int, is_mail: bool) -> Head | None:
    """A block of fields: From, Sent, To, Subject."""
    kinds: set[str] = set()
    end, others, is_addressed = at, 0, False
    for i in range(at, min(at + _MOST_FIELDS, len(lines))):
        found = FIELD.match(lines[i])
        if found:
            kinds.add(found.lastgroup or "")
            is_addressed |= found.lastgroup in ("from", "to") and "@" in lines[i]
            end, others = i + 1, 0
        elif i == at:
            return None
        elif lines[i].strip() or others:
            others += 1  # the second line of a long field, or the end
        if others > 1:
            break
    is_short = is_mail and is_addressed
    if "from" in kinds and len(kinds) >= (2 if is_short else 3):
        return Head(end)
    # Cut short, as some programs write it.
    if is_short and {"date", "to"} <= kinds and any(TIME.search(line) for line in lines[at:end]):
        return Head(end)
    return Head(end, is_certain=False) if is_short and kinds == {"from"} else None


def _find_attribution(lines: Sequence[str], at: int, is_mail: bool) -> Head | None:
    """A line such as ``On Monday, Tom wrote:``, which mail programs break into up to three."""
    joined, end = "", min(at + 3, len(lines))
    if not any(line.rstrip("*_ \t").endswith((":", "：", ">")) for line in lines[at:end]):
        return None
    for last in range(at, end):
        line = lines[last].strip()
        if not line or is_marked(lines[last], is_mail):
            return None
        if last > at and (not _may_be_broken(lines[at]) or (STARTER.match(line) and _how_sure(line, False, is_mail))):
            return None
        joined = f"{joined} {line}".strip().rstrip("*_ ")
        if len(joined) > _LONGEST_HEAD:
            return None
        if joined.endswith((":", "：", ">")):
            after = next_line(lines, last + 1)
            sure = _how_sure(joined, after is not None and is_marked(lines[after], is_mail), is_mail)
            if sure:
                return Head(last + 1, is_certain=sure > 1)
    return None


def _may_be_broken(line: str) -> bool:
    starts = (STARTER.match(line) and any(letter.isdigit() for letter in line)) or ADDRESS.search(line)
    ended = line.rstrip().endswith((".", "!", "?", "。")) and not re.search(r"\b[ap]\.m\.$|\d\.$", line.rstrip())
    return bool((starts or says_wrote(line)) and not ended)


def _how_sure(line: str, is_over_quote: bool, is_mail: bool) -> int:
    """Whether a line says who wrote what follows: 0 no, 1 if marked lines follow, 2 in any case."""
    time, date, address = (bool(pattern.search(line)) for pattern in (TIME, DATE, ADDRESS))
    if not line.endswith((":", "：")):
        # Without a verb and a colon: "2024/1/1 Tom <tom@example.org>".
        return int(is_over_quote and bool(date and address and STARTER.match(line)))
    says = says_wrote(line)
    if ENDS_IN_ADDRESS.search(line) and time:
        return 2
    if says and (address or ((time or date) if is_mail else (date and (time or _is_recent(line))))):
        return 2
    return 1 if is_over_quote and (says or address or (time and date)) else 0


def _is_recent(line: str) -> bool:
    """Whether a line begins as an attribution, of a year since there is mail; an essay may quote older letters."""
    return bool(STARTER.match(line) and _MAIL_YEAR.search(line))
