"""Log-probabilities of given text from a vLLM server.

vLLM renders and tokenizes (``/tokenize``), and returns ``prompt_logprobs`` for token ids (``/v1/completions``). Control
tokens inside a user's words are broken up before the server sees them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from hyperalign.budget import Budget
from hyperalign.errors import (
    ContextLengthError,
    MissingKeyError,
    ModelError,
    ModelOutputError,
    ModelServerError,
    UnknownModelError,
)
from hyperalign.scores import Message, TextScore

from ..servers import error_message
from .chat import ModelScorer, Piece, clean, pieces

__all__ = ["VLLMScorer", "expect"]

_TEXTS_AT_ONCE = 16
_LONGEST_WAIT = 30.0
# Just behind the bracket that opens something spelled like a control token: <|im_end|>, </s>, [INST].
_CUT = re.compile(r"(?<=[<\[])(?=[^\s<>\[\]]{1,80}[>\]])")

_PROBE: list[Message] = [
    {"role": "system", "content": "Answer as this person would."},
    {"role": "user", "content": "How was the journey?"},
]
_PROBE_TEXTS = (
    "Long, and the tea was cold; but the hills at dusk made up for all of it.",
    "Delayed twice. Arrived 23:40. Claim filed, reference 7741-B.",
    "Merci, tout s'est bien passé ; on se voit jeudi ?",
)


class VLLMScorer(ModelScorer):
    """A ``Scorer`` over a vLLM server.

    Args:
        url: the server's root, with or without ``/v1``.
        model: the served model's name.
        name: names the model and its weights; ``vllm:`` and the served name unless given.
        api_key: sent as a bearer token where the server wants one; never logged.
        timeout: seconds to wait for one answer.
        attempts: how often a request is sent before giving up.
        budget: where to book what is read.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        name: str | None = None,
        api_key: str | None = None,
        timeout: float = 300.0,
        attempts: int = 4,
        budget: Budget | None = None,
    ) -> None:
        super().__init__(name or f"vllm:{model}", budget)
        self._url = url.rstrip("/").removesuffix("/v1")
        self._model = model
        self._attempts = attempts
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._http = httpx.Client(base_url=self._url, headers=headers, timeout=httpx.Timeout(timeout, connect=10.0))
        self._room: int | None = None

    def close(self) -> None:
        """See ``ModelScorer``."""
        self._http.close()

    def score(self, context: Sequence[Message], texts: Sequence[str]) -> list[TextScore]:
        """Score each text as the assistant's next turn; see ``hyperalign.scores.Scorer``.

        vLLM reads the context anew for each text: it does not use its prefix cache where
        log-probabilities of the prompt are asked for.

        Raises:
            ContextLengthError: a context with its text does not fit.
            ModelServerError: the server could not be reached, or kept failing.
            ModelOutputError: its answer was not in the form expected.
        """
        began = self._begin()
        prompt = self._tokens(pieces(self._render, context))
        branches = [self.tokens_of(text) for text in texts]
        self._check_length(prompt, branches)
        wanted = [index for index, branch in enumerate(branches) if branch]
        scores = [TextScore(0.0, 0)] * len(branches)
        calls = tokens = 0
        for start in range(0, len(wanted), _TEXTS_AT_ONCE):
            chunk = wanted[start : start + _TEXTS_AT_ONCE]
            sequences = [prompt + branches[index] for index in chunk]
            for index, score in zip(chunk, self._ask(sequences, len(prompt)), strict=True):
                scores[index] = score
            calls += 1
            tokens += sum(map(len, sequences))
        self._book(began, tokens, calls=calls)
        return scores

    def probe(self) -> list[float]:
        """Numbers that tell the server's weights, template and tokenizer: log-probabilities and lengths of fixed texts.

        Raises:
            ModelError: see ``score``.
        """
        found = self.score(_PROBE, _PROBE_TEXTS)
        return [number for score in found for number in (score.logprob, float(score.tokens))]

    def prompt(self, context: Sequence[Message], room: int = 1) -> list[int]:
        """Tokens of a chat, with what begins the assistant's turn after it.

        Args:
            context: the chat.
            room: tokens that must be left after it.

        Raises:
            ContextLengthError: it does not fit.
        """
        prompt = self._tokens(pieces(self._render, context))
        self._check_length(prompt, [], room)
        return prompt

    def tokens_of(self, text: str) -> list[int]:
        """Tokens of a text, in which nothing is a control token."""
        return self._tokens([Piece(clean(text), trusted=False)])

    def _render(self, messages: list[Message]) -> str:
        answer = self._post("/tokenize", {"messages": messages, "add_generation_prompt": True})
        with self._lock:
            self._room = answer.get("max_model_len", self._room)
        text = self._post("/detokenize", {"tokens": expect(answer, "tokens", list)})
        return str(expect(text, "prompt", str))

    def _tokens(self, found: Sequence[Piece]) -> list[int]:
        tokens: list[int] = []
        for segment in _segments(found):
            answer = self._post("/tokenize", {"prompt": segment, "add_special_tokens": False})
            tokens += expect(answer, "tokens", list)
        return tokens

    def _check_length(self, prompt: list[int], branches: list[list[int]], room: int = 1) -> None:
        # vLLM always generates a token after the prompt.
        longest = len(prompt) + max(map(len, branches), default=0) + room
        if self._room is not None and longest > self._room:
            raise _too_long(f"A context with its text has {longest} tokens; the server reads at most {self._room}.")

    def _ask(self, sequences: list[list[int]], skip: int) -> list[TextScore]:
        answer = self._post(
            "/v1/completions", {"prompt": sequences, "max_tokens": 1, "temperature": 0.0, "prompt_logprobs": 1}
        )
        choices = {choice.get("index"): choice for choice in expect(answer, "choices", list)}
        return [_total(choices.get(index, {}), tokens, skip) for index, tokens in enumerate(sequences)]

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        retrying = Retrying(
            stop=stop_after_attempt(self._attempts),
            wait=_wait,
            retry=retry_if_exception_type(_PassingError),
            reraise=True,
        )
        try:
            response: httpx.Response = retrying(self._send, path, {"model": self._model, **body})
        except _PassingError as error:
            raise ModelServerError(
                f"The vLLM server at {self._url} failed {self._attempts} times: {error}.",
                remedy="See that it runs, and look at its log.",
            ) from error
        try:
            answer = response.json()
        except ValueError as error:
            raise ModelOutputError(
                f"{self._url}{path} did not answer with JSON.", remedy="Is it a vLLM server?"
            ) from error
        if not isinstance(answer, dict):
            raise ModelOutputError(f"{self._url}{path} did not answer with an object.", remedy="Is it a vLLM server?")
        return answer

    def _send(self, path: str, body: dict[str, Any]) -> httpx.Response:
        try:
            response = self._http.post(path, json=body)
        except httpx.TransportError as error:
            raise _PassingError(str(error) or type(error).__name__) from error
        if response.status_code == httpx.codes.TOO_MANY_REQUESTS or response.is_server_error:
            raise _PassingError(f"status {response.status_code}", response.headers.get("Retry-After"))
        if response.is_error:
            raise self._refused(path, response)
        return response

    def _refused(self, path: str, response: httpx.Response) -> ModelError:
        message = error_message(response)
        if response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            return MissingKeyError(f"The vLLM server at {self._url} wants an API key.", remedy="Give its key.")
        if response.status_code == httpx.codes.NOT_FOUND:
            return UnknownModelError(
                f"The server at {self._url} has no {path} or no model {self._model!r}.",
                remedy="See the names it serves at /v1/models, and that it is vLLM.",
            )
        if "maximum context length" in message or "max_model_len" in message:
            return _too_long(f"A context with its text is too long for the server: {message}")
        return ModelServerError(f"The vLLM server at {self._url} refused {path}: {message}")


class _PassingError(Exception):
    """A failure that may pass; ``after`` is the server's Retry-After, in seconds."""

    def __init__(self, message: str, after: str | None = None) -> None:
        super().__init__(message)
        try:
            self.after = float(after or 0.0)
        except ValueError:
            self.after = 0.0


_backoff = wait_exponential_jitter(multiplier=0.2, max=5.0, jitter=0.2)


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    after = error.after if isinstance(error, _PassingError) else 0.0
    return min(max(after, _backoff(state)), _LONGEST_WAIT)


def _segments(found: Sequence[Piece]) -> list[str]:
    """Join pieces into as few strings as keep the user's words free of control tokens."""
    segments = [""]
    for piece in found:
        first, *others = [piece.text] if piece.trusted else _CUT.split(piece.text)
        segments[-1] += first
        segments += others
    return [segment for segment in segments if segment]


def _total(choice: dict[str, Any], tokens: list[int], skip: int) -> TextScore:
    entries = expect(choice, "prompt_logprobs", list)
    if len(entries) != len(tokens):
        raise ModelOutputError(f"vLLM gave {len(entries)} log-probabilities for {len(tokens)} tokens.")
    total = 0.0
    for token, entry in zip(tokens[skip:], entries[skip:], strict=True):
        try:
            total += float(entry[str(token)]["logprob"])
        except (KeyError, TypeError, ValueError) as error:
            raise ModelOutputError("vLLM's prompt_logprobs lack a token of the prompt.") from error
    return TextScore(min(total, 0.0), len(tokens) - skip)


def expect(answer: dict[str, Any], key: str, kind: type) -> Any:
    """A part of a server's answer.

    Raises:
        ModelOutputError: there is none of this kind.
    """
    value = answer.get(key)
    if not isinstance(value, kind):
        raise ModelOutputError(f"The server's answer has no {key!r}.", remedy="Is it a vLLM server?")
    return value


def _too_long(message: str) -> ContextLengthError:
    return ContextLengthError(
        message, remedy="Shorten the records or the prompt, or start the server with a larger --max-model-len."
    )
