"""The exceptions of hyperalign, and the secrets that no message and no file may hold.

Each exception says what happened and what to do next, and inherits a standard exception::

HyperalignError
├── InputError (ValueError)            exit 3: an input is wrong
│   ├── RecordError                    a file of records, with file and line
│   ├── ProfileError                   a profile that does not load
│   └── UserIdError                    an invalid user id
├── NotFoundError (LookupError)        exit 4: a user, profile or version does not exist
├── ModelError (RuntimeError)          exit 5: a model could not be used
│   ├── UnknownModelError (LookupError)
│   ├── MissingKeyError
│   ├── ModelServerError (ConnectionError)
│   ├── ModelOutputError (ValueError)  an answer is not in the requested form
│   ├── UnusableAnswersError           most answers are not
│   ├── ContextLengthError (ValueError)
│   └── DownloadError (OSError)
├── TrainingError (RuntimeError)       exit 5: training failed, or an adapter is damaged
├── MissingExtraError (ImportError)    exit 5: an optional part is not installed
├── BudgetExceededError (RuntimeError) exit 6: a cap was reached; finished work is saved
└── StorageError (OSError)             exit 7: disk full, no permission, database locked
"""

from __future__ import annotations

import base64
import json
import os
import re
import threading
from pathlib import Path
from urllib.parse import quote, quote_plus, unquote

__all__ = [
    "BudgetExceededError",
    "ContextLengthError",
    "DownloadError",
    "HyperalignError",
    "InputError",
    "MissingExtraError",
    "MissingKeyError",
    "ModelError",
    "ModelOutputError",
    "ModelServerError",
    "NotFoundError",
    "ProfileError",
    "RecordError",
    "StorageError",
    "TrainingError",
    "UnknownModelError",
    "UnusableAnswersError",
    "UserIdError",
    "check_counts",
    "check_seed",
    "full_address",
    "hide_userinfo",
    "remember_secret",
    "scrub",
    "scrub_file",
]

_SEED_BITS = 64


_SECRET_NAMES = ("API_KEY", "_TOKEN", "_SECRET", "ACCESS_KEY", "ACCESS_KEY_ID", "PASSWORD", "SERVE_KEY")
# Shorter values would match parts of ordinary words.
_SHORTEST = 6
_LONGEST_WORD = 16
# What servers that want no key are given for one.
_PLACEHOLDERS = frozenset({"ollama", "lm-studio", "not-needed", "dummy-key", "no-key-required", "placeholder"})
_USERINFO = re.compile(r"(?<=//)[^/\s\"'<>\\]*@")
_AUTHORIZATION = re.compile(r"\b(Bearer|Basic)(\s+|%20|\+)(?!realm\b)[\w.~+/%=-]{6,}", re.IGNORECASE)
_KEY_LIKE = re.compile(r"\b(?:sk|pk|rk|gsk|hf|ghp|xai|xoxb)[-_](?=[\w-]*\d)[\w-]{16,}")
_known: set[str] = set()
_userinfo: dict[str, str] = {}
_lock = threading.Lock()


def remember_secret(value: str | None) -> None:
    """Have ``scrub`` remove a value from now on, in every form that servers repeat it in.

    Args:
        value: a key, a password, ``user:password``, or the value of an authorization header.
    """
    if value is None or len(value) < _SHORTEST or value in _PLACEHOLDERS:
        return
    parts = {value}
    scheme, _, credentials = value.strip().partition(" ")
    if credentials:
        parts.add(credentials.strip())
    if scheme.lower() == "basic":
        try:
            decoded = base64.b64decode(credentials, validate=True).decode()
            parts |= {decoded, decoded.partition(":")[2]}
        except ValueError:
            pass  # It is no Basic authentication: the value as it is will do.
    forms = {form for part in parts if len(part) >= _SHORTEST for form in _forms(part)}
    with _lock:
        _known.update(forms)


def _forms(value: str) -> set[str]:
    """A secret as it is, percent-encoded, in JSON, and in base64 with and without its padding."""
    data = value.encode("utf-8", "surrogatepass")
    encoded = {base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode()}
    escaped = {quote(value, safe="", errors="replace"), quote_plus(value, errors="replace")}
    forms = {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    return (
        forms
        | escaped
        | {re.sub(r"%..", lambda found: found[0].lower(), form) for form in escaped}
        | {form for each in encoded for form in (each, each.rstrip("=")) if len(form) >= _SHORTEST}
    )


def hide_userinfo(text: str) -> str:
    """Take user names and passwords out of the addresses in a text, and remember them as secrets.

    Returns:
        The text with the bare addresses, from which ``full_address`` makes the whole ones in this process.
    """
    for found in _USERINFO.finditer(text):
        whole = unquote(found[0][:-1])
        origin = re.match(r"[^/\s#]*", text[found.end() :])
        with _lock:
            _userinfo[origin[0] if origin else ""] = found[0]
        for part in (whole, whole.partition(":")[2], found[0][:-1]):
            remember_secret(part)
    return _USERINFO.sub("", text)


def full_address(address: str) -> str:
    """An address with the user name and password that ``hide_userinfo`` took out of it."""
    scheme, separator, rest = address.partition("://")
    with _lock:
        userinfo = _userinfo.get(re.split(r"[/#]", rest, maxsplit=1)[0], "")
    return f"{scheme}{separator}{userinfo}{rest}"


def scrub(text: str) -> str:
    """Remove secrets from a message: remembered ones, those in the environment, and what has the form of one.

    That is a password in an address, the value of an authorization header, and a key with a provider's prefix.
    """
    for secret in _secrets():
        text = text.replace(secret, "…")
    text = _AUTHORIZATION.sub(r"\1 …", _USERINFO.sub("…@", text))
    return _KEY_LIKE.sub("…", text)


def scrub_file(text: str) -> str:
    """Remove remembered secrets and those of the environment from what is written to a file.

    Only whole ones, and none that is a number or a word: a file holds people's texts and numbers, which must stay as
    they are, also where a server's key is "secret".
    """
    for secret in _secrets():
        is_word = secret.isdigit() or (secret.isalpha() and len(secret) < _LONGEST_WORD)
        if secret in text and not is_word:
            text = re.sub(rf"(?<![^\W_]){re.escape(secret)}(?![^\W_])", "…", text)
    return text


def _secrets() -> list[str]:
    """All known secrets in all their forms, the longest first."""
    for name, value in os.environ.items():
        if name.endswith(_SECRET_NAMES) and value not in _known:
            remember_secret(value)
    with _lock:
        return sorted(_known, key=len, reverse=True)


class HyperalignError(Exception):
    """Base class of the exceptions of hyperalign. No message holds a secret, also where a server repeats one.

    Args:
        message: what happened, in one sentence.
        remedy: what to do about it, in one sentence; may be empty.
    """

    exit_code = 1

    def __init__(self, message: str, *, remedy: str = "") -> None:
        self.message = scrub(message)
        self.remedy = scrub(remedy)
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}" if self.remedy else self.message


class InputError(HyperalignError, ValueError):
    """An input is wrong."""

    exit_code = 3


class RecordError(InputError):
    """A file of records could not be read.

    Args:
        message: what was expected and what was found.
        path: the file, or ``-`` for standard input.
        line: the 1-based line, if there is one.
        remedy: what to do about it.
    """

    def __init__(
        self, message: str, *, path: Path | str | None = None, line: int | None = None, remedy: str = ""
    ) -> None:
        where = "" if path is None else f"{path}:{line}: " if line else f"{path}: "
        super().__init__(f"{where}{message}", remedy=remedy)
        self.path = path
        self.line = line


class ProfileError(InputError):
    """A profile does not load."""


class UserIdError(InputError):
    """A user id is empty, too long, or has characters that are not allowed."""


class NotFoundError(HyperalignError, LookupError):
    """A user, profile or version is not in the store."""

    exit_code = 4


class ModelError(HyperalignError, RuntimeError):
    """A model could not be used."""

    exit_code = 5


class UnknownModelError(ModelError, LookupError):
    """No model goes by this name."""


class MissingKeyError(ModelError):
    """The API key of a hosted model is not set."""


class ModelServerError(ModelError, ConnectionError):
    """A model server is down, refuses a request, or breaks the connection."""


class ModelOutputError(ModelError, ValueError):
    """A model's answer is not in the requested form."""


class UnusableAnswersError(ModelError):
    """Most answers of a model are unusable, so that going on would only cost more."""


class ContextLengthError(ModelError, ValueError):
    """A text does not fit into the model's context."""


class DownloadError(ModelError, OSError):
    """A model file could not be downloaded, or has the wrong content."""


class TrainingError(HyperalignError, RuntimeError):
    """Training failed, or the files of an adapter do not match its manifest."""

    exit_code = 5


class MissingExtraError(HyperalignError, ImportError):
    """An optional part of hyperalign is not installed.

    Args:
        what: what needs it.
        extra: the name of the extra.
        hint: where to install it, if not in this environment.
    """

    exit_code = 5

    def __init__(self, what: str, extra: str, hint: str = "") -> None:
        where = f", {hint}" if hint else ""
        super().__init__(
            f"{what} needs the '{extra}' extra.",
            remedy=f"Install it with: pip install 'hyperalign[{extra}]'{where}",
        )


class BudgetExceededError(HyperalignError, RuntimeError):
    """A cap on calls, tokens or money was reached; finished work is saved."""

    exit_code = 6


class StorageError(HyperalignError, OSError):
    """The disk or the database failed: full, no permission, locked, or damaged."""

    exit_code = 7


def check_seed(seed: int) -> None:
    """Check a seed of random choices, before anything is spent.

    Args:
        seed: a whole number from 0 to 2**64 - 1, as NumPy and PyTorch take it.

    Raises:
        InputError: it is out of range.
    """
    if not 0 <= seed < 2**_SEED_BITS:
        raise InputError(f"A seed of {seed}.", remedy=f"Give a whole number from 0 to 2^{_SEED_BITS} - 1.")


def check_counts(**counts: int | None) -> None:
    """Check numbers of things, of which there must be at least one each.

    Args:
        counts: by name; None where one is not set.

    Raises:
        InputError: one is below 1.
    """
    for name, count in counts.items():
        if count is not None and count < 1:
            raise InputError(f"{name} is {count}.", remedy="Give a whole number of at least 1.")
