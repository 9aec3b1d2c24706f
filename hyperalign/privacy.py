"""What in a text identifies somebody by its form alone: mail addresses, telephone and account numbers.

Names are not found here, and nothing is taken out: ``redaction`` does that. This file knows no record and no profile.

Takes secrets out of what is shown or written: servers repeat keys and headers in their messages.

Takes out of texts what identifies people: names, mail addresses, numbers of telephones, accounts and cards.

Presidio finds them (the extra ``privacy``); names only where an English pipeline of spaCy is installed beside it.
Nothing is fetched: Presidio's own recognizer of mail addresses would ask the network for a list of suffixes, so its
general one is given a pattern. What is found gives way to a word in brackets. This file reads no file.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from .errors import MissingExtraError
from .records import Record

__all__ = [
    "MAIL",
    "Redact",
    "find_private_parts",
    "find_redactor",
    "is_redactor_installed",
    "redact_texts",
    "remember_secret",
    "scrub",
]

MAIL = r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
"""What a mail address looks like, as a regular expression."""

_PRIVATE = {
    "account number": re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?\b"),
    "mail address": re.compile(MAIL),
    "telephone number": re.compile(r"(?<![\w.])\+?\d(?:[ ()./-]?\d){8,14}(?![\w.])"),
}


def find_private_parts(text: str) -> list[str]:
    """What a text holds that belongs in no training data and no prompt, by kind."""
    return [name for name, pattern in _PRIVATE.items() if pattern.search(text)]


_SECRET_NAMES = ("API_KEY", "_TOKEN", "_SECRET", "ACCESS_KEY", "ACCESS_KEY_ID", "_PASSWORD")
# Shorter values would take parts of ordinary words out.
_SHORTEST = 6
_known: set[str] = set()
_lock = threading.Lock()


def remember_secret(value: str | None) -> None:
    """Never show a value again."""
    if value is not None and len(value) >= _SHORTEST:
        with _lock:
            _known.add(value)


def scrub(text: str) -> str:
    """A text without the secrets that were remembered, those of the environment, and passwords in addresses.

    Args:
        text: a message, such as a server's.
    """
    named = {value for name, value in os.environ.items() if name.endswith(_SECRET_NAMES) and len(value) >= _SHORTEST}
    with _lock:
        secrets = named | _known
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "…")
    return re.sub(r"//[^/\s@]+@", "//…@", text)


Redact = Callable[[str], str]
"""A text without what identifies people."""

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
    """Whether what it takes is installed."""
    return find_spec("presidio_analyzer") is not None


def find_redactor(wanted: bool | None = None) -> Redact | None:
    """What redacts, or None where nothing is to.

    Args:
        wanted: whether to; None for wherever it is installed.

    Raises:
        MissingExtraError: it is wanted, and not installed.
    """
    if wanted is False or (wanted is None and not is_redactor_installed()):
        return None
    return _redactor()


def redact_texts(records: Iterable[Record], redact: Redact) -> list[Record]:
    """Records without what identifies people in any of their texts.

    An id that was made of the content is made anew, so that nothing of the old text stays in it.

    Args:
        records: anybody's.
        redact: takes it out.
    """
    return [_one(record, redact) for record in records]


def _one(record: Record, redact: Redact) -> Record:
    data = record.model_dump()
    texts = {name: redact(data[name]) for name in _TEXTS if data.get(name)}
    if all(data[name] == text for name, text in texts.items()):
        return record
    bare = type(record).model_validate({**data, "id": ""})
    return type(record).model_validate({**data, **texts, "id": "" if bare.id == record.id else record.id})


@cache
def _redactor() -> Redact:
    try:
        analyzer = _analyzer()
    except ImportError as error:
        raise MissingExtraError("Redaction", "privacy") from error

    def redact(text: str) -> str:
        found = analyzer.analyze(text=text, language="en", entities=list(_WORDS), score_threshold=_SURE)
        rest, end = [], 0
        # The surest first where two overlap.
        taken: list[Any] = []
        for each in sorted(found, key=lambda one: (-one.score, one.start - one.end)):
            if all(each.end <= other.start or each.start >= other.end for other in taken):
                taken.append(each)
        for each in sorted(taken, key=lambda one: one.start):
            rest += [text[end : each.start], _WORDS[each.entity_type]]
            end = each.end
        return "".join([*rest, text[end:]])

    return redact


def _analyzer() -> Any:
    presidio, engines = import_module("presidio_analyzer"), import_module("presidio_analyzer.nlp_engine")
    ready = import_module("presidio_analyzer.predefined_recognizers")
    spacy = import_module("spacy")
    engine = engines.SpacyNlpEngine(models=[{"lang_code": "en", "model_name": "blank"}])
    pipelines = _pipelines()
    # Its own loading would fetch a pipeline that is not installed.
    engine.nlp = {"en": spacy.load(pipelines[0]) if pipelines else spacy.blank("en")}
    registry = presidio.RecognizerRegistry(supported_languages=["en"])
    mail = presidio.Pattern("mail address", MAIL, 1.0)
    for recognizer in (
        presidio.PatternRecognizer("EMAIL_ADDRESS", patterns=[mail]),
        ready.PhoneRecognizer(supported_language="en", supported_regions=_REGIONS),
        ready.IbanRecognizer(supported_language="en"),
        ready.CreditCardRecognizer(supported_language="en"),
        ready.UsSsnRecognizer(supported_language="en"),
        ready.IpRecognizer(supported_language="en"),
        *([ready.SpacyRecognizer(supported_language="en", supported_entities=["PERSON"])] if pipelines else []),
    ):
        registry.add_recognizer(recognizer)
    return presidio.AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=["en"])


def _pipelines() -> list[str]:
    installed: list[str] = import_module("spacy.util").get_installed_models()
    return sorted(name for name in installed if name.startswith("en_core_"))
