"""Where a vLLM server is, what it serves, and the key it wants; used to ask it and to score with it.

This file starts no server: people do, with ``vllm serve``.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

import httpx

from hyperalign.errors import ModelServerError

__all__ = ["Served", "error_message", "locate", "served_models", "vllm_address"]

_ADDRESS = "http://127.0.0.1:8000"
_ASK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Served:
    """A model on a vLLM server.

    Attributes:
        base: the address, with ``/v1``.
        model: its name there.
        api_key: what the server wants as a bearer token; None if nothing is known of one.
    """

    base: str
    model: str
    api_key: str | None


def locate(name: str, api_key: str | None = None) -> Served:
    """Find the model of ``vllm:<name>``.

    Args:
        name: an address, an address with ``#<model>``, or a model's name on the server of ``vllm_address``.
        api_key: instead of the environment's ``VLLM_API_KEY``.

    Raises:
        ModelServerError: the server had to be asked for its model, and does not answer or has none.
    """
    key = api_key or os.environ.get("VLLM_API_KEY")
    address, _, model = name.partition("#") if "://" in name else (vllm_address(), "", name)
    if not model:
        names = served_models(address, key)
        if not names:
            raise ModelServerError(
                f"The vLLM server at {_shown(address)} serves no model.", remedy="Start it with 'vllm serve MODEL'."
            )
        model = names[0]
    return Served(_base(address), model, key)


def vllm_address() -> str:
    """The address of the vLLM server for ``vllm:<model>``: ``HYPERALIGN_VLLM`` or port 8000 here."""
    return os.environ.get("HYPERALIGN_VLLM") or _ADDRESS


def served_models(address: str, api_key: str | None = None) -> list[str]:
    """The names that an OpenAI-compatible server serves.

    Args:
        address: with or without ``/v1``.
        api_key: sent as a bearer token.

    Raises:
        ModelServerError: it does not answer, or not as such a server would.
    """
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    try:
        response = httpx.get(f"{_base(address)}/models", headers=headers, timeout=_ASK_SECONDS)
        response.raise_for_status()
        return [str(model["id"]) for model in response.json()["data"]]
    # Not the error's own text: the address may hold a password.
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
        raise ModelServerError(
            f"No vLLM server answers at {_shown(address)} ({type(error).__name__}).",
            remedy="Start one with 'vllm serve MODEL', or check the address.",
        ) from error


def error_message(response: httpx.Response) -> str:
    """What a server says of a request that it refused, cut; its status where it says nothing."""
    try:
        body = response.json()
    except ValueError:
        return f"status {response.status_code}"
    error = body.get("error", body) if isinstance(body, dict) else body
    return str(error.get("message", error) if isinstance(error, dict) else error)[:300]


def _base(address: str) -> str:
    address = address.rstrip("/")
    return address if address.endswith("/v1") else f"{address}/v1"


def _shown(address: str) -> str:
    # Not parsed: what is no address at all must be shown too.
    return re.sub(r"//[^/\s]*@", "//", address)
