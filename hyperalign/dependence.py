"""What records share, so that evidence is counted once: copies, contradictions, and choices about one question.

Records are seldom all independent: copies count once, opposite choices cancel, and choices about one question share
what they teach.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from .records import Edit, Record, other_text, own_text, prompt_of
from .text import plain_form, visible_form

__all__ = [
    "Fingerprint",
    "content_of",
    "count_independent",
    "drop_repeats",
    "fingerprint",
    "group_dependent",
    "pass_over",
    "weigh",
]

_NO_TIME = datetime.min.replace(tzinfo=UTC)


class Fingerprint(NamedTuple):
    """Hashes of a record's texts, which say what it shares with other records.

    Spaces, line breaks and Unicode forms do not count, unless the two texts of a record differ in these alone.

    Attributes:
        own: of the prompt and the own text.
        other: of the prompt and the other text; empty for a sample.
        question: of the prompt, and of an edit's draft; empty for a sample and for a pair without a prompt.
        texts: of both texts in either order, whatever the prompt; empty for a sample.
    """

    own: str
    other: str = ""
    question: str = ""
    texts: str = ""

    @property
    def keys(self) -> set[str]:
        """What a record counts together with others by; see ``weigh``."""
        return {self.own, self.other, self.texts} - {""}


# A fit asks for each record's several times.
@lru_cache(maxsize=16_384)
def fingerprint(record: Record) -> Fingerprint:
    """The fingerprint of a record."""
    prompt, own, other = plain_form(prompt_of(record)), plain_form(own_text(record)), other_text(record)
    if other is None:
        return Fingerprint(_hash(prompt, own))
    rejected = plain_form(other)
    if own == rejected:
        own, rejected = visible_form(own_text(record)), visible_form(other)
    asked = [prompt.casefold(), *([rejected] if isinstance(record, Edit) else [])]
    return Fingerprint(
        _hash(prompt, own),
        _hash(prompt, rejected),
        _hash(*asked) if any(asked) else "",
        _hash(*sorted((own, rejected))),
    )


def _hash(*parts: str) -> str:
    # Lengths come first, so that no two lists of parts are written alike; lone surrogates are no UTF-8.
    written = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(written.encode(errors="surrogatepass")).hexdigest()[:12]


def content_of(record: Record) -> tuple[str, str]:
    """What is equal for copies of a record under another id, also where spaces or Unicode forms differ."""
    return fingerprint(record)[:2]


def drop_repeats(records: Iterable[Record]) -> list[Record]:
    """Records without copies, which are no further evidence.

    Of copies the newest stays, and of those without a time the one with the lowest id, whatever their order.
    """
    given = list(records)
    return [given[at] for at in _pick_distinct(given, [content_of(record) for record in given])]


def _pick_distinct(records: Sequence[Record], contents: Sequence[tuple[str, str]]) -> list[int]:
    """Where the one record of each content is that counts."""
    found: dict[tuple[str, str], int] = {}
    for at, (record, content) in enumerate(zip(records, contents, strict=True)):
        best = records[found.setdefault(content, at)]
        times = best.time or _NO_TIME, record.time or _NO_TIME
        if times[1] > times[0] or (times[1] == times[0] and record.id < best.id):
            found[content] = at
    return sorted(found.values())


def pass_over(records: Sequence[Record]) -> dict[str, str]:
    """The ids of a person's records that teach nothing beside the others, each with the reason.

    These are copies, choices between texts that read the same, and two choices that contradict each other.
    """
    contents = [content_of(record) for record in records]
    kept, known = {records[at].id for at in _pick_distinct(records, contents)}, set(contents)
    reasons: dict[str, str] = {}
    for record, (own, other) in zip(records, contents, strict=True):
        if own == other:
            reasons[record.id] = "both of its texts say the same"
        elif (other, own) in known:
            reasons[record.id] = "another choice contradicts it"
        elif record.id not in kept:
            reasons[record.id] = "it repeats another record"
    return reasons


def group_dependent(prints: Sequence[Fingerprint | None]) -> list[int]:
    """The groups of records that share what they teach: for each record the place of its group's first.

    A group has the choices about one question (of corrections, of one draft), those between the same two texts, and
    of those without a prompt the ones that share a text, such as the pairs of a ranking.

    Args:
        prints: the records' fingerprints; None for a record that shares nothing.
    """
    group = list(range(len(prints)))

    def root(at: int) -> int:
        while group[at] != at:
            group[at] = group[group[at]]
            at = group[at]
        return at

    first: dict[str, int] = {}
    for at, found in enumerate(prints):
        for key in _shared_keys(found) if found else ():
            one, other = sorted((root(first.setdefault(key, at)), root(at)))
            group[other] = one
    return [root(at) for at in range(len(prints))]


def _shared_keys(found: Fingerprint) -> set[str]:
    return {found.question, found.texts} if found.question else found.keys


def count_independent(records: Iterable[Record]) -> int:
    """How many groups of records share nothing with each other."""
    return len(set(group_dependent([fingerprint(record) for record in records])))


def weigh(prints: Sequence[Fingerprint | None]) -> list[float]:
    """How much each record counts beside the others, from 0 to 1.

    A text counts once, in however many choices about a prompt it stands: the weight of a choice is one over how often
    its more frequent text does. So all pairs of a ranking count together like half as many choices as it has texts.
    Choices between the same two texts count together once, and those that contradict each other or have equal texts not
    at all.

    Args:
        prints: the records' fingerprints; None for a record that counts by itself.
    """
    known = {found[:2] for found in prints if found}
    kept = [
        found if found and found.own != found.other and (found.other, found.own) not in known else None
        for found in prints
    ]
    uses = Counter(key for found in kept if found for key in found.keys)
    return [
        1 / max(uses[key] for key in shown.keys) if shown else float(found is None)
        for found, shown in zip(prints, kept, strict=True)
    ]
