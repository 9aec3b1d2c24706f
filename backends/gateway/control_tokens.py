"""A hook for LiteLLM's proxy: no word of a conversation becomes a control token of the model behind it.

Kept apart: a config names it, and whoever needs it alone must not load profiles and their store.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from litellm.integrations.custom_logger import CustomLogger

from hyperalign.backends.models.control_tokens import keep_apart

from .litellm_proxy import CONTROL_TOKENS

if TYPE_CHECKING:
    from litellm.proxy._types import UserAPIKeyAuth

__all__ = ["Apart", "apart"]

_WORDS = ("messages", "system", "input", "instructions", "tools")
# What chooses an adapter, which the model's name does.
_CHOSEN = ("lora", "extra_body")


class Apart(CustomLogger):
    """LiteLLM's hook. The tokens are those that ``run_proxy`` was given."""

    async def async_pre_call_hook(
        self, user_api_key_dict: UserAPIKeyAuth, cache: Any, data: dict[str, Any], call_type: str
    ) -> dict[str, Any]:
        """Keep apart what a request says, in all interfaces that speak in turns.

        Raises:
            HTTPException: it asks for an adapter beside its model (400).
        """
        del user_api_key_dict, cache, call_type
        tokens = json.loads(os.environ.get(CONTROL_TOKENS) or "[]")
        if tokens:
            if odd := next((name for name in _CHOSEN if name in data), None):
                from fastapi import HTTPException

                raise HTTPException(400, f"'{odd}' is not taken: the model's name says which adapter answers.")
            data.update({name: keep_apart([data[name]], tokens)[0] for name in _WORDS if data.get(name)})
        return data


apart = Apart()
"""The hook that a proxy's config names."""
