"""One request to a model until it has an answer: asked again where another way of asking helps.

A refused parameter is left out, a model that ran out of tokens while it thought gets more, an unusable answer is asked
for once more, and a rate limit is waited for.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from hyperalign.errors import ModelOutputError, ModelServerError
from hyperalign.programs.dspy_internals import (
    AsyncLiteLLMEngine,
    AuthError,
    ContextLengthError,
    InvalidRequestError,
    LiteLLMEngine,
    ProviderError,
    RateLimitError,
    Request,
    Response,
    ServerError,
    TransportError,
    UnsupportedFeatureError,
    UnsupportedModelError,
    plain,
    response_from_dict,
    response_from_openai_chat,
)
from hyperalign.programs.dspy_internals import TimeoutError as LateError

from .bodies import well_formed
from .control_tokens import keep_apart
from .error_mapping import in_short, signs
from .parameters import optional_names
from .replies import Reply, estimate_tokens, read_reply
from .target import Target

__all__ = [
    "AsyncLiteLLMCall",
    "Exchange",
    "LiteLLMCall",
    "estimate_usage",
    "fault",
    "read_again",
    "unusable",
    "without_handlers",
]

# Longer pauses that a server asks for are not waited for.
_LONGEST_WAIT_SECONDS = 60.0
_ILLEGAL = 451
_PASSING = {409, 425}
_MAY_BE_POLICY = {400, 403, 422}
_POLICY = re.compile(
    r"content[ _-]?(?:management|polic|filter|safety)|moderation|safety|blocked|responsible ?ai|policy violation",
    re.IGNORECASE,
)
_NOT_OF_PARAMETERS = {408, 409, 413, 425}
_ROLES = re.compile(
    r"roles (?:must|have to) alternate|(?:system (?:role|message|prompt|instruction)|role\W{1,3}system)\w*\W.{0,40}"
    r"(?:not|unsupported|invalid)|(?:unsupported|invalid|unknown|unexpected) (?:role|value)\b.{0,20}\bsystem\b",
    re.IGNORECASE,
)
_BAD_REQUESTS = (InvalidRequestError, UnsupportedFeatureError)
# Models that cache by marks alone take no prefix of fewer than 1,024 tokens. In LiteLLM's words.
_CACHED_CHARACTERS = 4_096
_BEFORE_LAST: Mapping[str, Any] = {"location": "message", "index": -2}
# More than there are parameters to leave out one by one.
_ATTEMPTS = 16
_TRUNCATED_TOKENS = 1_024


@contextmanager
def without_handlers() -> Iterator[None]:
    """Leave out LiteLLM's success handlers inside the ``with`` block, unless the user has registered a callback.

    They run in threads of their own: a tenth of a call's CPU, for which the threads of many calls at once wait.
    """
    import litellm

    try:
        from litellm._internal_context import is_internal_call
    except ImportError:  # another version of LiteLLM, which has no such switch
        yield
        return
    if litellm.callbacks or litellm.success_callback or litellm.failure_callback:
        yield
        return
    _without_service_log()
    token = is_internal_call.set(True)
    try:
        yield
    finally:
        is_internal_call.reset(token)


@cache
def _without_service_log() -> None:
    """Spare each call the event loop that LiteLLM makes to tell how long it took, unless somebody listens."""
    import litellm

    try:
        from litellm._service_logger import ServiceLogging

        tell = ServiceLogging.service_success_hook
    except (ImportError, AttributeError):  # another version of LiteLLM
        return

    def service_success_hook(self: Any, *arguments: Any, **named: Any) -> None:
        if litellm.service_callback or litellm.callbacks or getattr(self, "mock_testing", False):
            tell(self, *arguments, **named)

    setattr(ServiceLogging, "service_success_hook", service_success_hook)  # noqa: B010  # else a type error


class _OfExchange:
    """DSPy's own conversion of requests, with the parameters that the model takes.

    Args:
        exchange: whose request it is.
        options: LiteLLM's client options.
    """

    def __init__(self, exchange: Exchange, options: dict[str, Any]) -> None:
        super().__init__(**options)
        self._exchange = exchange

    def _arguments(self, request: Request, *, streaming: bool = False) -> dict[str, Any]:
        wished = super()._arguments(request, streaming=streaming)  # type: ignore[misc]
        return self._exchange.arguments(wished)


class LiteLLMCall(_OfExchange, LiteLLMEngine):
    """An ordinary call."""


class AsyncLiteLLMCall(_OfExchange, AsyncLiteLLMEngine):
    """An asynchronous call."""


class Exchange:
    """One request until it has an answer: asked again where another way of asking helps.

    Args:
        target: where it goes.
        request: what is asked.
    """

    def __init__(self, target: Target, request: Request) -> None:
        self._target = target
        self._request = request
        self._asked_again = target.patience == 0
        self._without: tuple[str, ...] = ()
        self._sent: dict[str, Any] = {}
        self._room = 0
        self._extra = 0
        self._attempts = 0
        self._began = 0.0

    def arguments(self, wished: dict[str, Any]) -> dict[str, Any]:
        """The arguments for LiteLLM's next attempt, of all that the request asks for."""
        self._room = self._target.parameters.room
        if (server := self._target.server) is not None and _may_spell(wished.get("messages") or []):
            wished = {**wished, "messages": keep_apart(wished["messages"], server.control_tokens)}
        if self._target.parameters.merges_roles:
            wished = {**wished, "messages": _merge_roles(wished.get("messages") or [])}
        self._sent = self._target.parameters.sent(wished, without=self._without, extra=self._extra)
        if "claude" in self._target.name.lower() and _is_long_before_last(wished.get("messages") or []):
            self._sent["cache_control_injection_points"] = [_BEFORE_LAST]
        self._began = time.monotonic()
        return self._sent

    @property
    def is_under_way(self) -> bool:
        """Whether an attempt was begun."""
        return self._began > 0

    @property
    def seconds(self) -> float:
        """How long the last attempt has taken so far."""
        return time.monotonic() - self._sent_at

    @property
    def _sent_at(self) -> float:
        """When the last attempt was sent, or begun if its client does not tell."""
        return max(self._began, self._target.pace.sent_at)

    def read(self, raw: Any) -> tuple[Response, Reply]:
        """Read a whole answer, which may or may not be of use; see ``accept``."""
        reply = read_reply(plain(raw), wants_tools=bool(self._request.tools))
        return _response(reply, self._request), reply

    def accept(self, response: Response, reply: Reply | None = None) -> bool:
        """Whether an answer can be used.

        Raises:
            ModelOutputError: it can't be used, and was asked for as often as helps.
        """
        parameters = self._target.parameters
        if self._without:
            # One of these was refused, if it was not a passing fault: the server did not tell which.
            parameters.suspect(self._without)
            self._without = ()
        reply = reply or Reply()
        cut, says = response.finish_reason == "length", _says_something(response)
        if says and not (cut and self._sent.get("response_format") is not None):
            if reply.thought:
                parameters.learn_thinking()
            return True
        self._attempts += 1
        if self._attempts < _ATTEMPTS and self._is_worth_more(reply, cut=cut, says=says):
            return False
        raise unusable(self._target.name, response, reply)

    def _is_worth_more(self, reply: Reply, *, cut: bool, says: bool) -> bool:
        """Whether asking again may give a usable answer."""
        if cut and (reply.thought or not says):
            return self._target.parameters.learn_thinking(had=self._room)
        if cut:
            # JSON without its end: the answer is longer than expected, or it never ends.
            before, self._extra = self._extra, _TRUNCATED_TOKENS
            return not before
        again, self._asked_again = not self._asked_again, True
        return again and reply.reason != "content_filter"

    def refused(self, error: Exception, outer: BaseException | None) -> bool:
        """Whether to repeat a failed attempt in another way, or after a pause.

        Args:
            error: what it raised.
            outer: what was being handled when the call began; see ``signs``.
        """
        wait = signs(error, outer).wait
        if isinstance(error, RateLimitError) or (isinstance(error, ServerError) and wait is not None):
            return (wait is None or wait <= _LONGEST_WAIT_SECONDS) and self._target.pace.refused(self._sent_at, wait)
        self._attempts += 1
        if isinstance(error, LateError):
            again, self._asked_again = not self._asked_again, True
            return again
        if self._attempts >= _ATTEMPTS or isinstance(error, UnsupportedModelError) or _is_policy(error):
            return False
        if isinstance(error, ContextLengthError):
            return self._target.parameters.learn_too_long(self._room)
        if isinstance(error, ProviderError) and _ROLES.search(str(error)):
            return self._target.parameters.learn_roles()
        return isinstance(error, _BAD_REQUESTS) and self._can_ask_for_less(error)

    def _can_ask_for_less(self, error: Exception) -> bool:
        said = str(error)
        if getattr(error, "status", None) in _NOT_OF_PARAMETERS:
            return False
        if self._target.parameters.learn_refusal(said, self._sent, room=self._room):
            return True
        if self._without:
            return False
        self._without = optional_names(self._sent)
        return bool(self._without)


def _may_spell(messages: Sequence[Mapping[str, Any]]) -> bool:
    """Whether there may be a control token in what is written: all have a sign that few texts hold, maybe escaped."""
    return any(sign in str(each) for each in messages for sign in ("<", "|", "\\u", "[INST"))


def _is_long_before_last(messages: Sequence[Mapping[str, Any]]) -> bool:
    """Whether there is much before the last turn, which for prompts about one person is the same each time."""
    return sum(len(str(each.get("content"))) for each in messages[:-1]) >= _CACHED_CHARACTERS


def _merge_roles(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A conversation without a system turn and with alternating roles, for templates that accept no other."""
    merged: list[dict[str, Any]] = []
    for message in messages:
        role = "user" if message["role"] == "system" else message["role"]
        content = message.get("content") or ""
        if (
            merged
            and merged[-1]["role"] == role
            and isinstance(content, str)
            and isinstance(merged[-1]["content"], str)
        ):
            merged[-1]["content"] = f"{merged[-1]['content']}\n\n{content}".strip()
        else:
            merged.append({**message, "role": role})
    return merged


def _response(reply: Reply, request: Request) -> Response:
    """DSPy's form of an answer; one without any choice is empty."""
    nothing = {"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": "stop"}
    body = dict(reply) | ({} if reply["choices"] else {"choices": [nothing]})
    response: Response = response_from_openai_chat(body, model=request.model)
    return response


def read_again(answer: Mapping[str, Any]) -> Response | None:
    """The answer that a journal holds; None if it has another form than this version writes, or says nothing."""
    try:
        response: Response = response_from_dict(well_formed(answer))
        return response if _says_something(response) else None
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return None


def estimate_usage(response: Response, reply: Reply) -> int:
    """Tokens of an answer, estimated if the server does not count them; 0 if it does."""
    usage = response.usage
    return 0 if usage is not None and (usage.input_tokens or usage.output_tokens) else estimate_tokens(reply.text)


def _is_policy(error: Exception) -> bool:
    """Whether a provider refused the content of a request, and not its form."""
    cause: BaseException | None = error
    while cause is not None:
        if type(cause).__name__ == "ContentPolicyViolationError":
            return True
        cause = cause.__cause__
    status = getattr(error, "status", None)
    words = f"{getattr(error, 'provider_code', '')} {error}"
    return status == _ILLEGAL or (status in _MAY_BE_POLICY and _POLICY.search(words) is not None)


def fault(error: Any, target: Target, outer: BaseException | None) -> Exception:
    """What to raise for an attempt that failed for good; DSPy retries its own passing faults only.

    Args:
        error: what it raised.
        target: where the request went.
        outer: what was being handled when the call began; see ``signs``.
    """
    raised: Exception = error
    seen = signs(error, outer)
    match error:
        case TransportError():
            target.unreachable()
        case ServerError() if seen.no_json:
            raised = ModelOutputError(
                f"The server of '{target.name}' answered, but not in the form of a model server.",
                remedy="Check that its address is that of an OpenAI-compatible interface.",
            )
        case ServerError() if seen.broke:
            target.unreachable()
            raised = TransportError("the connection failed")
        case AuthError() if target.server is not None:
            # Another server took the port: ours is gone.
            target.unreachable()
            raised = TransportError("the embedded server was replaced")
        case ProviderError() if _is_policy(error):
            raised = ModelOutputError(
                f"'{target.name}' refused to answer: {in_short(str(error))}",
                remedy="Other questions may be answered; leave the text out, or choose another --model.",
            )
        case InvalidRequestError() if getattr(error, "status", None) in _PASSING:
            raised = ServerError(str(error), status=error.status)
        case LateError():
            # It may have worked on the answer all the time: asking again would cost the same again.
            raised = ModelServerError(
                f"'{target.name}' did not answer within {target.timeout:g} seconds.",
                remedy="Try again, or allow more seconds with --timeout (in Python, timeout=…).",
            )
        case RateLimitError():
            # It was waited for as long as there is patience.
            asked = f" and asks to wait {seen.wait:g} seconds" if seen.wait is not None else ""
            raised = ModelServerError(
                f"'{target.name}' is over its rate limit{asked}.",
                remedy="Run the same command again later, with a smaller --concurrency; what is done is kept.",
            )
    return raised


def unusable(name: str, response: Response, reply: Reply) -> ModelOutputError:
    """The error for an answer that can't be used, with the model's own refusal if it gave one."""
    if reply.refusal:
        return ModelOutputError(f"'{name}' refused to answer: {in_short(reply.refusal)}", remedy="Try another --model.")
    if response.finish_reason == "length" and _says_something(response):
        return ModelOutputError(
            f"'{name}' did not come to the end of its answer.", remedy="Run it again, or use another --model."
        )
    if response.finish_reason == "length":
        return ModelOutputError(
            f"'{name}' used up all its tokens before it answered.",
            remedy="Set a lower --reasoning-effort, or use a model that thinks less.",
        )
    why = f" (it ended with '{reply.reason}')" if reply.reason not in {"", "stop"} else ""
    return ModelOutputError(
        f"'{name}' answered with nothing{why}.",
        remedy="Run it again; if it stays silent, allow more tokens or use a larger model.",
    )


def _says_something(response: Response) -> bool:
    if response.tool_calls:
        return True
    return any((part.type == "text" and part.text) or part.type == "data" for part in response.message.parts)
