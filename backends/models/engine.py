"""The engines behind every hyperalign model: one metered, journaled request through LiteLLM.

DSPy calls an engine once per attempt and retries passing faults; an ``Exchange`` asks again where another way of asking
helps. The budget counts requests that a model really worked on; failed attempts are not booked.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
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
    response_from_dict,
    response_to_dict,
    response_to_events,
)
from hyperalign.programs.dspy_internals import TimeoutError as LateError
from hyperalign.programs.dspy_internals import Usage as Reported

from .error_mapping import in_short, signs
from .exchange import AsyncLiteLLMCall, Exchange, LiteLLMCall, guess_tokens, is_policy, unusable
from .meter import Meter, Slot, price
from .replies import Reply, ThoughtFilter, note_truncated
from .target import Target

__all__ = ["AsyncEngine", "Engine"]

_PASSING = {409, 425}


class _Shared:
    """What the two engines have in common: DSPy's declarations, the journal and the budget.

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
        if self.target.kind in ("vllm", "local"):
            return True
        import litellm

        return bool(litellm.supports_response_schema(model=self.target.model))

    @property
    def supported_params(self) -> frozenset[str]:
        """The names of OpenAI's parameters that the model takes."""
        return self.target.parameters.supported

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
        # What the user set for all calls decides the answer as well.
        slot, known = self.meter.open({**request_to_dict(request), **self.target.parameters.fixed})
        answer: Response | None = None if known is None else response_from_dict(known)
        if answer is not None:
            _note_truncated(answer)
        return slot, answer

    def _take(self, exchange: Exchange, raw: Any) -> Response | None:
        """Book a whole answer; None where it is of no use and worth asking for again."""
        response, reply = exchange.read(raw)
        self._count(response.usage, exchange.seconds, guessed=guess_tokens(response, reply))
        self.target.pace.answered()
        return response if exchange.accept(response, reply) else None

    def _keep(self, slot: Slot | None, response: Response) -> Response:
        self.meter.store(slot, response_to_dict(response))
        _note_truncated(response)
        return response

    def _count(self, usage: Reported, seconds: float, *, guessed: int = 0) -> None:
        if self.meter.budget is None:
            return
        tokens_in, tokens_out, cached = usage.input_tokens or 0, usage.output_tokens or 0, usage.cache_read_tokens or 0
        # The embedded model costs nothing; a vLLM of one's own costs something nobody told us.
        usd = 0.0 if self.target.kind in ("local", "adapter") else None
        if self.target.kind == "hosted" and (usage.input_tokens or usage.output_tokens):
            usd = price(self.target.model, tokens_in, tokens_out, cached)
        spent = Usage(
            calls=1, tokens_in=tokens_in, tokens_out=tokens_out or guessed, tokens_cached=cached, seconds=seconds
        )
        self.meter.add(spent, usd)

    def _asks_again(self, exchange: Exchange, error: Exception, outer: BaseException | None) -> bool:
        """Whether to make another attempt after one that failed."""
        again = exchange.refused(error, outer)
        if again and isinstance(error, LateError):
            # It was worked on, for all we know.
            self._count(Reported(), exchange.seconds)
        return again

    def _events(self, slot: Slot | None, exchange: Exchange, stream: _Stream, event: Any) -> list[Any]:
        """The events to show once this one has come; the last one is booked."""
        shown = stream.push(event)
        if event.type != "end":
            return shown
        if self._end(slot, exchange, stream):
            stream.end()
            return shown
        return []

    def _end(self, slot: Slot | None, exchange: Exchange, stream: _Stream) -> bool:
        """Book a stream that came to its end; False where nothing was shown of it and it is worth asking anew."""
        response = stream.response()
        self._count(response.usage or Reported(), exchange.seconds)
        self.target.pace.answered()
        if exchange.accept(response):
            self._keep(slot, response)
        elif stream.begun:
            raise unusable(self.target.name, response, Reply())
        else:
            return False
        return True

    def _leave_stream(
        self, slot: Slot | None, exchange: Exchange, stream: _Stream, error: BaseException, outer: BaseException | None
    ) -> None:
        """A stream was left: if that was in the middle, the call was made and its tokens were never told."""
        if not isinstance(error, Exception) and stream.under_way:
            self._count(Reported(), exchange.seconds)
        if not stream.has_ended():
            self._give_up(slot, error, outer)

    def _give_up(self, slot: Slot | None, error: BaseException, outer: BaseException | None) -> None:
        """Free the place of a call that failed for good, and raise what the caller is to see instead, if anything."""
        self.meter.abandon(slot)
        if isinstance(error, Exception) and (raised := self._fault(error, outer)) is not error:
            raise raised from error

    def _fault(self, error: Any, outer: BaseException | None) -> Exception:
        """What to raise for an attempt that failed for good; DSPy retries its own passing faults only."""
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


class Engine(_Shared):
    """The engine for ordinary calls."""

    def complete(self, request: Request) -> Response:
        """Answer a request: from the journal, or by asking the model."""
        outer = sys.exception()
        slot, answer = self._replay(request)
        if answer is not None:
            return answer
        exchange = Exchange(self.target, request)
        try:
            while answer is None:
                with self.target.pace.turn(), self.meter.call():
                    answer = self._attempt(exchange, request, outer)
        except BaseException as error:
            self._give_up(slot, error, outer)
            raise
        return self._keep(slot, answer)

    def _attempt(self, exchange: Exchange, request: Request, outer: BaseException | None) -> Response | None:
        """One call; None where another one may do better."""
        import litellm

        options = self.target.options()
        arguments = LiteLLMCall(exchange, options)._arguments(request) | self.target.clients.client(options)
        try:
            with litellm_errors(model=request.model):
                raw = litellm.completion(**arguments)
        except Exception as error:
            if self._asks_again(exchange, error, outer):
                return None
            raise
        return self._take(exchange, raw)

    def stream(self, request: Request) -> Iterator[Any]:
        """The same, event by event as the model generates, without what it thinks between tags."""
        outer = sys.exception()
        slot, answer = self._replay(request)
        if answer is not None:
            yield from response_to_events(answer)
            return
        exchange = Exchange(self.target, request)
        stream = _Stream(request)
        try:
            while not stream.has_ended():
                with self.target.pace.turn(), self.meter.call():
                    stream.restart()
                    try:
                        for event in LiteLLMCall(exchange, self.target.options()).stream(request):
                            yield from self._events(slot, exchange, stream, event)
                    except Exception as error:
                        if stream.begun or not exchange.refused(error, outer):
                            raise
        except BaseException as error:
            self._leave_stream(slot, exchange, stream, error, outer)
            raise

    def close(self) -> None:
        """DSPy's hook; LiteLLM and the target own the connections."""


class AsyncEngine(_Shared):
    """The engine for asynchronous calls."""

    async def complete(self, request: Request) -> Response:
        """Answer a request: from the journal, or by asking the model."""
        import asyncio

        outer = sys.exception()
        slot, answer = self._replay(request)
        if answer is not None:
            return answer
        exchange = Exchange(self.target, request)
        try:
            while answer is None:
                async with self.target.pace.aturn():
                    with self.meter.call():
                        answer = await self._attempt(exchange, request, outer)
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and exchange.is_under_way:
                # It was asked, and may be answered: its tokens were never told.
                self._count(Reported(), exchange.seconds)
            self._give_up(slot, error, outer)
            raise
        # What was paid for is written whatever becomes of the caller.
        return await asyncio.shield(asyncio.to_thread(self._keep, slot, answer))

    async def _attempt(self, exchange: Exchange, request: Request, outer: BaseException | None) -> Response | None:
        import asyncio

        import litellm

        options = await asyncio.to_thread(self.target.options)
        arguments = AsyncLiteLLMCall(exchange, options)._arguments(request) | self.target.clients.async_client(options)
        try:
            with litellm_errors(model=request.model):
                raw = await litellm.acompletion(**arguments)
        except Exception as error:
            if self._asks_again(exchange, error, outer):
                return None
            raise
        return self._take(exchange, raw)

    async def stream(self, request: Request) -> AsyncIterator[Any]:
        """The same, event by event as the model generates, without what it thinks between tags."""
        import asyncio

        outer = sys.exception()
        slot, answer = self._replay(request)
        if answer is not None:
            for event in response_to_events(answer):
                yield event
            return
        exchange = Exchange(self.target, request)
        stream = _Stream(request)
        try:
            while not stream.has_ended():
                async with self.target.pace.aturn():
                    with self.meter.call():
                        stream.restart()
                        options = await asyncio.to_thread(self.target.options)
                        try:
                            async for event in AsyncLiteLLMCall(exchange, options).stream(request):
                                for each in self._events(slot, exchange, stream, event):
                                    yield each
                        except Exception as error:
                            if stream.begun or not exchange.refused(error, outer):
                                raise
        except BaseException as error:
            self._leave_stream(slot, exchange, stream, error, outer)
            raise

    async def aclose(self) -> None:
        """DSPy's hook; LiteLLM and the target own the connections."""


class _Stream:
    """What has come of a streamed answer."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._started = False
        self._ended = False
        self.begun = False
        self.under_way = False
        self.restart()

    def restart(self) -> None:
        """Begin anew: nothing was shown of what came before."""
        self._collected = StreamAccumulator(self._request)
        self._filter = ThoughtFilter()
        self.under_way = True

    def push(self, event: Any) -> list[Any]:
        """The events to show once this one has come."""
        shown = [event]
        if event.type == "start":
            self._collected.push(event)
            begins, self._started = not self._started, True
            return [event] if begins else []
        if event.type == "delta" and isinstance(event.delta, TextDelta):
            self._last = event
            text = self._filter.feed(event.delta.text or "")
            shown = [self._with(event, text)] if text else []
        elif event.type == "end" and (text := self._filter.flush()):
            shown = [self._with(self._last, text), event]
        for each in shown:
            self._collected.push(each)
            self.begun = self.begun or (each.type == "delta" and isinstance(each.delta, TextDelta))
        return shown

    def end(self) -> None:
        """The answer is whole, booked and kept."""
        self._ended, self.under_way = True, False

    def has_ended(self) -> bool:
        return self._ended

    def response(self) -> Response:
        response: Response = self._collected.response()
        return response

    def _with(self, event: Any, text: str) -> Any:
        # Log-probabilities are of the tokens as they came.
        return event if event.delta.text == text else replace(event, delta=replace(event.delta, text=text, logprobs=()))


def _note_truncated(response: Response) -> None:
    if response.finish_reason == "length":
        note_truncated("".join(getattr(part, "text", None) or "" for part in response.message.parts))
