"""Log-probabilities of given text from a vLLM server.

vLLM renders and tokenizes (``/tokenize``), and returns ``prompt_logprobs`` for token ids (``/v1/completions``). Control
tokens inside a user's words are broken up before the server sees them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from hyperalign.budget import Budget, Usage
from hyperalign.errors import (
    ContextLengthError,
    MissingKeyError,
    ModelError,
    ModelOutputError,
    ModelServerError,
    UnknownModelError,
    check_counts,
)
from hyperalign.programs.decoding import Branch
from hyperalign.scores import Message, TextScore

from ..target import error_message
from .chat import ModelScorer, Piece, clean, pieces

__all__ = ["VLLMAnswer", "VLLMScorer", "VLLMWriter"]

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
        branches = [self._tokens([Piece(clean(text), trusted=False)]) for text in texts]
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

    def _render(self, messages: list[Message]) -> str:
        answer = self._post("/tokenize", {"messages": messages, "add_generation_prompt": True})
        with self._lock:
            self._room = answer.get("max_model_len", self._room)
        text = self._post("/detokenize", {"tokens": _expect(answer, "tokens", list)})
        return str(_expect(text, "prompt", str))

    def _tokens(self, found: Sequence[Piece]) -> list[int]:
        tokens: list[int] = []
        for segment in _segments(found):
            answer = self._post("/tokenize", {"prompt": segment, "add_special_tokens": False})
            tokens += _expect(answer, "tokens", list)
        return tokens

    def _check_length(self, prompt: list[int], branches: list[list[int]]) -> None:
        # One more: vLLM always generates a token after the prompt.
        longest = len(prompt) + max(map(len, branches), default=0) + 1
        if self._room is not None and longest > self._room:
            raise _too_long(f"A context with its text has {longest} tokens; the server reads at most {self._room}.")

    def _ask(self, sequences: list[list[int]], skip: int) -> list[TextScore]:
        answer = self._post(
            "/v1/completions", {"prompt": sequences, "max_tokens": 1, "temperature": 0.0, "prompt_logprobs": 1}
        )
        choices = {choice.get("index"): choice for choice in _expect(answer, "choices", list)}
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


class VLLMWriter(VLLMScorer):
    """A ``Writer`` over a vLLM server, which keeps the prefixes that it read by itself; see ``VLLMScorer``."""

    def open(self, context: Sequence[Message], *, kept: Path | None = None, seed: int = 0) -> VLLMAnswer:
        """Begin an answer; see ``hyperalign.programs.decoding.Writer``.

        Args:
            context: the turns before it.
            kept: not used: nothing of a server's memory can be kept here.
            seed: of all sampling.

        Raises:
            ContextLengthError: the turns leave no room for an answer.
            BudgetExceededError: a cap is reached.
            ModelServerError: the server could not be reached, or kept failing.
            ModelOutputError: its answer was not in the form expected.
        """
        del kept
        began = self._begin()
        prompt = self._tokens(pieces(self._render, context))
        self._check_length(prompt, [])
        self._book(began, len(prompt))
        return VLLMAnswer(self, prompt, seed)

    def go_on(self, tokens: Sequence[int], count: int, length: int, **sampling: Any) -> list[tuple[list[int], Branch]]:
        """Several ways to go on after some tokens, each with its own tokens.

        Args:
            tokens: what was read and written before.
            count: how many.
            length: tokens of each, at most.
            sampling: ``temperature`` and ``seed``.
        """
        asked = {"prompt": list(tokens), "n": count, "max_tokens": length, "return_token_ids": True, **sampling}
        choices = _expect(self._post("/v1/completions", asked), "choices", list)
        found = []
        for choice in choices:
            text = str(_expect(choice, "text", str))
            own = choice.get("token_ids")
            # Servers before 0.10 return no token ids.
            ids = [int(each) for each in own] if own else self._tokens([Piece(text, trusted=False)])
            found.append((ids, Branch(text, len(ids), choice.get("finish_reason") == "stop")))
        if self._budget is not None:
            self._budget.add(Usage(calls=1, tokens_out=sum(branch.tokens for _, branch in found)))
        return found


class VLLMAnswer:
    """An answer that is being written; see ``hyperalign.programs.decoding.WritingSession``."""

    def __init__(self, writer: VLLMWriter, prompt: list[int], seed: int) -> None:
        self._writer = writer
        self._tokens = list(prompt)
        self._seed = seed
        self._branches: list[tuple[list[int], Branch]] = []
        self.text = ""

    def branch(self, count: int, tokens: int, *, temperature: float = 0.8) -> list[Branch]:
        """Several ways to go on; see ``hyperalign.programs.decoding.WritingSession``."""
        check_counts(count=count, tokens=tokens)
        drawn = 0 if temperature <= 0 else max(1, count - 1)
        found = self._writer.go_on(self._tokens, count - drawn, tokens, temperature=0.0) if count > drawn else []
        if drawn:
            found += self._writer.go_on(self._tokens, drawn, tokens, temperature=temperature, seed=self._seed)
        self._branches = found
        return [branch for _, branch in found]

    def keep(self, index: int) -> None:
        """Go on from one of the branches of the last call."""
        tokens, branch = self._branches[index]
        self._tokens += tokens
        self.text += branch.text
        self._seed += 1
        self._branches = []


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
    entries = _expect(choice, "prompt_logprobs", list)
    if len(entries) != len(tokens):
        raise ModelOutputError(f"vLLM gave {len(entries)} log-probabilities for {len(tokens)} tokens.")
    total = 0.0
    for token, entry in zip(tokens[skip:], entries[skip:], strict=True):
        try:
            total += float(entry[str(token)]["logprob"])
        except (KeyError, TypeError, ValueError) as error:
            raise ModelOutputError("vLLM's prompt_logprobs lack a token of the prompt.") from error
    return TextScore(min(total, 0.0), len(tokens) - skip)


def _expect(answer: dict[str, Any], key: str, kind: type) -> Any:
    value = answer.get(key)
    if not isinstance(value, kind):
        raise ModelOutputError(f"The server's answer has no {key!r}.", remedy="Is it a vLLM server?")
    return value


def _too_long(message: str) -> ContextLengthError:
    return ContextLengthError(
        message, remedy="Shorten the records or the prompt, or start the server with a larger --max-model-len."
    )
