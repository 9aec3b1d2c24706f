"""The hook for LiteLLM's proxy: it puts a person's profile before their chat completions, and notes what was answered.

A proxy's config needs two lines::

    litellm_settings:
      callbacks: hyperalign.backends.gateway.personalize

Settings are environment variables; ``GatewaySettings`` has their names. The proxy also gets ``POST /v1/feedback``.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hyperalign.errors import MissingExtraError, StorageError

from .assignment import conversation_of, deal, text_of, turns_of, user_texts
from .feedback import add_routes
from .people import find_user, in_front
from .service import GatewaySettings, Service, check_binding
from .tables import Arm, Exchange

try:
    from litellm.integrations.custom_logger import CustomLogger
except ImportError as error:  # pragma: no cover  # LiteLLM is always installed; this names what is broken
    raise MissingExtraError("The gateway", "gateway") from error

if TYPE_CHECKING:
    from litellm.proxy._types import UserAPIKeyAuth

__all__ = ["Personalize", "personalize"]

_CHAT = frozenset(("completion", "acompletion"))
_ANTHROPIC = frozenset(("anthropic_messages", "aanthropic_messages"))
_RESPONSES = frozenset(("responses", "aresponses"))
_PROXY = "litellm.proxy.proxy_server"
_MOST_OPEN = 20_000
_MOST_TEXT = 100_000
# Others may serve a model whose template takes one system turn, at the beginning.
_TAKE_MORE = frozenset(("openai", "azure", "anthropic", "gemini", "vertex_ai", "vertex_ai_beta", "bedrock"))
_log = logging.getLogger(__name__)


class Personalize(CustomLogger):
    """LiteLLM's hook. Nothing is opened before the first request.

    Args:
        settings: how to personalize; those of the environment if None.
    """

    def __init__(self, settings: GatewaySettings | None = None) -> None:
        super().__init__()
        self._settings = settings
        self._service: Service | None = None
        self._opening: asyncio.Lock | None = None
        self._open: OrderedDict[str, Exchange] = OrderedDict()
        self._merges: dict[str, bool] = {}

    async def service(self) -> Service:
        """What the hook works with; opened once.

        Raises:
            StorageError: the store could not be opened.
            InputError: a setting is wrong.
        """
        if self._service is None:
            self._opening = self._opening or asyncio.Lock()
            async with self._opening:
                if self._service is None:
                    settings = self._settings or GatewaySettings.from_environment()
                    self._service = await asyncio.to_thread(_open, settings)
        return self._service

    async def async_pre_call_hook(
        self, user_api_key_dict: UserAPIKeyAuth, cache: Any, data: dict[str, Any], call_type: str
    ) -> dict[str, Any]:
        """Put the profile before a chat completion. A request of nobody who is known stays as it is.

        Args:
            user_api_key_dict: whose key it is; one that is bound to a person speaks for nobody else.
            cache: the proxy's.
            data: the request, which is changed.
            call_type: what is asked for; only chat is personalized.

        Raises:
            HTTPException: the key is bound to another person (403).
        """
        del cache
        if call_type not in _CHAT | _ANTHROPIC | _RESPONSES:
            return data
        headers = _headers(data)
        service = await self.service()
        user = find_user(data, headers, service.settings.user_headers)
        user = check_binding(user_api_key_dict, user)
        if user is None:
            return data
        try:
            person = await service.people.find(user)
        except StorageError as error:
            # An answer without a profile is better than none.
            _log.warning("%s Requests are answered without profiles.", error.message)
            return data
        if person is None:
            return data
        texts = user_texts(turns_of(data))
        turn = person.turn(texts, service.strategy, service.settings.max_tokens)
        if not turn:
            return data
        conversation = conversation_of(data, headers)
        arm = _arm(service, user, conversation, headers, switched_off=bool(person.switched_off))
        if arm in ("on", "forced_on"):
            self._put_in_front(data, turn, call_type)
        call = data.get("litellm_call_id")
        if isinstance(call, str) and call:
            prompt = texts[-1][:_MOST_TEXT] if texts and service.settings.keep_days else ""
            self._open[call] = Exchange(call, "", user, conversation, arm, person.version, prompt)
            while len(self._open) > _MOST_OPEN:
                self._open.popitem(last=False)
        return data

    async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        """Note that a request was answered."""
        del start_time, end_time
        begun = self._open.pop(str(kwargs.get("litellm_call_id")), None)
        if begun is None or self._service is None:
            return
        answer = _answer_of(response_obj)[:_MOST_TEXT] if self._service.settings.keep_days else ""
        self._service.writer.note(replace(begun, response=str(_field(response_obj, "id") or ""), answer=answer))

    async def async_log_failure_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        """Drop what was begun for a request that failed."""
        del response_obj, start_time, end_time
        self._open.pop(str(kwargs.get("litellm_call_id")), None)

    def _put_in_front(self, data: dict[str, Any], turn: str, call_type: str) -> None:
        if call_type in _RESPONSES:
            data["instructions"] = "\n\n".join(part for part in (turn, data.get("instructions")) if part)
            return
        if call_type in _CHAT:
            messages = data.get("messages")
            if isinstance(messages, list):
                data["messages"] = in_front(messages, turn, merged=self._merges_system(str(data.get("model"))))
            return
        given = data.get("system")
        parts = [{"type": "text", "text": given}] if isinstance(given, str) and given else list(given or ())
        data["system"] = [{"type": "text", "text": turn}, *parts]

    def _merges_system(self, model: str) -> bool:
        """Whether a model may take one system turn alone."""
        if model not in self._merges:
            self._merges[model] = _may_take_one_system(model)
        return self._merges[model]


def _open(settings: GatewaySettings) -> Service:
    service = Service(settings)
    if _PROXY in sys.modules:
        # What the proxy has loaded stays: each full collection went through all of it, a tenth of the proxy's time.
        gc.collect()
        gc.freeze()
    return service


def _headers(data: Mapping[str, Any]) -> Mapping[str, str]:
    """The headers of a request to the proxy, names in lower case; the proxy has taken keys out of them."""
    request = data.get("proxy_server_request")
    headers = request.get("headers") if isinstance(request, Mapping) else None
    return {str(name).lower(): str(value) for name, value in headers.items()} if isinstance(headers, Mapping) else {}


def _arm(service: Service, user: str, conversation: str, headers: Mapping[str, str], *, switched_off: bool) -> Arm:
    asked = headers.get("x-hyperalign-profile", "").strip().lower()
    if asked in ("on", "off"):
        return "forced_on" if asked == "on" else "forced_off"
    return "switched_off" if switched_off else deal(service.key, user, conversation, service.settings.holdout)


def _may_take_one_system(model: str) -> bool:
    proxy = sys.modules.get(_PROXY)
    router = getattr(proxy, "llm_router", None)
    deployments = router.get_model_list(model_name=model) if router is not None else None
    import litellm

    for each in deployments or ():
        called = each.get("litellm_params") or {}
        try:
            provider = litellm.get_llm_provider(called.get("model"), api_base=called.get("api_base"))[1]
        except Exception:
            return True
        if provider not in _TAKE_MORE or (provider == "openai" and called.get("api_base")):
            return True
    return not deployments


def _field(found: Any, name: str) -> Any:
    return found.get(name) if isinstance(found, Mapping) else getattr(found, name, None)


def _answer_of(response: Any) -> str:
    choices = _field(response, "choices")
    if choices:
        return text_of(_field(_field(choices[0], "message"), "content"))
    # Of the Responses interface.
    if isinstance(output := _field(response, "output"), list):
        items = (_field(each, "content") for each in output if _field(each, "type") == "message")
        return "\n".join(str(_field(part, "text") or "") for item in items for part in item or ())
    content = _field(response, "content")  # Anthropic's
    return text_of(content) if isinstance(content, list) else ""


personalize = Personalize()
"""The hook that a proxy's config names."""

if (_proxy := sys.modules.get(_PROXY)) is not None:
    # Imported by a proxy that reads its config: it gets our routes, too.
    add_routes(_proxy.app, personalize.service)
