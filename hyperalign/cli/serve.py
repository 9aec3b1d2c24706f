"""``hyperalign serve``: distilled adapters behind an OpenAI-compatible address."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["serve"]


def serve(
    adapters: Annotated[Path, typer.Option("--adapters", help="A folder of adapters, or one adapter.")],
    host: Annotated[
        str, typer.Option("--host", help="Where to listen; beyond this machine only with HYPERALIGN_SERVE_KEY set.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes any free one.")] = 8010,
    force: Annotated[bool, typer.Option("--force", help="Also adapters that the gate failed or never saw.")] = False,
) -> None:
    """Serve adapters and their base under their names, until interrupted.

    It speaks OpenAI's wire: /v1/models and /v1/chat/completions, answered by transformers, one request at a time.
    In Python, connect("adapter:NAME") asks it.
    """
    import os

    from hyperalign.backends.serving.choose import choose_adapters
    from hyperalign.backends.serving.voices import Voices
    from hyperalign.backends.serving.wire import listen
    from hyperalign.backends.training.adapters import open_base

    from .show import plain
    from .terminal import reporter

    found = choose_adapters(adapters, force=force)
    card = found[0].card
    with reporter() as report:
        student = open_base(card, report.bytes)
        base = f"{Path(card.base.partition(':')[2] or card.base).stem}-{card.base_sha256[:8]}"
        voices = Voices(student, base, found)
    server = listen(voices, host, port, os.environ.get("HYPERALIGN_SERVE_KEY", ""))
    where = f"http://{host}:{server.server_address[1]}/v1"
    typer.echo(f"Serving at {where}; Ctrl-C ends it.")
    for name in voices.names:
        typer.echo(f"  {plain(name)}")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        typer.echo("Ended.", err=True)
    finally:
        server.server_close()
