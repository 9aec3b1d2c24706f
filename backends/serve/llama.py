"""Serves a base and its adapters from this machine: llama.cpp runs them, LiteLLM's proxy answers under their names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

from hyperalign.concurrency import Progress
from hyperalign.errors import TrainingError

from ..distill.adapters import Adapter
from ..distill.student import read_vocabulary
from ..gateway.litellm_proxy import APART, check_installed, proxy_config, run_proxy
from ..models.download import ensure_local
from ..models.gguf_file import GGUFFile
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
    progress: Progress | None = None,
) -> None:
    """Serve until interrupted.

    Args:
        adapters: of one base, which is a ``local:`` model.
        on_ready: told of the base address and the served names, once requests are answered.
        key: what clients send as a bearer token.
        host: the address to listen on.
        port: 0 takes any free one.
        progress: told of a download.

    Raises:
        InputError: the port is taken.
        TrainingError: an adapter is damaged, changes nothing, has other tokens than its base, or can't be served by
            llama.cpp.
        UnknownModelError: the base is not here any more.
        MissingExtraError: the proxy or llama.cpp is not installed.
        ModelServerError: the server does not start.
    """
    check_installed()
    loras = [read_lora(adapter.path) for adapter in adapters]
    base = loras[0].base
    known: list[str] = GGUFFile(ensure_local(base, progress), any_kind=True).tokenizer("ggml.tokens", [])
    for adapter in adapters:
        _check_tokens(adapter, known)
    with closing(LlamaServer(base, progress=progress, loras=loras)) as server:
        address = server.address()

        def called(chosen: int | None) -> dict[str, Any]:
            scales = [{"id": number, "scale": float(number == chosen)} for number in range(len(loras))]
            return {
                "model": f"openai/{base.served_name}",
                "api_base": address.base,
                "api_key": address.key,
                "extra_body": {"lora": scales},
            }

        # The base's name, as an adapter's card writes it.
        names = [adapters[0].card.base_name, *(lora.served_name for lora in loras)]
        models = {name: called(number - 1 if number else None) for number, name in enumerate(names)}
        models |= {lora.name: called(number) for number, lora in enumerate(loras)}
        config = proxy_config(models, [APART])
        tokens = server.control_tokens
        run_proxy(config, lambda found: on_ready(found, names), key=key, host=host, port=port, control_tokens=tokens)


def _check_tokens(adapter: Adapter, known: Sequence[str]) -> None:
    """Check that a base has the tokens that an adapter was trained with."""
    own = read_vocabulary(adapter.path / "tokenizer.json")
    differing = sum(known[number : number + 1] != [token] for token, number in (own or {}).items())
    if differing:
        raise TrainingError(
            f"The adapter {adapter.card.name} was trained with another vocabulary than {adapter.card.base} has: "
            f"{differing} tokens differ.",
            remedy="Restore the base's original tokenizer, or distill the adapter again.",
        )
