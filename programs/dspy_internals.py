"""What hyperalign uses of DSPy beyond ``import dspy``; checked against DSPy 3.4.1.

DSPy does not promise to keep these names: with another version, look here first.
"""

# ruff: noqa: PLC0414 (re-exports)

from __future__ import annotations

from dspy._vendor.lm15.result import StreamAccumulator as StreamAccumulator
from dspy._vendor.lm15.serde import request_to_dict as request_to_dict
from dspy._vendor.lm15.serde import response_from_dict as response_from_dict
from dspy._vendor.lm15.serde import response_to_dict as response_to_dict
from dspy.clients._deprecation import adapter_message_call as adapter_message_call
from dspy.clients._http import retry_after_seconds as retry_after_seconds
from dspy.clients.base_lm import LM_CLASS_STATE_KEY as LM_CLASS_STATE_KEY
from dspy.clients.engines.litellm_engine import AsyncLiteLLMEngine as AsyncLiteLLMEngine
from dspy.clients.engines.litellm_engine import LiteLLMEngine as LiteLLMEngine
from dspy.clients.engines.litellm_errors import litellm_errors as litellm_errors
from dspy.clients.engines.streaming import EngineChunk as EngineChunk
from dspy.clients.errors import error_boundary as error_boundary
from dspy.clients.legacy_outputs import plain as plain
from dspy.clients.provider import Provider as Provider
from dspy.clients.provider import TrainingJob as TrainingJob
from dspy.lm15 import AuthError as AuthError
from dspy.lm15 import ContextLengthError as ContextLengthError
from dspy.lm15 import InvalidRequestError as InvalidRequestError
from dspy.lm15 import ProviderError as ProviderError
from dspy.lm15 import RateLimitError as RateLimitError
from dspy.lm15 import Request as Request
from dspy.lm15 import Response as Response
from dspy.lm15 import ServerError as ServerError
from dspy.lm15 import TextDelta as TextDelta
from dspy.lm15 import TimeoutError as TimeoutError
from dspy.lm15 import TransportError as TransportError
from dspy.lm15 import UnsupportedFeatureError as UnsupportedFeatureError
from dspy.lm15 import UnsupportedModelError as UnsupportedModelError
from dspy.lm15 import Usage as Usage
from dspy.lm15 import request_from_openai_chat as request_from_openai_chat
from dspy.lm15 import response_from_openai_chat as response_from_openai_chat
from dspy.lm15 import response_to_events as response_to_events
from dspy.streaming import StreamResponse as StreamResponse
from dspy.teleprompt import bootstrap as bootstrap
from dspy.utils import exceptions as exceptions
from dspy.utils.callback import ACTIVE_CALL_ID as ACTIVE_CALL_ID
from dspy.utils.callback import BaseCallback as BaseCallback
from dspy.utils.exceptions import AdapterParseError as AdapterParseError
from dspy.utils.exceptions import ContextWindowExceededError as ContextWindowExceededError
from dspy.utils.exceptions import LMError as LMError
from dspy.utils.exceptions import LMRateLimitError as LMRateLimitError
from dspy.utils.exceptions import LMServerError as LMServerError
from dspy.utils.exceptions import LMTransportError as LMTransportError
