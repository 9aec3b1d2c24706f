"""From a model's name to a model, and the checks that tell early why its first call would fail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hyperalign.budget import Budget
from hyperalign.concurrency import Progress
from hyperalign.errors import InputError, MissingKeyError, UnknownModelError

from .catalogue import resolve
from .download import check_local
from .llama_server import ServerSettings
from .lm import LM
from .meter import Journal, Meter
from .target import Target

__all__ = ["check_name", "check_ready", "check_scorer", "connect"]


def connect(
    name: str,
    *,
    budget: Budget | None = None,
    api_key: str | None = None,
    api_base: str | None = None,
    api_version: str | None = None,
    extra_headers: Mapping[str, str] | None = None,
    temperature: float | None = None,
    reasoning_effort: str | None = None,
    concurrency: int | None = None,
    journal: Journal | None = None,
    timeout: float | None = None,
    server: ServerSettings | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> LM:
    """A model to call, from its name.

    Args:
        name: ``local:<name from the catalogue or path of a .gguf file>``,
            ``vllm:<address or model name>`` (``vllm:http://127.0.0.1:8000#adapter`` picks one
            of several served models), ``adapter:<name>`` of a running
            ``hyperalign serve``, ``adapter:<folder>``, which a process of its own serves, or any LiteLLM name,
            such as ``anthropic/…``.
        budget: counts the calls and stops them at its caps.
        api_key: instead of the provider's environment variable; never saved or shown.
        api_base: another address for a hosted model, such as that of an OpenAI-compatible server.
        api_version: of the provider's interface, where it has versions (Azure).
        extra_headers: sent with every request; never saved or shown.
        temperature: of all calls, in place of what each asks for; left out for models that take none.
        reasoning_effort: of all calls, such as ``low``, for models that think before they answer.
        concurrency: requests under way at once, at most; 8 by default, or the slots of a ``local:`` model's server.
        journal: remembers the answers of a run, so that a killed run makes no call twice.
        timeout: seconds to wait for an answer: ``HYPERALIGN_TIMEOUT`` by default, else 120, or 600 for a model of
            one's own.
        server: how to serve a ``local:`` model.
        progress: told of the download of a ``local:`` model's file.
        settings: DSPy's, such as ``temperature``, ``max_tokens`` and ``num_retries`` (3).

    Returns:
        The model. The first call fetches a ``local:`` model's file, and starts the server of a ``local:`` model or an
        adapter's folder; ``lm.launch()`` does so earlier, and ``lm.kill()`` ends it.

    Raises:
        InputError: ``HYPERALIGN_TIMEOUT`` is not a number of seconds, or a setting makes no sense.
        UnknownModelError: no model goes by this name.
        ModelServerError: the vLLM server, or that of adapters, does not answer.
    """
    return LM.open(
        name,
        Meter(budget, journal),
        api_key=api_key,
        api_base=api_base,
        api_version=api_version,
        headers=extra_headers,
        fixed={"temperature": temperature, "reasoning_effort": reasoning_effort},
        concurrency=concurrency,
        timeout=timeout,
        server=server,
        progress=progress,
        **settings,
    )


def check_ready(lm: LM) -> None:
    """Check that a model could be asked.

    Raises:
        MissingKeyError: a hosted model's key is not set.
        UnknownModelError: LiteLLM knows no such provider.
        MissingExtraError: a ``local:`` model, and what runs it is not installed.
        DownloadError: its file is not here, and must not be fetched.
        StorageError: there is no space for its file.
    """
    if lm.target.server is not None:
        lm.target.server.check()
    else:
        lm.target.options()


def check_scorer(name: str) -> None:
    """Check that a scorer could be opened, as far as this machine can tell.

    Raises:
        UnknownModelError: no such model, or one of a kind that gives no log-probabilities of text.
        MissingExtraError: a ``local:`` model without the part that reads it.
        DownloadError: its file is not here, and must not be fetched.
        StorageError: there is no space for its file.
    """
    scheme, _, rest = name.strip().partition(":")
    if scheme == "local":
        check_local(resolve(rest), "openvino", "Scoring with a GGUF file")
    elif scheme != "vllm":
        raise UnknownModelError(
            f"'{name}' gives no log-probabilities of text.",
            remedy="A scorer is 'local:<name>' or 'vllm:<address>'; without one, hypotheses are tested by choice.",
        )


def check_name(name: str) -> None:
    """Check that a name could be a model's: nothing is asked, and its key need not be set.

    Raises:
        InputError: it could not.
    """
    scheme, _, rest = name.partition(":")
    try:
        if scheme == "local":
            resolve(rest)
        elif scheme not in ("vllm", "adapter"):
            # An address of its own would hide what LiteLLM makes of the name.
            Target(name, name, "hosted", timeout=1.0).options()
    except MissingKeyError:
        return
    except UnknownModelError as error:
        raise InputError(error.message, remedy=error.remedy) from error
