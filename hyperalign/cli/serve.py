"""``hyperalign serve``: serve distilled adapters with an OpenAI-compatible API."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from .options import ForceOption

if TYPE_CHECKING:
    from hyperalign.backends.distill.adapters import Adapter
    from hyperalign.backends.distill.student import Student

__all__ = ["serve"]


def serve(
    adapters: Annotated[Path, typer.Option("--adapters", help="A folder of adapters, or one adapter.")],
    engine: Annotated[
        str,
        typer.Option(
            "--engine", help="transformers answers one request at a time, vllm many. vllm needs its own environment."
        ),
    ] = "transformers",
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on. Other than loopback requires HYPERALIGN_SERVE_KEY.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port to listen on. 0 takes any free port.")
    ] = 8010,
    force: ForceOption = False,
) -> None:
    """Serve adapters and their base model under their names, until interrupted.

    It answers /v1/models and /v1/chat/completions. In Python, connect("adapter:NAME") reaches it.

    Example: hyperalign serve --adapters adapters/
    """
    import os

    from hyperalign.backends.distill.adapters import check_tokenizer, open_base
    from hyperalign.backends.serve.vllm_adapters import select_adapters
    from hyperalign.errors import InputError

    from .terminal import reporter

    engines = {"transformers": _serve_transformers, "vllm": _serve_vllm}
    if engine not in engines:
        raise InputError(f"There is no engine {engine!r}.", remedy=f"Choose one of: {', '.join(engines)}.")
    found = select_adapters(adapters, force=force)
    with reporter() as report:
        base = open_base(found[0].card, report.bytes)
    for adapter in found:
        check_tokenizer(adapter, base.path)
    key = os.environ.get("HYPERALIGN_SERVE_KEY", "")
    try:
        with _signals_as_interrupts():
            engines[engine](base, found[0].card.base_name, found, host, port, key)
    except KeyboardInterrupt:
        typer.echo("Ended.", err=True)


@contextmanager
def _signals_as_interrupts() -> Iterator[None]:
    """Treat the signal of a service manager or a closing terminal as Ctrl-C. Else vLLM would outlive this process."""

    def end(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise KeyboardInterrupt

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _serve_transformers(base: Student, name: str, adapters: list[Adapter], host: str, port: int, key: str) -> None:
    from hyperalign.backends.serve.multi_lora import MultiLoraModel
    from hyperalign.backends.serve.openai_server import create_server

    model = MultiLoraModel(base, name, adapters)
    server = create_server(model, host, port, key)
    _print_address(f"http://{host}:{server.server_address[1]}/v1", model.names)
    try:
        server.serve_forever()
    finally:
        server.server_close()


def _serve_vllm(base: Student, name: str, adapters: list[Adapter], host: str, port: int, key: str) -> None:
    from hyperalign.backends.serve.vllm import VLLMServer, find_vllm_python, fit_rank
    from hyperalign.backends.serve.vllm_adapters import VLLMClient, list_models, load_adapter

    server = VLLMServer(find_vllm_python(), base.path, name, host=host, port=port, key=key, rank=fit_rank(adapters))
    typer.echo(f"Starting vLLM; this takes a minute or more. Its log: {server.log}", err=True)
    with server:
        client = VLLMClient(server.address, key)
        for adapter in adapters:
            load_adapter(client, adapter)
        first, others = list_models(client)
        _print_address(f"{server.address}/v1", [first, *others])
        server.wait()


def _print_address(address: str, names: list[str]) -> None:
    from .show import plain

    typer.echo(f"Serving at {address}; Ctrl-C ends it.")
    for name in names:
        typer.echo(f"  {plain(name)}")
