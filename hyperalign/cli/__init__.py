"""The command line: one verb a file; this one only wires them and shows errors.

Exit codes: 0 done, 1 something unforeseen, 2 wrong usage, 3 bad input, 4 not found, 5 a model
or an optional part can't be used, 6 budget reached, 7 disk or database, 130 interrupted.
"""

from __future__ import annotations

import gc
import os
import sys
from types import TracebackType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from . import adapters, config, models, optimize, profile
from .answer import deliberate, generate, judge
from .demo import demo
from .distill import distill
from .doctor import doctor
from .eval import compare, eval_
from .fit import fit
from .serve import serve
from .update import update

__all__ = ["app", "main"]

_INTERRUPTED = 130
_OBJECTS_A_SWEEP = 20_000
_GO_ON = "Interrupted. What is done is saved: run the same command again to go on."

_HELP = "hyperalign.help"


class _Verbs(TyperGroup):
    """The verbs; it notes whether help was asked for, which a verb's context can't tell any more."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Note it, and go on."""
        ctx.meta[_HELP] = "--help" in args
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_Verbs,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Fit a language model to one person: infer hypotheses, test each on evidence, answer as they would want.",
    epilog="Exit codes: 2 usage, 3 bad input, 4 not found, 5 model or missing part, 6 budget, 7 disk, 130 interrupted.",
)
app.command()(demo)
app.command()(fit)
app.command()(update)
app.command()(generate)
app.command()(judge)
app.command()(deliberate)
app.command("eval")(eval_)
app.command()(compare)
app.add_typer(optimize.app, name="optimize")
app.command()(distill)
app.command()(serve)
app.add_typer(profile.app, name="profile")
app.add_typer(models.app, name="models")
app.add_typer(adapters.app, name="adapters")
app.add_typer(config.app, name="config")
app.command()(doctor)


def _version(asked: bool) -> None:
    if asked:
        from hyperalign import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks; also as HYPERALIGN_DEBUG=1.")] = False,
) -> None:
    del version, debug  # the one has its callback, the other is read by main
    # Whoever asks for help, or mends the file, must not be stopped by what it says.
    if context.invoked_subcommand not in ("config", "doctor") and not context.meta[_HELP]:
        context.default_map = config.default_map(context.command)


def main() -> None:
    """Run the command line; errors raised on purpose are shown as one sentence and a remedy."""
    # LiteLLM makes a million objects that stay: to sweep every 700, as Python does, is a fifth of the time to load it.
    gc.set_threshold(_OBJECTS_A_SWEEP)
    arguments = sys.argv[1:]
    debug = bool(os.environ.get("HYPERALIGN_DEBUG"))
    # --debug may stand anywhere: whoever sees an error adds it at the end of the line.
    if "--debug" in arguments and "--" not in arguments:
        debug, arguments = True, [argument for argument in arguments if argument != "--debug"]
    try:
        code = app(arguments, prog_name="hyperalign", standalone_mode=False)
        if code == _INTERRUPTED:
            # typer turns Ctrl-C into this code, and says nothing.
            code = _say(_GO_ON, _INTERRUPTED)
    except typer.TyperException as error:
        error.show()  # type: ignore[attr-defined]  # declared by every subclass that the parser raises
        code = error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        code = _say(_GO_ON, _INTERRUPTED)
    except SystemExit as end:
        # typer and rich end the process where the reader of a pipe has left (head, say): nothing is wrong.
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        code = 0
    except Exception as error:
        if debug:
            sys.excepthook = _trace
            raise
        code = _explain(error)
    if code == _INTERRUPTED:
        _leave_calls(code)
    sys.exit(code if isinstance(code, int) else 0)


def _leave_calls(code: int) -> None:
    """End at once where a call is still under way: the interpreter would wait for a server that may never answer."""
    import threading

    if any(thread.name.startswith("hyperalign") for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _trace(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Show where an error is from, without the secrets that a server may have repeated in it."""
    import traceback

    from hyperalign.privacy import scrub

    sys.stderr.write(scrub("".join(traceback.format_exception(kind, error, trace))))


def _explain(error: Exception) -> int:
    from hyperalign.errors import HyperalignError

    if isinstance(error, HyperalignError):
        return _say(f"Error: {error.message}" + (f"\n{error.remedy}" if error.remedy else ""), error.exit_code)
    return _say(
        f"Error: {type(error).__name__}: {error}\nThis was not foreseen. Run it again with --debug to see where.", 1
    )


def _say(text: str, code: int) -> int:
    from .show import plain

    typer.echo("\n".join(plain(line) for line in text.splitlines()), err=True)
    return code
