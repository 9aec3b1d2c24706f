"""Where ``hyperalign serve`` listens, and under which name an adapter is served there.

This file starts no server: people do.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from hyperalign.errors import ModelServerError, UnknownModelError

from .vllm_server import Served, served_models

__all__ = ["adapters_address", "called", "locate_adapter"]

_ADDRESS = "http://127.0.0.1:8010"


def adapters_address() -> str:
    """The address of the adapters' server: ``HYPERALIGN_ADAPTERS`` or port 8010 here."""
    return os.environ.get("HYPERALIGN_ADAPTERS") or _ADDRESS


def called(name: str, served: Sequence[str]) -> list[str]:
    """Which of the names that a server lists are meant by one, with or without the hash of the weights."""
    return [each for each in served if each == name or each.rpartition("-")[0] == name]


def locate_adapter(name: str, api_key: str | None = None) -> Served:
    """Find the adapter of ``adapter:<name>``.

    Args:
        name: the adapter's name, with or without the hash of its weights.
        api_key: instead of the environment's ``HYPERALIGN_SERVE_KEY``.

    Returns:
        Where it is, under its name with the hash, so that no cache confuses two adapters of one name.

    Raises:
        ModelServerError: the server does not answer.
        UnknownModelError: it serves no such adapter.
    """
    key = api_key or os.environ.get("HYPERALIGN_SERVE_KEY")
    address = adapters_address()
    try:
        names = served_models(address, key)
    except ModelServerError as error:
        raise ModelServerError(
            "No server of adapters answers.",
            remedy="Start one with 'hyperalign serve --adapters FOLDER', or set HYPERALIGN_ADAPTERS to its address.",
        ) from error
    found = called(name, names)
    if not found:
        raise UnknownModelError(f"No adapter {name!r} is served.", remedy=f"There are: {', '.join(names)}.")
    base = address.rstrip("/")
    return Served(base if base.endswith("/v1") else f"{base}/v1", found[0], key)
