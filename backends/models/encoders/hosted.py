"""Embeddings of texts from any API that LiteLLM knows, many texts a call."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from hyperalign.budget import Budget, Usage
from hyperalign.errors import ModelOutputError
from hyperalign.programs.dspy_internals import (
    LMError,
    LMRateLimitError,
    LMServerError,
    LMTransportError,
    error_boundary,
    litellm_errors,
)

from ..error_mapping import from_dspy, signs
from ..meter import Meter, price
from ..target import open_target

__all__ = ["HostedEncoder"]

_PASSING = (LMRateLimitError, LMServerError, LMTransportError)
_LONGEST_WAIT_SECONDS = 60.0
# The most texts that a provider takes in a call, by its own documentation; OpenAI's limit for all others.
_TEXTS_PER_CALL = {"cohere": 96, "gemini": 100, "vertex_ai": 250, "voyage": 1000}
_MOST_TEXTS = 2048
# OpenAI takes 300,000 tokens in a call. Most languages have more than two characters a token.
_CHARACTERS_PER_CALL = 600_000
_CHARACTERS_PER_TOKEN = 2
_UNKNOWN_ROOM = 2048
_ANY_WORD = "text"

_backoff = wait_exponential_jitter(multiplier=0.5, max=8.0, jitter=0.5)


class HostedEncoder:
    """An ``Encoder`` over an embedding API.

    The text alone is sent: beside its prompt, an embedding would tell of the topic above all. Of a text that is longer
    than the model reads at once, the parts' embeddings are averaged, weighted by their length.

    Args:
        name: LiteLLM's name of the model, such as ``openai/text-embedding-3-small``.
        budget: where to book calls.
        api_key: instead of the provider's environment variable; never saved or shown.
        api_base: another address.
        timeout: seconds to wait for an answer; see ``connect``.

    Raises:
        InputError: an option makes no sense.
        UnknownModelError: this is no model's name.
    """

    def __init__(
        self,
        name: str,
        *,
        budget: Budget | None = None,
        api_key: str | None = None,
        api_base: str | None = None,
        timeout: float | None = None,
    ) -> None:
        self._target = open_target(name, api_key=api_key, api_base=api_base, timeout=timeout)
        self._meter = Meter(budget)
        self._width: int | None = None

    @property
    def name(self) -> str:
        """LiteLLM's name of the model: its weights are the provider's to name."""
        return self._target.model

    @property
    def cache_name(self) -> str:
        """What embeddings are remembered by: two servers may have different models under one name."""
        provider = self._target.model.partition("/")[0].upper()
        bases = (os.environ.get(f"{provider}_{name}", "") for name in ("API_BASE", "BASE_URL"))
        base = (self._target.api_base or next(filter(None, bases), "")).rstrip("/")
        # A hash, as an address may hold a name or a secret.
        return f"{self.name}@{hashlib.sha256(base.encode()).hexdigest()[:12]}" if base else self.name

    def encode(self, items: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """Embed texts; see ``hyperalign.programs.reward.features.Encoder``.

        Args:
            items: prompt and text of each.

        Returns:
            One row for each text, shape (n, dimensions); an empty text's is zero.

        Raises:
            BudgetExceededError: a cap is reached.
            MissingKeyError: the provider needs a key and there is none, or it refuses it.
            UnknownModelError: there is no such model.
            ModelServerError: it could not be reached, or kept failing.
            ModelOutputError: its answer was not in the form expected.
        """
        wanted = [text for _, text in items if text.strip()]
        if not wanted and items and self._width is None:
            # How long the zeros are, only an embedding tells.
            wanted = [_ANY_WORD]
        known = self._embed(list(dict.fromkeys(wanted))) if wanted else {}
        if known:
            self._width = len(next(iter(known.values())))
        nothing = np.zeros(self._width or 0, np.float32)
        rows = [known.get(text, nothing) for _, text in items]
        return np.stack(rows).astype(np.float32) if rows else np.zeros((0, self._width or 0), np.float32)

    def _embed(self, texts: list[str]) -> dict[str, NDArray[np.float64]]:
        size = _CHARACTERS_PER_TOKEN * self._room()
        parts = [(text, part) for text in texts for part in _cut(text, size)]
        sums: dict[str, NDArray[np.float64]] = {}
        for call in self._calls([part for _, part in parts]):
            for (text, part), embedding in zip(parts[call.start : call.stop], self._ask(parts[call]), strict=True):
                sums[text] = sums.get(text, 0.0) + embedding * (len(part) / len(text))
        return sums

    def _room(self) -> int:
        """The most tokens of a text, as far as LiteLLM knows."""
        import litellm

        known = litellm.model_cost.get(self._target.model) or litellm.model_cost.get(
            self._target.model.partition("/")[2], {}
        )
        return int(known.get("max_input_tokens") or _UNKNOWN_ROOM)

    def _calls(self, parts: list[str]) -> Iterator[slice]:
        """Which parts go into which call: all into one, unless the provider would refuse them."""
        most = _TEXTS_PER_CALL.get(self._target.model.partition("/")[0], _MOST_TEXTS)
        start = characters = 0
        for at, part in enumerate(parts):
            if at > start and (at - start == most or characters + len(part) > _CHARACTERS_PER_CALL):
                yield slice(start, at)
                start, characters = at, 0
            characters += len(part)
        yield slice(start, len(parts))

    def _ask(self, parts: list[tuple[str, str]]) -> list[NDArray[np.float64]]:
        outer = sys.exception()
        retrying = Retrying(
            stop=stop_after_attempt(1 + self._target.patience),
            wait=partial(_wait, outer=outer),
            retry=retry_if_exception(lambda error: isinstance(error, _PASSING) and not signs(error, outer).no_json),
            reraise=True,
        )
        try:
            return retrying(self._attempt, [part for _, part in parts])
        except LMError as error:
            if signs(error, outer).no_json:
                raise self._unusable(len(parts)) from error
            raise from_dspy(error, self._target, path="embeddings") from error

    def _attempt(self, texts: list[str]) -> list[NDArray[np.float64]]:
        import litellm

        target = self._target
        with self._meter.call():
            options = target.options()
            began = time.monotonic()
            with error_boundary(target.model, unexpected=True), litellm_errors(model=target.model):
                answer = litellm.embedding(
                    model=target.model,
                    input=[text.encode("utf-8", "replace").decode("utf-8") for text in texts],
                    encoding_format="float",
                    drop_params=True,
                    # LiteLLM takes 0 for its own default of 2.
                    max_retries=1,
                    **options,
                    **target.clients.client(options),
                )
            usage = getattr(answer, "usage", None)
            tokens = int(getattr(usage, "prompt_tokens", None) or 0)
            usd = price(target.model, tokens, 0, 0) if tokens else None
            self._meter.add(Usage(calls=1, tokens_in=tokens, seconds=time.monotonic() - began), usd)
        return self._read(answer, len(texts))

    def _read(self, answer: Any, count: int) -> list[NDArray[np.float64]]:
        try:
            rows = {int(row["index"]): np.array(row["embedding"], np.float64) for row in answer.data}
            found = [rows[index] for index in range(count)]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._unusable(count) from error
        if len(answer.data) != count or len({row.shape for row in found}) > 1 or found[0].ndim != 1:
            raise self._unusable(count)
        if not all(len(row) and np.isfinite(row).all() for row in found):
            raise self._unusable(count)
        return found

    def _unusable(self, count: int) -> ModelOutputError:
        return ModelOutputError(
            f"'{self._target.name}' did not answer with one embedding for each of {count} texts.",
            remedy="Check that it is an embedding model, and that the address is that of such an interface.",
        )


def _cut(text: str, size: int) -> list[str]:
    """Parts of like length, none longer than ``size``; a text that fits is one part."""
    count = -(-len(text) // size)
    length = -(-len(text) // count)
    return [text[start : start + length] for start in range(0, len(text), length)]


def _wait(state: RetryCallState, *, outer: BaseException | None) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = signs(error, outer).wait if error is not None else None
    return min(max(asked or 0.0, _backoff(state)), _LONGEST_WAIT_SECONDS)
