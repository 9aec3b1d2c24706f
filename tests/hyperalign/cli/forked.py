"""Runs commands in processes that have everything loaded already, so that a test can afford to kill many of them."""

from __future__ import annotations

import multiprocessing
import os
import sys
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

__all__ = ["command", "context"]

_LOADED = [
    "hyperalign.cli",
    "hyperalign.cli.fit",
    "hyperalign.backends.models.connect",
    "hyperalign.backends.models.engine",
    "hyperalign.programs.personalizer",
    "hyperalign.store",
    "litellm",
    "openai",
]


def context() -> ForkServerContext:
    """A server of processes that has no threads, and has loaded what a command needs."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(_LOADED)
    return made


def command(made: ForkServerContext, folder: Path, *arguments: str | Path) -> BaseProcess:
    """Start a command as a process of its own, with this process's environment.

    Args:
        made: from ``context``.
        folder: where it runs; what it says goes to ``out.txt`` there.
        arguments: without ``hyperalign``.
    """
    process = made.Process(target=_run, args=(dict(os.environ), str(folder), [str(each) for each in arguments]))
    process.start()
    return process


def _run(environment: dict[str, str], folder: str, arguments: list[str]) -> None:
    from hyperalign.cli import main

    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    out = os.open("out.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    sys.argv = ["hyperalign", *arguments]
    main()
