"""``hyperalign serve``: distilled adapters behind an OpenAI-compatible address."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from hyperalign.backends.distill.adapters import Adapter
    from hyperalign.backends.distill.student import Student

__all__ = ["serve"]


def serve(
    adapters: Annotated[Path, typer.Option("--adapters", help="A folder of adapters, or one adapter.")],
    engine: Annotated[
        str,
        typer.Option(
            "--engine", help="transformers, one request at a time, or vllm, many at once, for which see docs."
        ),
    ] = "transformers",
    host: Annotated[
        str, typer.Option("--host", help="Where to listen; beyond this machine only with HYPERALIGN_SERVE_KEY set.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes any free one.")] = 8010,
    force: Annotated[bool, typer.Option("--force", help="Also adapters that the gate failed or never saw.")] = False,
) -> None:
    """Serve adapters and their base under their names, until interrupted.

    It speaks OpenAI's wire: /v1/models and /v1/chat/completions. In Python, connect("adapter:NAME") asks it.
    """
    import os

    from hyperalign.backends.distill.adapters import check_tokenizer, open_base
    from hyperalign.backends.serve.vllm_adapters import choose_adapters
    from hyperalign.errors import InputError

    from .terminal import reporter

    engines = {"transformers": _transformers, "vllm": _vllm}
    if engine not in engines:
        raise InputError(f"There is no engine {engine!r}.", remedy=f"Choose one of: {', '.join(engines)}.")
    found = choose_adapters(adapters, force=force)
    with reporter() as report:
        base = open_base(found[0].card, report.bytes)
    for adapter in found:
        check_tokenizer(adapter, base.path)
    try:
        with _ended_as_by_hand():
            engines[engine](
                base, found[0].card.base_name, found, host, port, os.environ.get("HYPERALIGN_SERVE_KEY", "")
            )
    except KeyboardInterrupt:
        typer.echo("Ended.", err=True)


@contextmanager
def _ended_as_by_hand() -> Iterator[None]:
    """A service manager's or a closing terminal's signal ends it as Ctrl-C does: vLLM would live on without it."""

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


def _transformers(base: Student, name: str, adapters: list[Adapter], host: str, port: int, key: str) -> None:
    from hyperalign.backends.serve.multi_lora import MultiLoraModel
    from hyperalign.backends.serve.openai_server import listen

    voices = MultiLoraModel(base, name, adapters)
    server = listen(voices, host, port, key)
    _say(f"http://{host}:{server.server_address[1]}/v1", voices.names)
    try:
        server.serve_forever()
    finally:
        server.server_close()


def _vllm(base: Student, name: str, adapters: list[Adapter], host: str, port: int, key: str) -> None:
    from hyperalign.backends.serve.vllm import VLLMServer, find_vllm, rank_room
    from hyperalign.backends.serve.vllm_adapters import Running, list_models, load_adapter

    server = VLLMServer(find_vllm(), base.path, name, host=host, port=port, key=key, rank=rank_room(adapters))
    typer.echo(f"Starting vLLM; this takes a minute or more. Its log: {server.log}", err=True)
    with server:
        running = Running(server.address, key)
        for adapter in adapters:
            load_adapter(running, adapter)
        first, others = list_models(running)
        _say(f"{server.address}/v1", [first, *others])
        server.run()


def _say(where: str, names: list[str]) -> None:
    from .show import plain

    typer.echo(f"Serving at {where}; Ctrl-C ends it.")
    for name in names:
        typer.echo(f"  {plain(name)}")
