"""The engines behind every hyperalign model: one metered, journaled request through LiteLLM.

DSPy calls an engine once per attempt and retries passing faults; an ``Exchange`` asks again where another way of asking
helps. The budget counts requests that a model really worked on; failed attempts are not booked.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from hyperalign.budget import Usage
from hyperalign.errors import ModelOutputError, ModelServerError
from hyperalign.programs.dspy_internals import (
    AuthError,
    InvalidRequestError,
    ProviderError,
    RateLimitError,
    Request,
    Response,
    ServerError,
    StreamAccumulator,
    TextDelta,
    TransportError,
    litellm_errors,
    request_to_dict,
    response_to_dict,
    response_to_events,
)
from hyperalign.programs.dspy_internals import TimeoutError as LateError
from hyperalign.programs.dspy_internals import Usage as Reported

from .error_mapping import in_short, signs
from .exchange import AsyncLiteLLMCall, Exchange, LiteLLMCall, estimate_usage, is_policy, read_again, unusable
from .meter import Meter, Slot, price
from .replies import Reply, ThoughtFilter, note_truncated
from .target import Target

__all__ = ["AsyncEngine", "Engine"]

_PASSING = {409, 425}


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
        if self.target.kind in ("vllm", "local"):
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
        if call.known is not None:
            return call.known
        # Not for an answer from the journal: it takes seconds.
        import litellm

        answer = None
        try:
            while answer is None:
                with self.target.pace.turn(), self.meter.call():
                    options = self.target.options()
                    arguments = LiteLLMCall(call.exchange, options)._arguments(request)
                    raw = None
                    with call.attempt():
                        raw = litellm.completion(**arguments, **self.target.clients.client(options))
                    answer = call.take(raw)
        except BaseException as error:
            call.give_up(error)
            raise
        return call.keep(answer)

    def stream(self, request: Request) -> Iterator[Any]:
        """The same, event by event as the model generates, without what it thinks between tags."""
        call = _Call(self.target, self.meter, request)
        if call.known is not None:
            yield from response_to_events(call.known)
            return
        stream = _Stream(call)
        try:
            while not stream.has_ended:
                with self.target.pace.turn(), self.meter.call():
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
        if call.known is not None:
            return call.known
        # Not for an answer from the journal: it takes seconds.
        import litellm

        answer = None
        try:
            while answer is None:
                async with self.target.pace.aturn():
                    with self.meter.call():
                        options = await asyncio.to_thread(self.target.options)
                        arguments = AsyncLiteLLMCall(call.exchange, options)._arguments(request)
                        raw = None
                        with call.attempt():
                            raw = await litellm.acompletion(**arguments, **self.target.clients.async_client(options))
                        answer = call.take(raw)
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and call.exchange.is_under_way:
                # It was asked, and may be answered: its tokens were never reported.
                call.count(Reported())
            call.give_up(error)
            raise
        # What was paid for is written whatever becomes of the caller.
        return await asyncio.shield(asyncio.to_thread(call.keep, answer))

    async def stream(self, request: Request) -> AsyncIterator[Any]:
        """The same, event by event as the model generates, without what it thinks between tags."""
        import asyncio

        call = _Call(self.target, self.meter, request)
        if call.known is not None:
            for event in response_to_events(call.known):
                yield event
            return
        stream = _Stream(call)
        try:
            while not stream.has_ended:
                async with self.target.pace.aturn():
                    with self.meter.call():
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
        known: the answer that the journal holds; None if it holds none that can be used.
        outer: what was being handled when the call began; see ``signs``.
    """

    def __init__(self, target: Target, meter: Meter, request: Request) -> None:
        self.target = target
        self.meter = meter
        self.request = request
        self.outer = sys.exception()
        self.exchange = Exchange(target, request)
        self.known: Response | None = None
        self._slot: Slot | None = None
        if meter.journal is not None:
            # What the user set for all calls decides the answer as well.
            self._slot, answer = meter.open({**request_to_dict(request), **target.parameters.fixed})
            self.known = None if answer is None else read_again(answer)
            if self.known is not None:
                meter.count_replayed()
                _note_truncated(self.known)

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """One attempt is made inside; a fault after which another attempt may do better ends here."""
        try:
            with litellm_errors(model=self.request.model):
                yield
        except Exception as error:
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
        self.meter.store(self._slot, response_to_dict(response))
        _note_truncated(response)
        return response

    def count(self, usage: Reported, *, estimated: int = 0) -> None:
        """Book a request that the model worked on, with the tokens that were reported, or else guessed."""
        if self.meter.budget is None:
            return
        tokens_in, tokens_out, cached = usage.input_tokens or 0, usage.output_tokens or 0, usage.cache_read_tokens or 0
        # The embedded model costs nothing; the price of one's own vLLM is not known.
        usd = 0.0 if self.target.kind in ("local", "adapter") else None
        if self.target.kind == "hosted" and (usage.input_tokens or usage.output_tokens):
            usd = price(self.target.model, tokens_in, tokens_out, cached)
        spent = Usage(
            calls=1,
            tokens_in=tokens_in,
            tokens_out=tokens_out or estimated,
            tokens_cached=cached,
            seconds=self.exchange.seconds,
        )
        self.meter.add(spent, usd)

    def give_up(self, error: BaseException) -> None:
        """Free the place of a call that failed for good, and raise what the caller is to see instead, if anything."""
        self.meter.abandon(self._slot)
        if isinstance(error, Exception) and (raised := self._fault(error)) is not error:
            raise raised from error

    def _fault(self, error: Any) -> Exception:
        """What to raise for an attempt that failed for good; DSPy retries its own passing faults only."""
        raised: Exception = error
        seen = signs(error, self.outer)
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
            case ProviderError() if is_policy(error):
                raised = ModelOutputError(
                    f"'{self.target.name}' refused to answer: {in_short(str(error))}",
                    remedy="Other questions may be answered; leave the text out, or choose another --model.",
                )
            case InvalidRequestError() if getattr(error, "status", None) in _PASSING:
                raised = ServerError(str(error), status=error.status)
            case LateError():
                # It may have worked on the answer all the time: asking again would cost the same again.
                raised = ModelServerError(
                    f"'{self.target.name}' did not answer within {self.target.timeout:g} seconds.",
                    remedy="Try again, or allow more seconds with --timeout (in Python, timeout=…).",
                )
            case RateLimitError():
                # It was waited for as long as there is patience.
                asked = f" and asks to wait {seen.wait:g} seconds" if seen.wait is not None else ""
                raised = ModelServerError(
                    f"'{self.target.name}' is over its rate limit{asked}.",
                    remedy="Run the same command again later, with a smaller --concurrency; what is done is kept.",
                )
        return raised


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


def _note_truncated(response: Response) -> None:
    if response.finish_reason == "length":
        note_truncated("".join(getattr(part, "text", None) or "" for part in response.message.parts))
