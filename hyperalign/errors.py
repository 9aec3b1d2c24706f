"""The exceptions of hyperalign. Each says what happened and what to do next, and inherits a standard exception::

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

from pathlib import Path

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
]

_SEED_BITS = 64


class HyperalignError(Exception):
    """Base class of the exceptions of hyperalign.

    Args:
        message: what happened, in one sentence.
        remedy: what to do about it, in one sentence; may be empty.
    """

    exit_code = 1

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

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
