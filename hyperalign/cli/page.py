"""``hyperalign page``: serve the page on which a user sees and changes what is believed of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import (
    DEFAULT_MODEL,
    DEFAULT_OPTIONS,
    EncoderOption,
    ModelOptions,
    StoreOption,
    model_options,
)
from .terminal import echo

if TYPE_CHECKING:
    from hyperalign.backends.gateway.page.background import Comparison

__all__ = ["can_write", "page"]

_LOOPBACK = "127.0.0.1"


@model_options()
def page(
    user: Annotated[str, typer.Option("--user", help="The user's id.")],
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port to listen on. 0 takes any free port.")
    ] = 8020,
    answers: Annotated[
        Path | None,
        typer.Option(
            "--answers", help='Answers to ask about: JSONL with "prompt" and "answers". Default: pairs that ship.'
        ),
    ] = None,
    days: Annotated[int, typer.Option("--days", min=1, max=365, help="Days for which the link can be opened.")] = 7,
    link: Annotated[
        str | None,
        typer.Option(
            "--link", metavar="ADDRESS", help="Print a link to a page that is served at this address, and exit."
        ),
    ] = None,
    models: ModelOptions = DEFAULT_OPTIONS,
    encoder: EncoderOption = None,
    store: StoreOption = None,
) -> None:
    """Serve a user's page on this machine, and print the signed link that opens it. Ctrl-C ends it.

    The page shows what is believed of them, on what evidence; they turn it off, correct it or have it forgotten there.

    Example: hyperalign page --user mira
    """
    import threading

    from hyperalign.backends.gateway.page.links import Links, load_secret
    from hyperalign.records import check_user
    from hyperalign.store import Store

    from .ask import read_answers

    user, secret = check_user(user), load_secret()
    links = Links(secret, link_age=days * 24 * 3600)
    if link is not None:
        echo(links.link(user, link))
        return

    import uvicorn

    from hyperalign.backends.gateway.litellm_proxy import listen
    from hyperalign.backends.gateway.page.app import page_app

    candidates = read_answers(answers) if answers is not None else None
    with Store(store) as opened:
        # Before anything is served: a store that can't be opened is said here.
        is_known = opened.person(user) is not None
    app = page_app(
        store,
        secret,
        answers=candidates,
        compare=_writer(models, encoder, store) if can_write(models) else None,
        encoder=encoder,
    )
    listening = listen(_LOOPBACK, port)
    address = f"http://{_LOOPBACK}:{listening.getsockname()[1]}"
    # Requests are not logged: the token of a link would stand in the log.
    server = uvicorn.Server(uvicorn.Config(app, access_log=False, log_level="warning", server_header=False))
    if not is_known:
        echo(f"Nothing is known of {user} yet; the page is empty.", err=True)
    echo(f"The page of {user}, for {days} day(s): {links.link(user, address)}")
    echo("Ctrl-C ends it.", err=True)
    try:
        server.run(sockets=[listening])
    finally:
        # A comparison may still be written; nobody waits for it any more.
        for thread in threading.enumerate():
            if thread.name.startswith("hyperalign-page"):
                thread.join(timeout=1)


def can_write(models: ModelOptions) -> bool:
    """Whether a model can write: one that was named, or the default one, if its file is here."""
    from hyperalign.backends.models.catalogue import find

    return models.model != DEFAULT_MODEL or find(DEFAULT_MODEL.removeprefix("local:")).path.is_file()


def _writer(models: ModelOptions, encoder: str | None, store: str | None) -> Callable[[str, str], Comparison]:
    """Answers a prompt for a user, without the profile and with it."""
    from hyperalign.backends.gateway.page.background import Comparison

    from .guided import read_records_of, write_guided
    from .session import read_person

    def write(user: str, prompt: str) -> Comparison:
        person = read_person(user, None, store)
        if person is None:
            return Comparison(prompt, "", "")
        records = read_records_of(user, person, store)
        reply, _ = write_guided(prompt, person, records, "medium", None, models, encoder, store, quiet=True)
        near, far = reply.distances
        note = f"By {models.model}."
        if far > 0 and near < far:
            note += (
                f" In what can be measured of style, the second answer is {1 - near / far:.0%} nearer to your texts."
            )
        return Comparison(prompt, reply.bare, reply.answer, note)

    return write
