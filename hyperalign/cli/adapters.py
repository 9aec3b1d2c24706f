"""``hyperalign adapters`` and ``hyperalign serve``: list, judge, export and load distilled adapters, and serve them."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from .options import ForceOption, JsonOption
from .terminal import echo, print_json_text

if TYPE_CHECKING:
    from hyperalign.backends.distill.adapters import Adapter
    from hyperalign.backends.serve.vllm_adapters import VLLMClient

__all__ = ["app", "serve"]

_KEY = "HYPERALIGN_SERVE_KEY"

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="List, judge, export and load distilled adapters.")

FolderArgument = Annotated[Path, typer.Argument(help="Folder of the adapter.")]


@app.command("list")
def list_adapters(root: Annotated[Path, typer.Argument(help="A folder of adapters.")] = Path("adapters")) -> None:
    """List the adapters in a folder."""
    from hyperalign.backends.distill.adapters import find_adapters, open_adapter
    from hyperalign.errors import NotFoundError, TrainingError
    from hyperalign.text import plain

    from .terminal import make_table, print_rich

    folders = find_adapters(root)
    if not folders:
        raise NotFoundError(f"There is no adapter under {root}.", remedy="Make one: hyperalign distill --help")
    table = make_table("adapter", "base", "users", "method", "answers", "gate")
    for folder in folders:
        try:
            card = open_adapter(folder).card
        except TrainingError as error:
            table.add_row(plain(folder.name), "", "", "", "", plain(error.message))
            continue
        verdict = "not judged" if card.gate is None else "passed" if card.gate.passed else "failed"
        users = ", ".join(card.users)
        table.add_row(*(plain(cell) for cell in (card.name, card.base, users, card.method, str(card.traces), verdict)))
    print_rich(table)


@app.command()
def show(folder: FolderArgument, as_json: JsonOption = False) -> None:
    """Describe an adapter, and check that its files are complete and unchanged."""
    from hyperalign.backends.distill.adapters import open_adapter
    from hyperalign.text import plain

    adapter = open_adapter(folder)
    if as_json:
        print_json_text(adapter.card.model_dump_json(indent=2) + "\n")
        return
    echo("\n".join(plain(line) for line in (folder / "README.md").read_text(encoding="utf-8").splitlines()))
    if adapter.card.gate is not None:
        for name, value in adapter.card.gate.figures.items():
            echo(f"  {plain(name)}: {value:g}")
    echo(f"Digest of its manifest: {adapter.digest}")


@app.command()
def gate(folder: FolderArgument) -> None:
    """Judge an adapter on held-out prompts, by criteria that were fixed before training. Exit code 1 if it fails."""
    from hyperalign.backends.distill.adapters import open_adapter, open_base
    from hyperalign.backends.distill.distill import gate as judge

    from .terminal import reporter

    with reporter() as report:
        student = open_base(open_adapter(folder).card, report.bytes)
        verdict = judge(folder, student, report)
    for name, value in verdict.figures.items():
        echo(f"{name}: {value:g}")
    for reason in verdict.reasons:
        echo(f"Failed: {reason}")
    echo("Passed." if verdict.passed else "It will not be served unless forced.")
    if not verdict.passed:
        raise typer.Exit(1)


@app.command()
def export(
    folder: FolderArgument,
    out: Annotated[Path, typer.Option("--out", help="A new folder to write to.")],
    merge: Annotated[bool, typer.Option("--merge", help="Merge the adapter into its base model.")] = False,
) -> None:
    """Copy an adapter in the format of Hugging Face's libraries, or merged into its base model."""
    from hyperalign.backends.distill.adapters import export_adapter, open_adapter, open_base
    from hyperalign.backends.distill.probe import merge_adapter

    from .terminal import reporter

    adapter = open_adapter(folder)
    if not merge:
        export_adapter(adapter, out)
    else:
        with reporter() as report:
            merge_adapter(open_base(adapter.card, report.bytes), folder, out)
    echo(f"Written to {out}")


@app.command()
def load(folder: FolderArgument, force: ForceOption = False) -> None:
    """Load an adapter into a running 'serve --engine vllm'."""
    from hyperalign.backends.distill.adapters import open_adapter
    from hyperalign.backends.serve.vllm_adapters import check_gate, load_adapter

    adapter = open_adapter(folder)
    if not force:
        check_gate(adapter)
    seen = load_adapter(_client(), adapter)
    echo(f"Served as {adapter.served_name}; its answers are {seen.difference:.3f} nats a token off its base's.")


@app.command()
def unload(name: Annotated[str, typer.Argument(help="Name of the adapter, as the server lists it.")]) -> None:
    """Unload an adapter from a running 'serve --engine vllm'."""
    from hyperalign.backends.serve.vllm_adapters import unload_adapter
    from hyperalign.text import plain

    unload_adapter(_client(), name)
    echo(f"{plain(name)} is not served any more.")


def _client() -> VLLMClient:
    import os

    from hyperalign.backends.models.servers import adapters_address
    from hyperalign.backends.serve.vllm_adapters import VLLMClient

    return VLLMClient(adapters_address(), os.environ.get(_KEY, ""))


def serve(
    adapters: Annotated[Path, typer.Option("--adapters", help="A folder of adapters, or one adapter.")],
    engine: Annotated[
        str,
        typer.Option(
            "--engine", help="llama.cpp for one machine, vllm for many requests. vllm needs its own environment."
        ),
    ] = "llama.cpp",
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on. Other than loopback requires HYPERALIGN_SERVE_KEY.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port to listen on. 0 takes any free port.")
    ] = 8010,
    force: ForceOption = False,
) -> None:
    """Serve adapters and their base model under their names, until interrupted.

    Any OpenAI client reaches it with the key; in Python, connect("adapter:NAME") with HYPERALIGN_SERVE_KEY set.

    Example: hyperalign serve --adapters adapters/
    """
    import os

    from hyperalign.backends.serve.vllm import check_host
    from hyperalign.backends.serve.vllm_adapters import select_adapters
    from hyperalign.errors import InputError, remember_secret

    engines = {"llama.cpp": _serve_llama, "vllm": _serve_vllm}
    if engine not in engines:
        raise InputError(f"There is no engine {engine!r}.", remedy=f"Choose one of: {', '.join(engines)}.")
    found = select_adapters(adapters, force=force)
    key = os.environ.get(_KEY, "")
    check_host(host, key)
    remember_secret(key)
    try:
        with _signals_as_interrupts():
            engines[engine](found, host, port, key)
    except KeyboardInterrupt:
        echo("Ended.", err=True)


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


def _serve_llama(adapters: list[Adapter], host: str, port: int, key: str) -> None:
    import secrets

    from hyperalign.backends.models.download import ensure_local
    from hyperalign.backends.models.lora import read_lora
    from hyperalign.backends.serve.llama import serve_llama

    from .terminal import reporter

    new = "" if key else f"sk-{secrets.token_urlsafe(24)}"

    def ready(address: str, names: Sequence[str]) -> None:
        _print_address(address, names)
        if new:
            echo(f"Key of this run: {new}\nSet {_KEY} to keep one.")

    with reporter() as report:
        ensure_local(read_lora(adapters[0].path).base, report.bytes)
    serve_llama(adapters, ready, key=key or new, host=host, port=port)


def _serve_vllm(adapters: list[Adapter], host: str, port: int, key: str) -> None:
    from hyperalign.backends.distill.adapters import check_tokenizer, open_base
    from hyperalign.backends.serve.vllm import VLLMServer, find_vllm_python, fit_rank
    from hyperalign.backends.serve.vllm_adapters import VLLMClient, list_models, load_adapter

    from .terminal import reporter

    with reporter() as report:
        base = open_base(adapters[0].card, report.bytes)
    for adapter in adapters:
        check_tokenizer(adapter, base.path)
    name = adapters[0].card.base_name
    server = VLLMServer(find_vllm_python(), base.path, name, host=host, port=port, key=key, rank=fit_rank(adapters))
    echo(f"Starting vLLM; this takes a minute or more. Its log: {server.log}", err=True)
    with server:
        client = VLLMClient(server.address, key)
        for adapter in adapters:
            load_adapter(client, adapter)
        first, others = list_models(client)
        _print_address(f"{server.address}/v1", [first, *others])
        server.wait()


def _print_address(address: str, names: Sequence[str]) -> None:
    from hyperalign.text import plain

    echo(f"Serving at {address}; Ctrl-C ends it.")
    for name in names:
        echo(f"  {plain(name)}")
