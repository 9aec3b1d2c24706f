"""What hyperalign uses of DSPy beyond ``import dspy``, in one place; checked against DSPy 3.4.1.

DSPy promises nothing of these names: with another version, look here first. Each is imported when it is first used, as
some of them load what a program does not need.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dspy._vendor.lm15.result import StreamAccumulator
    from dspy._vendor.lm15.serde import request_to_dict, response_from_dict, response_to_dict
    from dspy.clients._deprecation import adapter_message_call
    from dspy.clients._http import retry_after_seconds
    from dspy.clients.base_lm import LM_CLASS_STATE_KEY
    from dspy.clients.engines.litellm_engine import AsyncLiteLLMEngine, LiteLLMEngine
    from dspy.clients.engines.streaming import EngineChunk
    from dspy.clients.errors import error_boundary
    from dspy.clients.provider import Provider, TrainingJob
    from dspy.lm15 import (
        AuthError,
        RateLimitError,
        Request,
        Response,
        ServerError,
        TextDelta,
        TimeoutError,
        TransportError,
        Usage,
        request_from_openai_chat,
        response_to_events,
    )
    from dspy.streaming import StreamResponse
    from dspy.teleprompt import bootstrap
    from dspy.utils import exceptions
    from dspy.utils.callback import ACTIVE_CALL_ID, BaseCallback
    from dspy.utils.exceptions import (
        AdapterParseError,
        ContextWindowExceededError,
        LMError,
        LMRateLimitError,
        LMServerError,
        LMTransportError,
    )

_HOMES = {
    "ACTIVE_CALL_ID": "utils.callback",
    "LM_CLASS_STATE_KEY": "clients.base_lm",
    "AdapterParseError": "utils.exceptions",
    "AsyncLiteLLMEngine": "clients.engines.litellm_engine",
    "AuthError": "lm15",
    "BaseCallback": "utils.callback",
    "ContextWindowExceededError": "utils.exceptions",
    "EngineChunk": "clients.engines.streaming",
    "LMError": "utils.exceptions",
    "LMRateLimitError": "utils.exceptions",
    "LMServerError": "utils.exceptions",
    "LMTransportError": "utils.exceptions",
    "LiteLLMEngine": "clients.engines.litellm_engine",
    "Provider": "clients.provider",
    "RateLimitError": "lm15",
    "Request": "lm15",
    "Response": "lm15",
    "ServerError": "lm15",
    "StreamAccumulator": "_vendor.lm15.result",
    "StreamResponse": "streaming",
    "TextDelta": "lm15",
    "TimeoutError": "lm15",
    "TrainingJob": "clients.provider",
    "TransportError": "lm15",
    "Usage": "lm15",
    "adapter_message_call": "clients._deprecation",
    "bootstrap": "teleprompt.bootstrap",
    "error_boundary": "clients.errors",
    "exceptions": "utils.exceptions",
    "request_from_openai_chat": "lm15",
    "request_to_dict": "_vendor.lm15.serde",
    "response_from_dict": "_vendor.lm15.serde",
    "response_to_dict": "_vendor.lm15.serde",
    "response_to_events": "lm15",
    "retry_after_seconds": "clients._http",
}
_MODULES = {"bootstrap", "exceptions"}

__all__ = [
    "ACTIVE_CALL_ID",
    "LM_CLASS_STATE_KEY",
    "AdapterParseError",
    "AsyncLiteLLMEngine",
    "AuthError",
    "BaseCallback",
    "ContextWindowExceededError",
    "EngineChunk",
    "LMError",
    "LMRateLimitError",
    "LMServerError",
    "LMTransportError",
    "LiteLLMEngine",
    "Provider",
    "RateLimitError",
    "Request",
    "Response",
    "ServerError",
    "StreamAccumulator",
    "StreamResponse",
    "TextDelta",
    "TimeoutError",
    "TrainingJob",
    "TransportError",
    "Usage",
    "adapter_message_call",
    "bootstrap",
    "error_boundary",
    "exceptions",
    "request_from_openai_chat",
    "request_to_dict",
    "response_from_dict",
    "response_to_dict",
    "response_to_events",
    "retry_after_seconds",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = import_module(f"dspy.{_HOMES[name]}")
    value = home if name in _MODULES else getattr(home, name)
    globals()[name] = value
    return value
