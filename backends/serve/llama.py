"""Serves a base and its adapters from this machine: llama.cpp runs them, LiteLLM's proxy answers under their names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

from ..distill.adapters import Adapter
from ..gateway.litellm_proxy import APART, check_installed, listen, proxy_config, run_proxy, while_healthy
from ..models.llama_server import LlamaServer
from ..models.lora import read_lora

__all__ = ["serve_llama"]


def serve_llama(
    adapters: Sequence[Adapter],
    on_ready: Callable[[str, Sequence[str]], None] = lambda address, names: None,
    *,
    key: str,
    host: str = "127.0.0.1",
    port: int = 8010,
) -> None:
    """Serve until interrupted.

    Args:
        adapters: of one base, which is a ``local:`` model.
        on_ready: told of the base address and the served names, once requests are answered.
        key: what clients send as a bearer token.
        host: the address to listen on.
        port: 0 takes any free one.

    Raises:
        InputError: the port is taken.
        TrainingError: an adapter is damaged, changes nothing, does not fit its base, or can't be served by llama.cpp.
        UnknownModelError: the base is not here any more.
        DownloadError: the base could not be fetched.
        MissingExtraError: the proxy or llama.cpp is not installed.
        ModelServerError: llama.cpp does not start, or has ended.
    """
    check_installed("Serving adapters")
    loras = [read_lora(adapter.path) for adapter in adapters]
    with closing(LlamaServer(loras[0].base, loras=loras)) as server, closing(listen(host, port)) as listening:
        server.check()
        address = server.address()

        def called(chosen: int | None) -> dict[str, Any]:
            scales = [{"id": number, "scale": float(number == chosen)} for number in range(len(loras))]
            return {
                "model": f"openai/{loras[0].base.served_name}",
                "api_base": address.base,
                "api_key": address.key,
                "extra_body": {"lora": scales},
            }

        # The base's name, as an adapter's card writes it.
        names = [adapters[0].card.base_name, *(lora.served_name for lora in loras)]
        models = {name: called(number - 1 if number else None) for number, name in enumerate(names)}
        models |= {lora.name: called(number) for number, lora in enumerate(loras)}
        with while_healthy(address):
            run_proxy(
                proxy_config(models, [APART]),
                listening,
                lambda found: on_ready(found, names),
                key=key,
                host=host,
                control_tokens=server.control_tokens,
            )
