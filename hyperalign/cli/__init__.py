"""The command line: registers the commands, and turns errors into a message and an exit code.

Exit codes: 0 done, 1 unexpected error, 2 wrong usage, 3 bad input, 4 not found, 5 a model or an optional package cannot
be used, 6 budget reached, 7 disk or database, 129 hung up, 130 interrupted, 143 terminated.
"""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from . import adapters, config, gateway, models, optimize, profile, records
from .adapters import serve
from .answer import deliberate, generate, judge
from .ask import ask
from .audit import audit
from .demo import demo
from .distill import distill
from .doctor import doctor
from .eval import compare, eval_
from .fit import fit
from .guided import rewrite
from .mcp import mcp
from .page import page
from .terminal import echo
from .update import update

__all__ = ["app", "ending_like_interrupts", "main"]

_INTERRUPTED = 130
_SIGNALED = 128
_GC_THRESHOLD = 20_000
_INTERRUPTED_MESSAGE = "Interrupted. What is done is saved: run the same command again to go on."

_HELP = "hyperalign.help"


class _Commands(TyperGroup):
    """The commands. It records whether help was requested, which a command's context cannot tell."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Record it and parse the arguments."""
        ctx.meta[_HELP] = "--help" in args
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Fit a language model to one person: learn a profile, test each statement in it, answer as they would want.",
    epilog="Exit codes: 2 usage, 3 bad input, 4 not found, 5 model or missing part, 6 budget, 7 disk, 130 interrupted, "
    "143 terminated.",
)
app.command()(demo)
app.command()(fit)
app.command()(update)
app.command()(generate)
app.command()(rewrite)
app.command()(judge)
app.command()(deliberate)
app.command()(audit)
app.command()(ask)
app.command("eval")(eval_)
app.command()(compare)
app.add_typer(optimize.app, name="optimize")
app.command()(distill)
app.command()(serve)
app.add_typer(gateway.app, name="gateway")
app.command()(page)
app.command()(mcp)
app.add_typer(profile.app, name="profile")
app.add_typer(records.app, name="records")
app.add_typer(models.app, name="models")
app.add_typer(adapters.app, name="adapters")
app.add_typer(config.app, name="config")
app.command()(doctor)


def _version(asked: bool) -> None:
    if asked:
        from hyperalign import __version__

        echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks. Same as HYPERALIGN_DEBUG=1.")] = False,
) -> None:
    del version, debug  # version has its callback, and main reads debug
    if not context.meta[_HELP]:
        from hyperalign.files import narrow_own_folders

        narrow_own_folders()
    # Help and the commands that repair a settings file must work when the file is invalid.
    if context.invoked_subcommand not in ("config", "doctor") and not context.meta[_HELP]:
        context.default_map = config.default_map(context.command)


def main() -> None:
    """Run the command line. Expected errors are shown as a sentence and a remedy."""
    # LiteLLM makes a million lasting objects. Python's default threshold would add a fifth to its loading time.
    gc.set_threshold(_GC_THRESHOLD)
    # What libraries and child processes write is for this user alone, too.
    os.umask(0o077)
    arguments = sys.argv[1:]
    debug = bool(os.environ.get("HYPERALIGN_DEBUG"))
    # --debug may stand anywhere, because users append it after an error.
    if "--debug" in arguments and "--" not in arguments:
        debug, arguments = True, [argument for argument in arguments if argument != "--debug"]
    ended_by: list[int] = []
    try:
        with ending_like_interrupts() as ended_by:
            code = app(arguments, prog_name="hyperalign", standalone_mode=False)
        if code == _INTERRUPTED:
            # typer turns Ctrl-C into this code without a message.
            code = _say(_INTERRUPTED_MESSAGE, _INTERRUPTED)
    except typer.TyperException as error:
        shown = io.StringIO()
        error.show(file=shown)  # type: ignore[attr-defined]  # declared by every subclass that the parser raises
        echo(shown.getvalue(), err=True, nl=False)
        code = error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        code = _say(_INTERRUPTED_MESSAGE, _INTERRUPTED)
    except SystemExit as end:
        # typer and rich exit when the reader of a pipe, such as head, has closed it. That is no error.
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        code = 0
    except Exception as error:
        if debug:
            sys.excepthook = _trace
            raise
        code = _explain(error)
    if code == _INTERRUPTED:
        code = _SIGNALED + ended_by[0] if ended_by else code
        _leave_calls(code)
    sys.exit(code if isinstance(code, int) else 0)


@contextmanager
def ending_like_interrupts() -> Iterator[list[int]]:
    """Let SIGTERM and SIGHUP end what is inside as Ctrl-C does, so that what is done is kept; yields what came."""
    came: list[int] = []

    def interrupt(number: int, frame: object) -> None:
        del frame
        came.append(number)
        raise KeyboardInterrupt

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    is_main = threading.current_thread() is threading.main_thread()
    # One that is ignored stays so: nohup ignores SIGHUP.
    set_here = [number for number in numbers if is_main and signal.getsignal(number) is signal.SIG_DFL]
    for number in set_here:
        signal.signal(number, interrupt)
    try:
        yield came
    finally:
        for number in set_here:
            signal.signal(number, signal.SIG_DFL)


def _leave_calls(code: int) -> None:
    """Exit at once if a call is running: the interpreter would wait for a server that may never answer."""
    if any(thread.name.startswith("hyperalign") for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _trace(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print the traceback without the secrets that a server may have repeated in its message."""
    import traceback

    from hyperalign.privacy import scrub

    echo(scrub("".join(traceback.format_exception(kind, error, trace))), err=True, nl=False)


def _explain(error: Exception) -> int:
    from hyperalign.errors import HyperalignError

    if isinstance(error, HyperalignError):
        return _say(f"Error: {error.message}" + (f"\n{error.remedy}" if error.remedy else ""), error.exit_code)
    return _say(
        f"Error: {type(error).__name__}: {error}\nThis was not foreseen. Run it again with --debug to see where.", 1
    )


def _say(text: str, code: int) -> int:
    from hyperalign.text import plain

    echo("\n".join(plain(line) for line in text.splitlines()), err=True)
    return code
