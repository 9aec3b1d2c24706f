"""The engine behind every hyperalign model: one metered, journaled request through LiteLLM.

DSPy calls an engine once per attempt and owns the retries. Failed attempts are not
booked: the budget counts requests that a model really worked on. This file does not know
what is asked.
"""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from dspy._vendor.lm15.result import StreamAccumulator
from dspy._vendor.lm15.serde import request_to_dict, response_from_dict, response_to_dict
from dspy.clients.engines.litellm_engine import AsyncLiteLLMEngine, LiteLLMEngine
from dspy.lm15 import AuthError, RateLimitError, Request, Response, ServerError, TransportError, response_to_events
from dspy.lm15 import TimeoutError as LateError
from dspy.lm15 import Usage as Reported

from hyperalign.budget import Usage
from hyperalign.errors import ModelOutputError, ModelServerError

from .faults import signs
from .meter import Meter, Slot, price
from .target import Target
from .unfinished import told_unfinished

__all__ = ["AsyncEngine", "Engine"]

# A server that asks for a longer pause than this is not waited for.
_LONGEST_WAIT_SECONDS = 60.0
_SCHEMA_KINDS = ("vllm", "local")


class _MaxTokens:
    """Says ``max_tokens``, as every server understands it; LiteLLM renames it for models that want it otherwise."""

    def _arguments(self, request: Request, *, streaming: bool = False) -> dict[str, Any]:
        arguments: dict[str, Any] = super()._arguments(request, streaming=streaming)  # type: ignore[misc]
        if (limit := arguments.pop("max_completion_tokens", None)) is not None:
            arguments["max_tokens"] = limit
        return arguments


class _Wire(_MaxTokens, LiteLLMEngine):
    """DSPy's own engine for LiteLLM."""


class _AsyncWire(_MaxTokens, AsyncLiteLLMEngine):
    """The same for asynchronous calls."""


class _Shared:
    """What the two engines have in common: DSPy's declarations, and the book-keeping.

    Args:
        target: where requests go.
        meter: what they cost and whether they were answered before.
    """

    supports_function_calling = False
    supports_reasoning = False

    def __init__(self, target: Target, meter: Meter) -> None:
        self.target = target
        self.meter = meter

    @property
    def supports_response_schema(self) -> bool:
        """Whether answers can be held to a JSON schema."""
        if self.target.kind in _SCHEMA_KINDS:
            return True
        import litellm

        return bool(litellm.supports_response_schema(model=self.target.model))

    @property
    def supported_params(self) -> frozenset[str]:
        """The names of OpenAI's parameters that the model takes."""
        if self.target.kind in _SCHEMA_KINDS:
            usual = ("temperature", "max_tokens", "top_p", "stop", "seed", "response_format")
            return frozenset((*usual, "logprobs", "top_logprobs"))
        import litellm

        return frozenset(litellm.get_supported_openai_params(model=self.target.model) or ())

    def __deepcopy__(self, memo: dict[int, Any]) -> _Shared:
        # Copies of a program spend one budget and share one server.
        return self

    def __getstate__(self) -> dict[str, Any]:
        # Another process has its own budget and journal.
        return {"target": self.target, "meter": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.target = state["target"]
        self.meter = Meter()

    def _replay(self, request: Request) -> tuple[Slot | None, Response | None]:
        if self.meter.journal is None:
            return None, None
        slot, answer = self.meter.open(request_to_dict(request))
        return slot, None if answer is None else response_from_dict(answer)

    def _book(self, slot: Slot | None, response: Response, started: float) -> None:
        self._count(response.usage, time.monotonic() - started)
        if not _says_something(response):
            raise ModelOutputError(
                f"'{self.target.name}' answered with nothing.",
                remedy="Run it again; if it stays silent, allow more tokens or use a larger model.",
            )
        self.meter.store(slot, response_to_dict(response))

    def _count(self, usage: Reported, seconds: float) -> None:
        if self.meter.budget is None:
            return
        tokens_in, tokens_out, cached = usage.input_tokens or 0, usage.output_tokens or 0, usage.cache_read_tokens or 0
        # The embedded model costs nothing; a vLLM of one's own costs something nobody told us.
        usd = 0.0 if self.target.kind in ("local", "adapter") else None
        if self.target.kind == "hosted" and usage.input_tokens is not None:
            usd = price(self.target.model, tokens_in, tokens_out, cached)
        spent = Usage(calls=1, tokens_in=tokens_in, tokens_out=tokens_out, tokens_cached=cached, seconds=seconds)
        self.meter.add(spent, usd)

    def _interrupted(self, slot: Slot | None, started: float) -> None:
        """The reader left in the middle of a stream: the call was made, its tokens were never told."""
        self.meter.abandon(slot)
        self._count(Reported(), time.monotonic() - started)

    def _failed(self, slot: Slot | None, error: Any, outer: BaseException | None) -> Exception:
        """What to raise for a failed attempt; DSPy retries its own transient errors only."""
        self.meter.abandon(slot)
        raised: Exception = error
        seen = signs(error, outer)
        match error:
            case TransportError():
                self.target.unreachable()
            case ServerError() if seen.no_json:
                raised = ModelOutputError(
                    f"The server of '{self.target.name}' answered, but not in the form of a model server.",
                    remedy="Check that its address is that of an OpenAI-compatible interface.",
                )
            case ServerError() if seen.broke:
                self.target.unreachable()
                raised = TransportError("the connection failed")
            case AuthError() if self.target.kind == "local":
                # Another server took the port: ours is gone.
                self.target.unreachable()
                raised = TransportError("the embedded server was replaced")
            case LateError():
                # It may have worked on the answer all the time: asking again would cost the same again.
                raised = ModelServerError(
                    f"'{self.target.name}' did not answer within {self.target.timeout:g} seconds.",
                    remedy="Try again, or allow more seconds with HYPERALIGN_TIMEOUT (in Python, timeout=…).",
                )
            case RateLimitError():
                error.retry_after = seen.wait
                if seen.wait is not None and seen.wait > _LONGEST_WAIT_SECONDS:
                    raised = ModelServerError(
                        f"'{self.target.name}' is over its rate limit and asks to wait {seen.wait:g} seconds.",
                        remedy="Run the same command again then; what is done is kept.",
                    )
        return raised


class Engine(_Shared):
    """The engine for ordinary calls."""

    def complete(self, request: Request) -> Response:
        """Answer a request: from the journal, or by one attempt at the model."""
        outer = sys.exception()
        slot, answer = self._replay(request)
        if answer is not None:
            _tell_unfinished(answer)
            return answer
        try:
            self.meter.check()
            engine = _Wire(**self.target.options())
            started = time.monotonic()
            response = engine.complete(request)
            self._book(slot, response, started)
            _tell_unfinished(response)
        except Exception as error:
            raised = self._failed(slot, error, outer)
            if raised is error:
                raise
            raise raised from error
        return response

    def stream(self, request: Request) -> Iterator[Any]:
        """The same, event by event as the model generates."""
        outer = sys.exception()
        slot, answer = self._replay(request)
        if answer is not None:
            yield from response_to_events(answer)
            return
        collected = StreamAccumulator(request)
        started = time.monotonic()
        try:
            self.meter.check()
            engine = _Wire(**self.target.options())
            started = time.monotonic()
            for event in engine.stream(request):
                collected.push(event)
                if event.type == "end":
                    self._book(slot, collected.response(), started)
                yield event
        except GeneratorExit:
            self._interrupted(slot, started)
            raise
        except Exception as error:
            raised = self._failed(slot, error, outer)
            if raised is error:
                raise
            raise raised from error

    def close(self) -> None:
        """DSPy's hook; LiteLLM owns the connections."""


class AsyncEngine(_Shared):
    """The engine for asynchronous calls."""

    async def complete(self, request: Request) -> Response:
        """Answer a request: from the journal, or by one attempt at the model."""
        import asyncio

        outer = sys.exception()
        slot, answer = await asyncio.to_thread(self._replay, request)
        if answer is not None:
            return answer
        try:
            self.meter.check()
            engine = _AsyncWire(**await asyncio.to_thread(self.target.options))
            started = time.monotonic()
            response = await engine.complete(request)
            await asyncio.to_thread(self._book, slot, response, started)
        except Exception as error:
            raised = self._failed(slot, error, outer)
            if raised is error:
                raise
            raise raised from error
        return response

    async def stream(self, request: Request) -> AsyncIterator[Any]:
        """The same, event by event as the model generates."""
        import asyncio

        outer = sys.exception()
        slot, answer = await asyncio.to_thread(self._replay, request)
        if answer is not None:
            for event in response_to_events(answer):
                yield event
            return
        collected = StreamAccumulator(request)
        started = time.monotonic()
        try:
            self.meter.check()
            engine = _AsyncWire(**await asyncio.to_thread(self.target.options))
            started = time.monotonic()
            async for event in engine.stream(request):
                collected.push(event)
                if event.type == "end":
                    await asyncio.to_thread(self._book, slot, collected.response(), started)
                yield event
        except (GeneratorExit, asyncio.CancelledError):
            self._interrupted(slot, started)
            raise
        except Exception as error:
            raised = self._failed(slot, error, outer)
            if raised is error:
                raise
            raise raised from error

    async def aclose(self) -> None:
        """DSPy's hook; LiteLLM owns the connections."""


def _tell_unfinished(response: Response) -> None:
    if response.finish_reason == "length":
        told_unfinished("".join(getattr(part, "text", None) or "" for part in response.message.parts))


def _says_something(response: Response) -> bool:
    if response.logprobs or response.tool_calls:
        return True
    return any(getattr(part, "text", None) or part.type == "data" for part in response.message.parts)
