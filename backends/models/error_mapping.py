"""Maps the errors of DSPy, LiteLLM and the HTTP client to hyperalign's own, each with a remedy."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

import httpx

from hyperalign.errors import (
    ContextLengthError,
    HyperalignError,
    MissingKeyError,
    ModelError,
    ModelServerError,
    UnknownModelError,
)
from hyperalign.privacy import scrub
from hyperalign.programs.dspy_internals import exceptions as dspy_errors
from hyperalign.programs.dspy_internals import retry_after_seconds

from .target import Target

__all__ = ["Signs", "from_dspy", "in_short", "own_cause", "signs"]

_MESSAGE_CHARACTERS = 300
_FORBIDDEN = 403
_TOO_LARGE = 413
# Of a web server that has nothing there, and not of one that lacks the model.
_NO_PLACE = re.compile(r"<html|<!doctype|'detail': 'Not Found'|page not found|cannot post", re.IGNORECASE)


_LATER = "Run the same command again later; what is done is kept."
_WAIT_LONGER = "Try again, or allow more seconds with --timeout (in Python, timeout=…)."
_SHORTER = "Give fewer or shorter texts, or use a model with a longer context."
_CHECK_SERVER = "Check that the server runs, the network, and the address."
_CHECK_ADDRESS = "Try again; if it stays so, check that the address is that of a model server."

# The first that fits; specific classes stand before the ones they inherit from.
# fmt: off
_MEANINGS: tuple[tuple[type[Exception], type[ModelError], str, str], ...] = (
    (dspy_errors.LMRateLimitError, ModelServerError, "{name} is over its rate limit{wait}.", _LATER),
    (dspy_errors.LMBillingError, ModelServerError,
        "{name} refuses for lack of credit: {said}", "Check the account's billing."),
    (dspy_errors.LMTimeoutError, ModelServerError, "{name} did not answer within {timeout:g} seconds.", _WAIT_LONGER),
    (dspy_errors.ContextWindowExceededError, ContextLengthError,
        "The request does not fit the context of {name}: {said}", _SHORTER),
    (dspy_errors.LMUnsupportedModelError, UnknownModelError,
        "{name} is not a model its provider knows: {said}", "Check its spelling."),
    (dspy_errors.LMStreamAssemblyError, ModelServerError,
        "{name} broke off in the middle of its answer.", "Run it again."),
    (dspy_errors.LMTransportError, ModelServerError, "{name} could not be reached{where}: {said}", _CHECK_SERVER),
    (dspy_errors.LMServerError, ModelServerError,
        "The server of {name} failed{status}: {said}", "Try again later; what is done is kept."),
    (Exception, ModelError, "{name} could not be used: {said}", _CHECK_ADDRESS),
)
# fmt: on


def from_dspy(error: dspy_errors.LMError, target: Target, *, path: str = "chat/completions") -> HyperalignError:
    """The error to raise in place of DSPy's, to be chained with ``from error``.

    Args:
        error: DSPy's.
        target: where the request went.
        path: what was asked for at the server's address.
    """
    if own := own_cause(error):
        return own
    if isinstance(error, (dspy_errors.LMAuthError, dspy_errors.LMNotConfiguredError)) and error.status != _FORBIDDEN:
        return _key_error(target)
    if (special := _by_status(error, target, path)) is not None:
        return special
    facts = {
        "name": f"'{target.name}'",
        "said": _message(error),
        "wait": f" and asks to wait {error.retry_after:g} seconds" if error.retry_after else "",
        "where": f" at {scrub(target.api_base)}" if target.api_base else "",
        "status": f" (status {error.status})" if error.status else "",
        "timeout": target.timeout,
    }
    _, kind, sentence, remedy = next(meaning for meaning in _MEANINGS if isinstance(error, meaning[0]))
    return kind(sentence.format(**facts), remedy=remedy)


def _by_status(error: dspy_errors.LMError, target: Target, path: str) -> HyperalignError | None:
    """What a status says that DSPy's classes do not."""
    said = _message(error)
    if error.status == _FORBIDDEN:
        return MissingKeyError(
            f"'{target.name}' refuses access: {said}", remedy="Check what the key may do, and the name of the model."
        )
    if error.status == _TOO_LARGE:
        return ContextLengthError(
            f"The request is too large for '{target.name}': {said}", remedy="Give fewer or shorter texts."
        )
    if isinstance(error, dspy_errors.LMUnsupportedModelError) and target.api_base and _NO_PLACE.search(said):
        address = scrub(target.api_base.rstrip("/"))
        return ModelServerError(
            f"There is no model server at {address}/{path}: {said}",
            remedy="Check the address; that of most servers ends in /v1.",
        )
    return None


@dataclass(frozen=True, slots=True)
class Signs:
    """What an error's causes show that LiteLLM's own classes hide.

    Attributes:
        wait: seconds the server asked to wait (``Retry-After``); None if it did not.
        broke: the connection could not be made or was cut.
        no_json: the server answered, but with something else than JSON.
    """

    wait: float | None
    broke: bool
    no_json: bool


def signs(error: BaseException, outer: BaseException | None) -> Signs:
    """Read an error's causes.

    Args:
        error: what a call raised.
        outer: what was already being handled when the call began: Python hangs it on as a
            context, but it says nothing about this call.
    """
    found = list(_causes(error, outer))
    # LiteLLM keeps the server's headers here, not where SDKs have them.
    headers = [kept for cause in found if (kept := getattr(cause, "litellm_response_headers", None)) is not None]
    waits = [seconds for kept in headers if (seconds := retry_after_seconds(kept.get("retry-after"))) is not None]
    return Signs(
        wait=float(waits[0]) if waits else None,
        broke=any(isinstance(cause, httpx.TransportError) for cause in found),
        no_json=any(isinstance(cause, json.JSONDecodeError) for cause in found),
    )


def _causes(error: BaseException, outer: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and current is not outer and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def own_cause(error: BaseException) -> HyperalignError | None:
    """The error of ours that another one was raised from, or that it is."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, HyperalignError):
        cause = cause.__cause__
    return cause


def _key_error(target: Target) -> MissingKeyError:
    provider = target.model.split("/", 1)[0] if "/" in target.model else "openai"
    variable = f"{provider.upper().replace('-', '_')}_API_KEY"
    if target.api_key is not None:
        return MissingKeyError(f"'{target.name}' refused the API key it was given.", remedy="Check the key.")
    state = "was refused" if os.environ.get(variable) else "is not set"
    return MissingKeyError(
        f"'{target.name}' needs an API key: {variable} {state}.",
        remedy=f"Set {variable} to a valid key, or use an embedded model: 'local:qwen2.5-coder-1.5b-instruct'.",
    )


def _message(error: dspy_errors.LMError) -> str:
    return in_short(str(error.message or type(error).__name__))


def in_short(message: str) -> str:
    """A server's words in one line, without secrets and the names of LiteLLM's classes."""
    lines = message.strip().splitlines() or [""]
    text = scrub(re.sub(r"^(?:(?:litellm\.)?\w+Error: |\w+Exception - )+", "", lines[0]))
    if len(text) > _MESSAGE_CHARACTERS:
        return f"{text[:_MESSAGE_CHARACTERS]}…"
    return text if text.endswith((".", "!", "?")) else f"{text}."
