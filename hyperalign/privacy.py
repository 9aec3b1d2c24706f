"""Find and remove names, addresses and numbers in texts; secrets in messages and files are with the errors.

Redaction uses Presidio (the extra ``privacy``); it finds names only if an English pipeline of spaCy is installed, too.
It takes time in proportion to the length of a text, whatever stands in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import import_module
from importlib.util import find_spec
from ipaddress import ip_address

from .errors import MissingExtraError, remember_secret, scrub
from .records import Record

__all__ = [
    "Redact",
    "find_private_parts",
    "find_redactor",
    "is_redactor_installed",
    "redact_texts",
    "remember_secret",
    "scrub",
]

_PRIVATE = {
    "account number": re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?\b"),
    "telephone number": re.compile(r"(?<![\w.])\+?\d(?:[ ()./-]?\d){8,14}(?![\w.])"),
}
# A host ends in letters: "react@18.2.0" is a version.
_HOST = re.compile(r"@(?:[\w-]+\.)+(?:xn--[\w-]+|[^\W\d_]{2,})(?![\w-])")


def find_private_parts(text: str) -> list[str]:
    """The kinds of identifiers in a text that their form alone gives away; names are not among them."""
    found = [name for name, pattern in _PRIVATE.items() if pattern.search(text)]
    return sorted([*found, *(["mail address"] if any(True for _ in _find_mails(text)) else [])])


def _find_mails(text: str) -> Iterator[tuple[int, int]]:
    """Where mail addresses stand. What comes before the host is looked for backwards, so that no text takes long."""
    done = 0
    for host in _HOST.finditer(text):
        start = host.start()
        while start > done and (text[start - 1].isalnum() or text[start - 1] in "_.+-"):
            start -= 1
        # "git@host:path" names a repository, and nobody.
        if start < host.start() and text[start : host.start()] != "git":
            yield start, host.end()
        done = host.end()


Redact = Callable[[str], str]
"""Replaces what identifies people in a text by words in brackets."""

_WORDS = {
    "PERSON": "[name]",
    "EMAIL_ADDRESS": "[mail address]",
    "PHONE_NUMBER": "[telephone number]",
    "IBAN_CODE": "[account number]",
    "CREDIT_CARD": "[card number]",
    "US_SSN": "[social security number]",
    "IP_ADDRESS": "[network address]",
}
_REGIONS = ("US", "GB", "CA", "AU", "IN", "DE", "FR", "ES", "IT", "BR")
_SURE = 0.35
_TEXTS = ("text", "prompt", "chosen", "rejected", "draft", "edited")


def is_redactor_installed() -> bool:
    """Whether the extra ``privacy`` is installed."""
    return find_spec("presidio_analyzer") is not None


def find_redactor(wanted: bool | None = None) -> Redact | None:
    """The function that redacts texts, or None if nothing is to be redacted.

    Args:
        wanted: whether to redact; None: if the extra ``privacy`` is installed.

    Raises:
        MissingExtraError: redaction is wanted, and the extra is not installed.
    """
    if wanted is False or (wanted is None and not is_redactor_installed()):
        return None
    return _load_redactor()


def redact_texts(records: Iterable[Record], redact: Redact) -> list[Record]:
    """Redact all texts of records; an id made from the content is made from the redacted content."""
    return [_redact_record(record, redact) for record in records]


def _redact_record(record: Record, redact: Redact) -> Record:
    data = record.model_dump()
    texts = {name: redact(data[name]) for name in _TEXTS if data.get(name)}
    if all(data[name] == text for name, text in texts.items()):
        return record
    bare = type(record).model_validate({**data, "id": ""})
    return type(record).model_validate({**data, **texts, "id": "" if bare.id == record.id else record.id})


@dataclass(frozen=True, slots=True)
class _Part:
    """What identifies somebody, and how sure that is, from 0 to 1."""

    start: int
    end: int
    kind: str
    score: float


@cache
def _load_redactor() -> Redact:
    try:
        finders = [_find_forms, _load_numbers(), _load_phones(), *_load_names()]
    except ImportError as error:
        raise MissingExtraError("Redaction", "privacy") from error

    def redact(text: str) -> str:
        pieces, done = list[str](), 0
        for part in _merge(part for find in finders for part in find(text)):
            pieces += text[done : part.start], _WORDS[part.kind]
            done = part.end
        return "".join([*pieces, text[done:]])

    return redact


def _merge(found: Iterable[_Part]) -> Iterator[_Part]:
    """Parts that overlap as one, of the surest one's kind: what is left of another would still tell of somebody."""
    last: _Part | None = None
    for part in sorted(found, key=lambda each: each.start):
        if last is None or part.start >= last.end:
            if last is not None:
                yield last
            last = part
            continue
        surest = max(last, part, key=lambda each: (each.score, each.end - each.start))
        last = _Part(last.start, max(last.end, part.end), surest.kind, surest.score)
    if last is not None:
        yield last


_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?!\w|\.\d)")
_IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f:]{3,40}(?:\.\d{1,3}){0,3}(?:%\w{1,15})?(?![\w:])")


def _find_forms(text: str) -> Iterator[_Part]:
    """Mail and network addresses."""
    yield from (_Part(start, end, "EMAIL_ADDRESS", 1.0) for start, end in _find_mails(text))
    for pattern in (_IPV4, _IPV6):
        for match in pattern.finditer(text):
            said = match[0].removesuffix(":") if not match[0].endswith("::") else match[0]
            if _is_address(said):
                yield _Part(match.start(), match.start() + len(said), "IP_ADDRESS", 0.6)


def _is_address(text: str) -> bool:
    """Whether a text is a network address of somebody, and neither a name in a program nor a step of a slice."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if address.version == 4 or address.ipv4_mapped is not None:
        return True
    # "face::feed" and "[::2]" are code; addresses of machines begin with four digits, or are written out.
    begins = text.partition(":")[0]
    is_global = len(begins) == 4 and int(address) >> 112 >= 0x2000
    return any(map(str.isdigit, text)) and (is_global or text.count(":") == 7 or text.startswith("64:ff9b:"))


_Finder = Callable[[str], Iterable[_Part]]


def _load_numbers() -> _Finder:
    """Presidio's recognizers of account, card and social security numbers, which check digits and forms."""
    ready = import_module("presidio_analyzer.predefined_recognizers")
    recognizers = (
        ready.IbanRecognizer(supported_language="en"),
        ready.CreditCardRecognizer(supported_language="en"),
        ready.UsSsnRecognizer(supported_language="en"),
    )

    def find(text: str) -> Iterator[_Part]:
        # Presidio compares what it finds in one text pair by pair.
        for start, end in _windows(text):
            for recognizer in recognizers:
                for each in recognizer.analyze(text[start:end], recognizer.supported_entities):
                    if each.score >= _SURE:
                        yield _Part(start + each.start, start + each.end, each.entity_type, each.score)

    return find


# Separators within a number, as Google's libphonenumber has them.
_BETWEEN = (
    r"[-+x\u2010-\u2015\u2212\u30fc\uff0d-\uff0f \u00a0\u00ad\u200b\u2060\u3000()\uff08\uff09\uff3b\uff3d.\[\]/~]"
)
_DIALED = re.compile(
    rf"[+\uff0b(\[]{{0,2}}\d(?:{_BETWEEN}{{0,4}}\d)+(?:[ ,;]{{0,3}}(?:ext(?:ension|n)?|x|\#)[.: ]{{0,3}}\d{{1,6}})?",
    re.I,
)
_FEWEST_DIGITS, _MOST_DIGITS, _MOST_GROUPS = 7, 17, 6
_LONGEST_LINE = 2_000
"""Characters of digits and separators without a break, above which they count as one number."""


def _load_phones() -> _Finder:
    """Presidio's recognizer of telephone numbers, on the digits of a text alone: it is slow."""
    ready = import_module("presidio_analyzer.predefined_recognizers")
    recognizer = ready.PhoneRecognizer(supported_language="en", supported_regions=_REGIONS)

    @lru_cache(maxsize=4096)
    def search(text: str) -> list[tuple[int, int, float]]:
        return [(each.start, each.end, each.score) for each in recognizer.analyze(text, ["PHONE_NUMBER"])]

    def find(text: str) -> Iterator[_Part]:
        for run in _DIALED.finditer(text):
            if not _may_be_dialed(run[0]):
                continue
            if len(run[0]) > _LONGEST_LINE:
                yield _Part(*run.span(), "PHONE_NUMBER", _SURE)
                continue
            # What stands beside digits may tell that they are a time, a price or a part of a name.
            start = max(0, run.start() - 2)
            for begin, end, score in search(text[start : run.end() + 3]):
                yield _Part(start + begin, start + end, "PHONE_NUMBER", score)

    return find


def _may_be_dialed(run: str) -> bool:
    """Whether as many digits as a telephone number has stand in a few groups."""
    groups = [len(group) for group in re.findall(r"\d+", run)]
    for at in range(len(groups)):
        digits = 0
        for more in groups[at : at + _MOST_GROUPS]:
            digits += more
            if _FEWEST_DIGITS <= digits <= _MOST_DIGITS:
                return True
    return False


_WINDOW, _SHARED = 2_000, 200
# Rules and code: spaCy takes very long to split them, and no name stands in them.
_NAMELESS = re.compile(r"([^\w\s])\1{3,}|[!-~]{100,}|_{4,}")


def _load_names() -> list[_Finder]:
    """Names by an English pipeline of spaCy, if one is installed."""
    pipelines = _find_pipelines()
    if not pipelines:
        return []
    # Presidio would download a pipeline that is not installed.
    pipeline = import_module("spacy").load(pipelines[0])

    def find(text: str) -> Iterator[_Part]:
        shown = _NAMELESS.sub(lambda match: " " * len(match[0]), text)
        windows = [(shown[start:end], start) for start, end in _windows(shown)]
        for read, start in pipeline.pipe(windows, as_tuples=True):
            for name in read.ents:
                if name.label_ in ("PERSON", "PER"):
                    yield _Part(start + name.start_char, start + name.end_char, "PERSON", 0.85)

    return [find]


def _windows(text: str) -> Iterator[tuple[int, int]]:
    """Where to cut a text: between words, with words shared by neighbors, so that a name at a cut is seen whole."""
    start = 0
    while True:
        end = min(len(text), start + _WINDOW)
        if end < len(text):
            end = _last_space(text, end, start + _WINDOW // 2)
        if text[start:end].strip():
            yield start, end
        if end == len(text):
            return
        start = _last_space(text, end - _SHARED, start + _WINDOW // 4)


def _last_space(text: str, before: int, after: int) -> int:
    """The end of the last white space between two positions; the later of them if there is none."""
    return next((at for at in range(before, after, -1) if text[at - 1].isspace()), before)


def _find_pipelines() -> list[str]:
    installed: list[str] = import_module("spacy.util").get_installed_models()
    return sorted(name for name in installed if name.startswith("en_core_"))
