"""``hyperalign gateway``: a personal endpoint in front of any model, feedback on its answers, and whether it helps."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from .options import (
    DEFAULT_OPTIONS,
    EncoderOption,
    JsonOption,
    ModelOptions,
    RedactOption,
    StatementsOption,
    StoreOption,
    UserArgument,
    model_options,
)
from .terminal import echo

if TYPE_CHECKING:
    from hyperalign.backends.gateway.outcomes import Outcomes
    from hyperalign.evals.sequential import Comparison
    from hyperalign.store import Store

__all__ = ["app"]

_KEY = "HYPERALIGN_GATEWAY_KEY"
_ENDS = "HYPERALIGN_ENDS_WITH_PARENT"
_QUIET_SECONDS = 20.0
_RETRY_SECONDS = 300.0
_LOOK_SECONDS = 2.0
_DAY_SECONDS = 86_400.0


class _Gateway(TyperGroup):
    """The group of commands; without the name of one it starts the gateway."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Insert ``start`` where options alone are given."""
        asks_help = any(each in ("--help", "-h") for each in args[:1])
        if not asks_help and (not args or args[0].startswith("-")):
            args = ["start", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_Gateway,
    rich_markup_mode=None,
    help="Serve a model that answers each user as they would want, to any OpenAI client. Without a command it starts.",
)


@app.command()
@model_options()
def start(
    holdout: Annotated[
        float,
        typer.Option(
            "--holdout", min=0, max=0.9, help="Share of conversations without the profile, to see if it helps."
        ),
    ] = 0.0,
    host: Annotated[
        str, typer.Option("--host", help=f"Address to listen on. Other than loopback requires {_KEY}.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port to listen on. 0 takes any free port.")
    ] = 4000,
    profile_tokens: Annotated[
        int, typer.Option("--profile-tokens", min=50, help="The most tokens to spend on a profile.")
    ] = 800,
    user_header: Annotated[
        list[str] | None,
        typer.Option("--user-header", metavar="NAME", help="Header that names the user. Repeatable; the first counts."),
    ] = None,
    page_host: Annotated[
        list[str] | None, typer.Option("--page-host", metavar="NAME", help="Host name of people's pages. Repeatable.")
    ] = None,
    keep_days: Annotated[
        float, typer.Option("--keep-days", min=0, help="Days to keep prompts and answers, for corrections by id.")
    ] = 7.0,
    learns: Annotated[
        bool, typer.Option("--learn/--no-learn", help="Update profiles from feedback in the background, by --model.")
    ] = True,
    models: ModelOptions = DEFAULT_OPTIONS,
    statements: StatementsOption = True,
    redact: RedactOption = None,
    encoder: EncoderOption = None,
    store: StoreOption = None,
) -> None:
    """Start the gateway, until interrupted. People's pages are at /me; "hyperalign page --link" prints links to them.

    Requests name their user in "user", or in the header x-hyperalign-user. Those of unknown users pass unchanged.

    Example: hyperalign gateway --model anthropic/NAME --holdout 0.3
    """
    from hyperalign.backends.gateway.litellm_proxy import check_installed
    from hyperalign.backends.gateway.people import USER_HEADERS
    from hyperalign.backends.gateway.proxy import PAGES, run_gateway
    from hyperalign.backends.gateway.service import GatewaySettings
    from hyperalign.store import Store

    check_installed()
    key, is_new = _find_key(host)
    headers, hosts = tuple(name.strip().lower() for name in user_header or ()), page_host or ()
    settings = GatewaySettings(
        store=store,
        holdout=holdout,
        max_tokens=profile_tokens,
        keep_days=keep_days,
        user_headers=headers or USER_HEADERS,
    )
    # An unusable store or model is said before the proxy is loaded, which takes long.
    Store(store).close()
    lm = models.connect()

    def ready(address: str) -> None:
        echo(f"{models.model} answers each user as they would want, at {address}; Ctrl-C ends it.")
        if holdout:
            echo(f"{holdout:.0%} of conversations are answered without the profile: hyperalign gateway report")
        echo(f"A user's page: hyperalign page --user NAME --link {address.removesuffix('/v1')}{PAGES}")
        if is_new:
            echo(f"Key of this run: {key}\nSet {_KEY} to keep one.")

    with _learner(models, store, statements=statements, redact=redact, keep_days=keep_days, is_wanted=learns):
        run_gateway(
            models.model, lm.target, settings, ready, key=key, host=host, port=port, page_hosts=hosts, encoder=encoder
        )


def _find_key(host: str) -> tuple[str, bool]:
    """The key that clients send, and whether it is new."""
    import secrets

    from hyperalign.backends.gateway.litellm_proxy import is_loopback
    from hyperalign.errors import InputError, remember_secret

    key = os.environ.get(_KEY) or os.environ.get("LITELLM_MASTER_KEY")
    if key:
        remember_secret(key)
        return key, False
    if not is_loopback(host):
        raise InputError(
            f"{host} can be reached from elsewhere, and there is no key.",
            remedy=f"Set {_KEY}, or listen on 127.0.0.1.",
        )
    return f"sk-{secrets.token_urlsafe(24)}", True


@contextmanager
def _learner(
    models: ModelOptions,
    store: str | None,
    *,
    statements: bool,
    redact: bool | None,
    keep_days: float,
    is_wanted: bool,
) -> Iterator[None]:
    """A process of its own that learns, so that requests need not wait; it ends with this one, even by kill -9."""
    if not is_wanted:
        yield
        return
    command = [
        *_own_command("gateway", "learn"),
        "--watch",
        *_model_arguments(models),
        "--keep-days",
        f"{keep_days:g}",
        "--statements" if statements else "--no-statements",
        *([] if redact is None else ["--redact" if redact else "--no-redact"]),
        *(["--store", store] if store else []),
    ]
    process = subprocess.Popen(  # noqa: S603
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env={**os.environ, _ENDS: "1"},
        start_new_session=True,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _own_command(*arguments: str) -> list[str]:
    return [sys.executable, "-P", "-c", "from hyperalign.cli import main; main()", *arguments]


def _model_arguments(models: ModelOptions) -> list[str]:
    """The options that make the same model; headers stay in the environment, where nobody else reads them."""
    caps = ("max_calls", "max_tokens", "max_usd")
    given = {**models.identity(), "concurrency": models.concurrency, "timeout": models.timeout}
    given |= {name: getattr(models, name) for name in caps}
    if not models.is_own:
        given["api_version"] = models.api_version
    return [
        part
        for name, value in given.items()
        if value is not None
        for part in (f"--{name.replace('_', '-')}", str(value))
    ]


@app.command()
@model_options()
def learn(
    watch: Annotated[bool, typer.Option("--watch", help="Go on, and learn from what comes.")] = False,
    keep_days: Annotated[
        float, typer.Option("--keep-days", min=0, help="Delete prompts and answers that are older than these days.")
    ] = 7.0,
    models: ModelOptions = DEFAULT_OPTIONS,
    statements: StatementsOption = True,
    redact: RedactOption = None,
    store: StoreOption = None,
) -> None:
    """Learn from the feedback that waits: add it to the users' records, and update their profiles.

    Where a user's own outcomes show that the profile does not help, it is switched off for them.

    Example: hyperalign gateway learn --model anthropic/NAME
    """
    from hyperalign.backends.gateway.outcomes import Outcomes
    from hyperalign.store import Store

    if os.environ.get(_ENDS):
        _end_with_parent()
    place = ["--store", store] if store else []
    asked = [*_model_arguments(models), "--statements" if statements else "--no-statements", *place]
    later: dict[str, float] = {}
    cleaned = 0.0
    with closing(Outcomes(store)) as outcomes, Store(store) as opened:
        while True:
            if time.monotonic() - cleaned > _DAY_SECONDS or not cleaned:
                outcomes.forget_texts(keep_days)
                cleaned = time.monotonic()
            for user in _due(outcomes, later, watch=watch):
                _learn_from(opened, outcomes, user, redact, asked, later)
            if not watch:
                return
            time.sleep(_LOOK_SECONDS)


def _end_with_parent() -> None:
    """End when whoever started this process has ended; standard input is then at its end."""
    import signal
    import threading

    def wait() -> None:
        os.read(0, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def _due(outcomes: Outcomes, later: dict[str, float], *, watch: bool) -> list[str]:
    """Whom to learn from now: who has not said anything for a moment, and whose last update did not fail just now."""
    from datetime import UTC, datetime

    now = datetime.now(UTC)
    return [
        user
        for user, last in outcomes.waiting().items()
        if not watch or ((now - last).total_seconds() > _QUIET_SECONDS and later.get(user, 0.0) < time.monotonic())
    ]


def _learn_from(
    store: Store, outcomes: Outcomes, user: str, redact: bool | None, asked: Sequence[str], later: dict[str, float]
) -> None:
    from functools import partial

    from hyperalign.backends.gateway.feedback import switch_where_useless, teach
    from hyperalign.backends.gateway.tables import Taught

    from .session import redact_records

    new = teach(store, outcomes, user, clean=partial(redact_records, redact=redact))
    known = [said.id for said in outcomes.feedback(user, before=Taught.LEARNED)]
    if why := switch_where_useless(outcomes, user):
        echo(f"The profile of {user} is switched off: {why}")
    if store.records(user):
        # Only what no update has read is read, so that a kill here loses nothing and nothing counts twice.
        done = subprocess.run(  # noqa: S603
            [*_own_command("update", "--user", user), *asked], stdin=subprocess.DEVNULL, check=False
        )
        if done.returncode:
            later[user] = time.monotonic() + _RETRY_SECONDS
            echo(f"Feedback of {user} was not learned from yet (exit code {done.returncode}).", err=True)
            return
    outcomes.mark_taught(user, known, Taught.LEARNED)
    echo(f"{user}: {len(known)} piece(s) of feedback, {new} new record(s).")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="Open WebUI's export of feedback, a JSON file.")],
    name: Annotated[str, typer.Option("--name", help="What names a user: email, name or id.")] = "email",
    store: StoreOption = None,
) -> None:
    """Import feedback from Open WebUI: thumbs, and choices between answers to one message."""
    from hyperalign.backends.gateway.feedback import read_open_webui
    from hyperalign.backends.gateway.outcomes import Outcomes
    from hyperalign.errors import InputError, UserIdError
    from hyperalign.records import check_user

    try:
        parsed = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{file} can't be read as JSON.", remedy="Export feedback under Admin, Evaluations."
        ) from error
    said, odd = [], 0
    for each in read_open_webui(parsed, name=name):
        try:
            said.append(each.to_said(check_user(each.user or "")))
        except UserIdError:
            odd += 1
    with closing(Outcomes(store)) as outcomes:
        outcomes.keep(said=said)
    if odd:
        echo(f"Passed over {odd} of users whose {name} is no valid id.", err=True)
    echo(f"Kept {len(said)} piece(s) of feedback of {len({each.user for each in said})} user(s).")


@app.command()
def report(
    user: Annotated[str | None, typer.Option("--user", help="Report on this user alone.")] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Report whether profiles help: outcomes with the profile on against off.

    The interval holds at any time: look as often as you like.
    """
    from hyperalign.backends.gateway.feedback import compare_arms
    from hyperalign.backends.gateway.outcomes import Outcomes
    from hyperalign.evals.statistics import as_json as to_json

    from .terminal import print_json

    with closing(Outcomes(store)) as outcomes:
        found = compare_arms(outcomes.outcomes(user))
        off = {who: why for who, why in outcomes.switched_off().items() if user in (None, who)}
    if as_json:
        print_json({"comparisons": {kind: to_json(each) for kind, each in found.items()}, "switched_off": off})
        return
    _print_report(found)
    for who, why in off.items():
        echo(f"Switched off for {who}: {why}")


def _print_report(found: dict[str, Comparison]) -> None:
    from .terminal import make_table, print_rich

    whole = found["all"]
    if not whole.n_on + whole.n_off:
        echo("No outcome yet: start with --holdout 0.3, and send thumbs or corrections to /v1/feedback.")
        return
    table = make_table("", numbers=("on", "off", "mean on", "mean off", "difference", "95 % at any time"))
    for kind, each in found.items():
        if each.n_on + each.n_off:
            means = ["-" if math.isnan(mean) else f"{mean:.2f}" for mean in (each.mean_on, each.mean_off)]
            apart = "-" if math.isnan(each.difference) else f"{each.difference:+.2f}"
            ends = f"{each.low:+.2f} to {each.high:+.2f}"
            table.add_row(kind if kind == "all" else f"{kind}s", str(each.n_on), str(each.n_off), *means, apart, ends)
    print_rich(table)
    said = {
        "helps": "Profiles help.",
        "harms": "Profiles do harm: answers without them fare better.",
        "open": "It is open whether profiles help: the interval holds 0.",
    }
    echo(said[whole.verdict])


@app.command()
def switch(
    user: UserArgument,
    on: Annotated[bool, typer.Option("--on/--off", help="Use the profile, or answer as without it.")],
    store: StoreOption = None,
) -> None:
    """Switch a user's profile on or off in the gateway. Records and versions stay."""
    from hyperalign.backends.gateway.outcomes import Outcomes

    with closing(Outcomes(store)) as outcomes:
        outcomes.switch(user, "" if on else "switched off by hand")
    echo(f"The profile of {user} is {'on' if on else 'off'}.")
