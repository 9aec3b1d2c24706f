"""The engines behind every hyperalign model: one metered, journaled request through LiteLLM.

DSPy calls an engine once per attempt and retries passing faults; an ``Exchange`` asks again where another way of asking
helps. The budget counts requests that a model really worked on; failed attempts are not booked.
"""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from hyperalign.budget import Usage
from hyperalign.concurrency import is_stopping, under_way
from hyperalign.programs.dspy_internals import (
    Request,
    Response,
    StreamAccumulator,
    TextDelta,
    litellm_errors,
    request_to_dict,
    response_to_dict,
    response_to_events,
)
from hyperalign.programs.dspy_internals import TimeoutError as LateError
from hyperalign.programs.dspy_internals import Usage as Reported

from .exchange import (
    AsyncLiteLLMCall,
    Exchange,
    LiteLLMCall,
    estimate_usage,
    fault,
    read_again,
    unusable,
    without_handlers,
)
from .meter import Meter, Slot, price
from .replies import Reply, ThoughtFilter, note_truncated
from .target import Target

__all__ = ["AsyncEngine", "Engine"]

_LOOK_SECONDS = 0.01


class _Engine:
    """What the two engines have in common: what they declare to DSPy, and that copies share a target and a meter.

    Args:
        target: where requests go.
        meter: their budget and journal.
    """

    supports_function_calling = False
    supports_reasoning = False

    def __init__(self, target: Target, meter: Meter) -> None:
        self.target = target
        self.meter = meter

    @property
    def supports_response_schema(self) -> bool:
        """Whether answers can be held to a JSON schema."""
        if self.target.kind in ("vllm", "local", "adapter"):
            return True
        import litellm

        return bool(litellm.supports_response_schema(model=self.target.model))

    @property
    def supported_params(self) -> frozenset[str]:
        """The names of OpenAI's parameters that the model takes."""
        return self.target.parameters.supported

    def __deepcopy__(self, memo: dict[int, Any]) -> _Engine:
        # Copies of a program spend one budget and share one server.
        return self

    def __getstate__(self) -> dict[str, Any]:
        # Another process has its own budget and journal.
        return {"target": self.target, "meter": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.target = state["target"]
        self.meter = Meter()


class Engine(_Engine):
    """The engine for ordinary calls."""

    def complete(self, request: Request) -> Response:
        """Answer a request: from the journal, or by asking the model."""
        call = _Call(self.target, self.meter, request)
        if (known := call.wait()) is not None:
            return known
        # Not for an answer from the journal: it takes seconds.
        import litellm

        answer, ahead = None, self.target.is_held_back
        try:
            while answer is None:
                with self.target.pace.turn(ahead=ahead), under_way(), self.meter.call(is_free=self.target.is_free):
                    options = self.target.options()
                    arguments = LiteLLMCall(call.exchange, options)._arguments(request)
                    raw = None
                    with call.attempt(), without_handlers():
                        raw = litellm.completion(**arguments, **self.target.clients.client(options))
                    answer = call.take(raw)
        except BaseException as error:
            call.give_up(error)
            raise
        return call.keep(answer)

    def stream(self, request: Request) -> Iterator[Any]:
        """The same, event by event as the model generates, without what it thinks between tags."""
        call = _Call(self.target, self.meter, request)
        if (known := call.wait()) is not None:
            yield from response_to_events(known)
            return
        stream = _Stream(call)
        try:
            while not stream.has_ended:
                with self.target.pace.turn(), self.meter.call(is_free=self.target.is_free):
                    stream.restart()
                    try:
                        for event in LiteLLMCall(call.exchange, self.target.options()).stream(request):
                            yield from stream.push(event)
                    except Exception as error:
                        if not stream.can_restart(error):
                            raise
        except BaseException as error:
            stream.leave(error)
            raise

    def close(self) -> None:
        """DSPy's hook; LiteLLM and the target own the connections."""


class AsyncEngine(_Engine):
    """The engine for asynchronous calls."""

    async def complete(self, request: Request) -> Response:
        """Answer a request: from the journal, or by asking the model."""
        import asyncio

        call = _Call(self.target, self.meter, request)
        if (known := await call.await_answer()) is not None:
            return known
        # Not for an answer from the journal: it takes seconds.
        import litellm

        answer = None
        try:
            while answer is None:
                async with self.target.pace.aturn():
                    with self.meter.call(is_free=self.target.is_free):
                        options = await asyncio.to_thread(self.target.options)
                        arguments = AsyncLiteLLMCall(call.exchange, options)._arguments(request)
                        raw = None
                        with call.attempt():
                            raw = await litellm.acompletion(**arguments, **self.target.clients.async_client(options))
                        answer = call.take(raw)
        except BaseException as error:
            call.give_up(error)
            raise
        # What was paid for is written whatever becomes of the caller.
        return await asyncio.shield(asyncio.to_thread(call.keep, answer))

    async def stream(self, request: Request) -> AsyncIterator[Any]:
        """The same, event by event as the model generates, without what it thinks between tags."""
        import asyncio

        call = _Call(self.target, self.meter, request)
        if (known := await call.await_answer()) is not None:
            for event in response_to_events(known):
                yield event
            return
        stream = _Stream(call)
        try:
            while not stream.has_ended:
                async with self.target.pace.aturn():
                    with self.meter.call(is_free=self.target.is_free):
                        stream.restart()
                        options = await asyncio.to_thread(self.target.options)
                        try:
                            async for event in AsyncLiteLLMCall(call.exchange, options).stream(request):
                                for each in stream.push(event):
                                    yield each
                        except Exception as error:
                            if not stream.can_restart(error):
                                raise
        except BaseException as error:
            stream.leave(error)
            raise

    async def aclose(self) -> None:
        """DSPy's hook; LiteLLM and the target own the connections."""


class _Call:
    """One request on its way: its place in the journal, its attempts, and its answer.

    Args:
        target: where it goes.
        meter: its budget and journal.
        request: what is asked.

    Attributes:
        outer: what was being handled when the call began; see ``signs``.
    """

    def __init__(self, target: Target, meter: Meter, request: Request) -> None:
        self.target = target
        self.meter = meter
        self.request = request
        self.outer = sys.exception()
        self.exchange = Exchange(target, request)
        self._slot = Slot("", 0)
        self._is_under_way = False

    def wait(self) -> Response | None:
        """The answer that the journal holds, perhaps once the same request under way has got it; None to ask.

        Raises:
            CancelledError: the work around the caller is being stopped.
        """
        while (found := self._look_up()) is None:
            time.sleep(_LOOK_SECONDS)
            if is_stopping():
                raise CancelledError
        return self._read(found)

    async def await_answer(self) -> Response | None:
        """The same, asynchronously."""
        import asyncio

        while (found := self._look_up()) is None:
            await asyncio.sleep(_LOOK_SECONDS)
        return self._read(found)

    def _look_up(self) -> tuple[Slot, dict[str, Any] | None] | None:
        if self.meter.journal is None:
            return self._slot, None
        # What the user set for all calls decides the answer as well.
        request = {**request_to_dict(self.request), **self.target.parameters.fixed}
        config = {**request.get("config", {}), **self.target.parameters.fixed}
        return self.meter.open(request, is_fixed=config.get("temperature") == 0 or config.get("seed") is not None)

    def _read(self, found: tuple[Slot, dict[str, Any] | None]) -> Response | None:
        self._slot, answer = found
        known = None if answer is None else read_again(answer)
        if known is not None:
            self.meter.close(self._slot)
            self.meter.count_replayed(_tokens(known.usage))
            _note_truncated(known)
        return known

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """One attempt is made inside; a fault after which another attempt may do better ends here."""
        self._is_under_way = True
        try:
            with litellm_errors(model=self.request.model):
                yield
        except Exception as error:
            self._is_under_way = False
            if not self.exchange.refused(error, self.outer):
                raise
            if isinstance(error, LateError):
                # It was worked on, for all we know.
                self.count(Reported())

    def take(self, raw: Any) -> Response | None:
        """Book a whole answer, if there is one; None unless it can be used."""
        if raw is None:
            return None
        response, reply = self.exchange.read(raw)
        self.count(response.usage, estimated=estimate_usage(response, reply))
        self.target.pace.answered()
        return response if self.exchange.accept(response, reply) else None

    def keep(self, response: Response) -> Response:
        """Write an answer into the journal."""
        with under_way():
            self.meter.store(self._slot, response_to_dict(response))
        _note_truncated(response)
        return response

    def count(self, usage: Reported, *, estimated: int = 0) -> None:
        """Book a request that the model worked on, with the tokens that were reported, or else guessed."""
        self._is_under_way = False
        if self.meter.budget is None:
            return
        tokens = _tokens(usage)
        # The embedded model costs nothing; the price of one's own vLLM is not known.
        usd = 0.0 if self.target.is_free else None
        if self.target.kind == "hosted" and (usage.input_tokens or usage.output_tokens):
            usd = price(self.target.model, tokens.tokens_in, tokens.tokens_out, tokens.tokens_cached)
        spent = replace(tokens, calls=1, tokens_out=tokens.tokens_out or estimated, seconds=self.exchange.seconds)
        self.meter.add(spent, usd)

    def give_up(self, error: BaseException) -> None:
        """Free the place of a call that failed for good, and raise what the caller is to see instead, if anything."""
        if self._is_under_way and not isinstance(error, Exception):
            # It was asked, and may be answered: its tokens were never reported.
            self.count(Reported())
        self.meter.abandon(self._slot)
        if isinstance(error, Exception) and (raised := fault(error, self.target, self.outer)) is not error:
            raise raised from error


class _Stream:
    """What has come of a streamed answer.

    Attributes:
        has_ended: whether the answer is whole, booked and kept.
        has_begun: whether some of its text was shown.
    """

    def __init__(self, call: _Call) -> None:
        self.has_ended = self.has_begun = False
        self._call = call
        self._started = self._is_under_way = False

    def restart(self) -> None:
        """Begin anew: nothing was shown of what came before."""
        self._collected = StreamAccumulator(self._call.request)
        self._filter = ThoughtFilter()
        self._is_under_way = True

    def push(self, event: Any) -> list[Any]:
        """The events to show once this one has come; at the end the answer is booked and kept."""
        shown = self._shown(event)
        if event.type != "end" or self._end():
            return shown
        return []

    def can_restart(self, error: Exception) -> bool:
        """Whether to ask again after an error: nothing was shown yet, and another attempt may do better."""
        return not self.has_begun and self._call.exchange.refused(error, self._call.outer)

    def leave(self, error: BaseException) -> None:
        """The stream was left: if that was in the middle, the call was made and its tokens were never reported."""
        if not isinstance(error, Exception) and self._is_under_way:
            self._call.count(Reported())
        if not self.has_ended:
            self._call.give_up(error)

    def _shown(self, event: Any) -> list[Any]:
        shown = [event]
        if event.type == "start":
            self._collected.push(event)
            begins, self._started = not self._started, True
            return [event] if begins else []
        if event.type == "delta" and isinstance(event.delta, TextDelta):
            self._last = event
            text = self._filter.feed(event.delta.text or "")
            shown = [self._replace_text(event, text)] if text else []
        elif event.type == "end" and (text := self._filter.flush()):
            shown = [self._replace_text(self._last, text), event]
        for each in shown:
            self._collected.push(each)
            self.has_begun = self.has_begun or (each.type == "delta" and isinstance(each.delta, TextDelta))
        return shown

    def _end(self) -> bool:
        """Book a stream that came to its end; False where nothing was shown of it and it is worth asking anew."""
        response: Response = self._collected.response()
        self._call.count(response.usage or Reported())
        self._call.target.pace.answered()
        if self._call.exchange.accept(response):
            self._call.keep(response)
            self.has_ended, self._is_under_way = True, False
        elif self.has_begun:
            raise unusable(self._call.target.name, response, Reply())
        return self.has_ended

    def _replace_text(self, event: Any, text: str) -> Any:
        # Log-probabilities are of the tokens as they came.
        return event if event.delta.text == text else replace(event, delta=replace(event.delta, text=text, logprobs=()))


def _tokens(usage: Reported | None) -> Usage:
    """The tokens that a server reported."""
    if usage is None:
        return Usage()
    counts = (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens)
    return Usage(0, 0, *(count or 0 for count in counts))


def _note_truncated(response: Response) -> None:
    if response.finish_reason == "length":
        note_truncated("".join(getattr(part, "text", None) or "" for part in response.message.parts))
