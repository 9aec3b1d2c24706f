"""``hyperalign mcp``: what is known of people as tools for agents, by the Model Context Protocol."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from .options import (
    DEFAULT_MODEL,
    DEFAULT_OPTIONS,
    EncoderOption,
    ModelOptions,
    RedactOption,
    StoreOption,
    UserOption,
    model_options,
)
from .terminal import echo

if TYPE_CHECKING:
    from hyperalign.profile import Profile
    from hyperalign.records import Record

__all__ = ["mcp"]

_KEY = "HYPERALIGN_MCP_KEY"
_LOOPBACK = "127.0.0.1"


@model_options()
def mcp(
    user: UserOption = None,
    http: Annotated[
        int | None,
        typer.Option(
            "--http",
            min=1,
            max=65535,
            metavar="PORT",
            help=f"Serve HTTP on this port of 127.0.0.1 in place of standard input and output. Clients send {_KEY}.",
        ),
    ] = None,
    models: ModelOptions = DEFAULT_OPTIONS,
    encoder: EncoderOption = None,
    redact: RedactOption = None,
    store: StoreOption = None,
) -> None:
    """Serve tools for agents: who, predict, rewrite, remember and forget. With --user, for one user alone.

    Without --model, rewrite returns the messages to send to the agent's own model.

    Example: hyperalign mcp --user mira
    """
    import os
    import secrets

    from hyperalign.backends.gateway.agents import agent_server, require_key
    from hyperalign.errors import remember_secret

    named = models.model != DEFAULT_MODEL
    server = agent_server(
        store,
        user=user,
        rewrite=_rewriter(models, encoder, store) if named else None,
        encoder=encoder,
        redact=redact,
    )
    if http is None:
        server.run()
        return
    import uvicorn

    key = os.environ.get(_KEY, "") or secrets.token_urlsafe(24)
    remember_secret(key)
    echo(f"Serving at http://{_LOOPBACK}:{http}/mcp; Ctrl-C ends it.")
    if not os.environ.get(_KEY):
        echo(f"Clients send the header 'Authorization: Bearer KEY'. Key of this run: {key}", err=True)
    app = require_key(server.streamable_http_app(host=_LOOPBACK), key)
    uvicorn.run(app, host=_LOOPBACK, port=http, access_log=False, log_level="warning", server_header=False)


def _rewriter(
    models: ModelOptions, encoder: str | None, store: str | None
) -> Callable[[Profile, Sequence[Record], str], str]:
    from hyperalign.programs.guided import REWRITE

    from .guided import write_guided

    def rewrite(person: Profile, records: Sequence[Record], text: str) -> str:
        asked = REWRITE.format(draft=text)
        reply, _ = write_guided(
            asked, person, list(records), "medium", None, models, encoder, store, draft=text, quiet=True
        )
        return str(reply.answer)

    return rewrite
