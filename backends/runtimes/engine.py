"""The engine behind every hyperalign model: one metered, journaled request through LiteLLM.

DSPy calls an engine once per attempt and owns the retries of passing faults; what can be mended by asking differently
is mended by the ``Exchange``. The budget counts requests that a model really worked on; failed attempts are not booked.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

from hyperalign.budget import Usage
from hyperalign.errors import ModelOutputError, ModelServerError
from hyperalign.programs.dspy_internals import (
    AuthError,
    InvalidRequestError,
    RateLimitError,
    Request,
    Response,
    ServerError,
    StreamAccumulator,
    TransportError,
    litellm_errors,
    request_to_dict,
    response_from_dict,
    response_to_dict,
    response_to_events,
)
from hyperalign.programs.dspy_internals import TimeoutError as LateError
from hyperalign.programs.dspy_internals import Usage as Reported

from .exchange import AsyncWire, Exchange, Wire, guess_tokens, is_policy, unusable
from .faults import signs
from .meter import Meter, Slot, price
from .reading import Reply
from .target import Target
from .unfinished import told_unfinished

__all__ = ["AsyncEngine", "Engine"]

_QUOTED_CHARACTERS = 200
_SCHEMA_KINDS = ("vllm", "local")


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
        slot, answer = self.meter.open({**request_to_dict(request), **self.target.parameters.fixed})
        return slot, None if answer is None else response_from_dict(answer)

    def _take(self, exchange: Exchange, raw: Any) -> Response | None:
        """Book a whole answer; None where it is of no use and worth asking for again."""
        response, reply = exchange.read(raw)
        self._count(response.usage, exchange.seconds, guessed=guess_tokens(response, reply))
        self.target.pace.answered()
        return response if exchange.accept(response, reply) else None

    def _keep(self, slot: Slot | None, response: Response) -> Response:
        self.meter.store(slot, response_to_dict(response))
        _tell_unfinished(response)
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

    def _end(self, slot: Slot | None, exchange: Exchange, stream: _Stream) -> None:
        """A stream ended: book it, and remember it if it said something."""
        response = stream.response()
        self._count(response.usage or Reported(), exchange.seconds)
        self.target.pace.answered()
        if not exchange.accept(response):
            raise unusable(self.target.name, response, Reply())
        self._keep(slot, response)

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
            case InvalidRequestError() if is_policy(error):
                raised = ModelOutputError(
                    f"'{self.target.name}' refused to answer: {str(error)[:_QUOTED_CHARACTERS]}",
                    remedy="Other questions may be answered; leave the text out, or choose another --model.",
                )
        return raised


class Engine(_Shared):
    """The engine for ordinary calls."""

    def complete(self, request: Request) -> Response:
        """Answer a request: from the journal, or by asking the model."""
        outer = sys.exception()
        slot, answer = self._replay(request)
        if answer is not None:
            _tell_unfinished(answer)
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
        arguments = Wire(exchange, options)._arguments(request) | self.target.clients.client(options)
        try:
            with litellm_errors(model=request.model):
                raw = litellm.completion(**arguments)
        except Exception as error:
            if exchange.refused(error, outer):
                return None
            raise
        return self._take(exchange, raw)

    def stream(self, request: Request) -> Iterator[Any]:
        """The same, event by event as the model generates."""
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
                    try:
                        for event in Wire(exchange, self.target.options()).stream(request):
                            stream.push(event)
                            if stream.has_ended():
                                self._end(slot, exchange, stream)
                            yield event
                    except Exception as error:
                        if stream.begun or not exchange.refused(error, outer):
                            raise
        except BaseException as error:
            if isinstance(error, GeneratorExit):
                # The reader left in the middle: the call was made, its tokens were never told.
                self._count(Reported(), exchange.seconds)
            self._give_up(slot, error, outer)
            raise

    def close(self) -> None:
        """DSPy's hook; LiteLLM and the target own the connections."""


class AsyncEngine(_Shared):
    """The engine for asynchronous calls."""

    async def complete(self, request: Request) -> Response:
        """Answer a request: from the journal, or by asking the model."""
        import asyncio

        outer = sys.exception()
        slot, answer = await asyncio.to_thread(self._replay, request)
        if answer is not None:
            return answer
        exchange = Exchange(self.target, request)
        try:
            while answer is None:
                async with self.target.pace.aturn():
                    with self.meter.call():
                        answer = await self._attempt(exchange, request, outer)
        except BaseException as error:
            self._give_up(slot, error, outer)
            raise
        return await asyncio.to_thread(self._keep, slot, answer)

    async def _attempt(self, exchange: Exchange, request: Request, outer: BaseException | None) -> Response | None:
        import asyncio

        import litellm

        options = await asyncio.to_thread(self.target.options)
        arguments = AsyncWire(exchange, options)._arguments(request) | self.target.clients.async_client(options)
        try:
            with litellm_errors(model=request.model):
                raw = await litellm.acompletion(**arguments)
        except Exception as error:
            if exchange.refused(error, outer):
                return None
            raise
        return await asyncio.to_thread(self._take, exchange, raw)

    async def stream(self, request: Request) -> AsyncIterator[Any]:
        """The same, event by event as the model generates."""
        import asyncio

        outer = sys.exception()
        slot, answer = await asyncio.to_thread(self._replay, request)
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
                        options = await asyncio.to_thread(self.target.options)
                        try:
                            async for event in AsyncWire(exchange, options).stream(request):
                                stream.push(event)
                                if stream.has_ended():
                                    await asyncio.to_thread(self._end, slot, exchange, stream)
                                yield event
                        except Exception as error:
                            if stream.begun or not exchange.refused(error, outer):
                                raise
        except BaseException as error:
            if isinstance(error, (GeneratorExit, asyncio.CancelledError)):
                self._count(Reported(), exchange.seconds)
            self._give_up(slot, error, outer)
            raise

    async def aclose(self) -> None:
        """DSPy's hook; LiteLLM and the target own the connections."""


class _Stream:
    """What has come of a streamed answer."""

    def __init__(self, request: Request) -> None:
        self._collected = StreamAccumulator(request)
        self.begun = False
        self._ended = False

    def push(self, event: Any) -> None:
        self._collected.push(event)
        self.begun = self.begun or event.type == "delta"
        self._ended = event.type == "end"

    def has_ended(self) -> bool:
        return self._ended

    def response(self) -> Response:
        response: Response = self._collected.response()
        return response


def _tell_unfinished(response: Response) -> None:
    if response.finish_reason == "length":
        told_unfinished("".join(getattr(part, "text", None) or "" for part in response.message.parts))
