"""Everything hyperalign raises on purpose.

Each error says what happened, where, and what to do next; each also inherits the
standard error it stands for, so ``except ValueError`` keeps working::

    HyperalignError
    ├── InputError (ValueError)            exit 3: something the user gave is wrong
    │   ├── RecordError                    a file of records, with file and line
    │   ├── ProfileError                   a profile file that does not load
    │   └── UserIdError                    a user id that could not be a name
    ├── NotFoundError (LookupError)        exit 4: a user, profile or version that is not there
    ├── ModelError (RuntimeError)          exit 5: a model could not be used
    │   ├── UnknownModelError (LookupError)
    │   ├── MissingKeyError
    │   ├── ModelServerError (ConnectionError)
    │   ├── ModelOutputError (ValueError)  it answered, but not in the form asked for
    │   ├── UnusableAnswersError           most of its answers were of that kind
    │   ├── ContextLengthError (ValueError)
    │   └── DownloadError (OSError)
    ├── TrainingError (RuntimeError)       exit 5: training went wrong, or an adapter is not whole
    ├── MissingExtraError (ImportError)    exit 5: an optional part is not installed
    ├── BudgetExceededError (RuntimeError) exit 6: a cap was reached; what is done is saved
    └── StorageError (OSError)             exit 7: disk full, no permission, database locked

This file knows nothing of how errors are shown: ``hyperalign.cli`` does that.
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
]


class HyperalignError(Exception):
    """Base of all errors raised on purpose.

    Args:
        message: what happened, in one sentence.
        remedy: what the reader can do about it, in one sentence; may be empty.
    """

    exit_code = 1

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}" if self.remedy else self.message


class InputError(HyperalignError, ValueError):
    """Something the user gave is wrong."""

    exit_code = 3


class RecordError(InputError):
    """A file of records could not be read.

    Args:
        message: what was expected and what was found.
        path: the file, or ``-`` for standard input.
        line: the 1-based line, where there is one.
        remedy: what to do about it.
    """

    def __init__(
        self,
        message: str,
        *,
        path: Path | str | None = None,
        line: int | None = None,
        remedy: str = "",
    ) -> None:
        where = "" if path is None else f"{path}:{line}: " if line else f"{path}: "
        super().__init__(f"{where}{message}", remedy=remedy)
        self.path = path
        self.line = line


class ProfileError(InputError):
    """A profile file does not load."""


class UserIdError(InputError):
    """A user id is empty, too long, or holds characters that no id needs."""


class NotFoundError(HyperalignError, LookupError):
    """A user, profile or version is not in the store."""

    exit_code = 4


class ModelError(HyperalignError, RuntimeError):
    """A model could not be used."""

    exit_code = 5


class UnknownModelError(ModelError, LookupError):
    """No model goes by this name."""


class MissingKeyError(ModelError):
    """A hosted model needs an API key that is not set."""


class ModelServerError(ModelError, ConnectionError):
    """A model server is down, refuses, or breaks off."""


class ModelOutputError(ModelError, ValueError):
    """A model answered, but not in the form asked for."""


class UnusableAnswersError(ModelError):
    """Most answers of a model could not be used: to go on would cost more and find nothing."""


class ContextLengthError(ModelError, ValueError):
    """A text does not fit the model's context."""


class DownloadError(ModelError, OSError):
    """A model file could not be fetched or is not the file it should be."""


class TrainingError(HyperalignError, RuntimeError):
    """Training went wrong, or an adapter is not what its folder says."""

    exit_code = 5


class MissingExtraError(HyperalignError, ImportError):
    """An optional part of hyperalign is not installed.

    Args:
        what: what was asked for.
        extra: the name of the extra that brings it.
        hint: where to install it, if not just here.
    """

    exit_code = 5

    def __init__(self, what: str, extra: str, hint: str = "") -> None:
        where = f", {hint}" if hint else ""
        super().__init__(
            f"{what} needs the '{extra}' extra.",
            remedy=f"Install it with: pip install 'hyperalign[{extra}]'{where}",
        )


class BudgetExceededError(HyperalignError, RuntimeError):
    """A cap on calls, tokens or money was reached; what is done is saved."""

    exit_code = 6


class StorageError(HyperalignError, OSError):
    """The disk or the database refused: full, no permission, locked, damaged."""

    exit_code = 7
