"""Find and remove what must not be seen: secrets in messages, and names, addresses and numbers in texts.

Redaction uses Presidio (the extra ``privacy``); it finds names only if an English pipeline of spaCy is installed, too.
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
"""A regular expression for mail addresses."""

_PRIVATE = {
    "account number": re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?\b"),
    "mail address": re.compile(MAIL),
    "telephone number": re.compile(r"(?<![\w.])\+?\d(?:[ ()./-]?\d){8,14}(?![\w.])"),
}


def find_private_parts(text: str) -> list[str]:
    """The kinds of identifiers in a text that their form alone gives away; names are not among them."""
    return [name for name, pattern in _PRIVATE.items() if pattern.search(text)]


_SECRET_NAMES = ("API_KEY", "_TOKEN", "_SECRET", "ACCESS_KEY", "ACCESS_KEY_ID", "_PASSWORD")
# Shorter values would match parts of ordinary words.
_SHORTEST = 6
_known: set[str] = set()
_lock = threading.Lock()


def remember_secret(value: str | None) -> None:
    """Have ``scrub`` remove a value from now on."""
    if value is not None and len(value) >= _SHORTEST:
        with _lock:
            _known.add(value)


def scrub(text: str) -> str:
    """Remove secrets from a message: remembered ones, those in the environment, and passwords in addresses."""
    named = {value for name, value in os.environ.items() if name.endswith(_SECRET_NAMES) and len(value) >= _SHORTEST}
    with _lock:
        secrets = named | _known
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "…")
    return re.sub(r"//[^/\s@]+@", "//…@", text)


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


@cache
def _load_redactor() -> Redact:
    try:
        analyzer = _load_analyzer()
    except ImportError as error:
        raise MissingExtraError("Redaction", "privacy") from error

    def redact(text: str) -> str:
        found = analyzer.analyze(text=text, language="en", entities=list(_WORDS), score_threshold=_SURE)
        taken: list[Any] = []
        # Of two that overlap, the surer one counts.
        for each in sorted(found, key=lambda one: (-one.score, one.start - one.end)):
            if all(each.end <= other.start or each.start >= other.end for other in taken):
                taken.append(each)
        for each in sorted(taken, key=lambda one: one.start, reverse=True):
            text = text[: each.start] + _WORDS[each.entity_type] + text[each.end :]
        return text

    return redact


def _load_analyzer() -> Any:
    presidio, engines = import_module("presidio_analyzer"), import_module("presidio_analyzer.nlp_engine")
    ready = import_module("presidio_analyzer.predefined_recognizers")
    spacy = import_module("spacy")
    engine = engines.SpacyNlpEngine(models=[{"lang_code": "en", "model_name": "blank"}])
    pipelines = _find_pipelines()
    # Presidio's own loading would download a pipeline that is not installed.
    engine.nlp = {"en": spacy.load(pipelines[0]) if pipelines else spacy.blank("en")}
    registry = presidio.RecognizerRegistry(supported_languages=["en"])
    # Presidio's own recognizer of mail addresses would ask the network for a list of suffixes.
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


def _find_pipelines() -> list[str]:
    installed: list[str] = import_module("spacy.util").get_installed_models()
    return sorted(name for name in installed if name.startswith("en_core_"))
