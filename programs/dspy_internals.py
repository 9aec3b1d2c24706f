"""What hyperalign uses of DSPy beyond ``import dspy``, in one place; checked against DSPy 3.4.1.

DSPy promises nothing of these names: with another version, look here first.
"""

from __future__ import annotations

from dspy._vendor.lm15.result import StreamAccumulator
from dspy._vendor.lm15.serde import request_to_dict, response_from_dict, response_to_dict
from dspy.clients._deprecation import adapter_message_call
from dspy.clients._http import retry_after_seconds
from dspy.clients.base_lm import LM_CLASS_STATE_KEY
from dspy.clients.engines.litellm_engine import AsyncLiteLLMEngine, LiteLLMEngine
from dspy.clients.engines.litellm_errors import litellm_errors
from dspy.clients.engines.streaming import EngineChunk
from dspy.clients.errors import error_boundary
from dspy.clients.legacy_outputs import plain
from dspy.clients.provider import Provider, TrainingJob
from dspy.lm15 import (
    AuthError,
    ContextLengthError,
    InvalidRequestError,
    ProviderError,
    RateLimitError,
    Request,
    Response,
    ServerError,
    TextDelta,
    TimeoutError,
    TransportError,
    UnsupportedFeatureError,
    UnsupportedModelError,
    Usage,
    request_from_openai_chat,
    response_from_openai_chat,
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

__all__ = [
    "ACTIVE_CALL_ID",
    "LM_CLASS_STATE_KEY",
    "AdapterParseError",
    "AsyncLiteLLMEngine",
    "AuthError",
    "BaseCallback",
    "ContextLengthError",
    "ContextWindowExceededError",
    "EngineChunk",
    "InvalidRequestError",
    "LMError",
    "LMRateLimitError",
    "LMServerError",
    "LMTransportError",
    "LiteLLMEngine",
    "Provider",
    "ProviderError",
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
    "UnsupportedFeatureError",
    "UnsupportedModelError",
    "Usage",
    "adapter_message_call",
    "bootstrap",
    "error_boundary",
    "exceptions",
    "litellm_errors",
    "plain",
    "request_from_openai_chat",
    "request_to_dict",
    "response_from_dict",
    "response_from_openai_chat",
    "response_to_dict",
    "response_to_events",
    "retry_after_seconds",
]
