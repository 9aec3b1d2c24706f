"""``hyperalign doctor``: check what works on this machine. It downloads nothing and never reads the value of a key."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from .options import JsonOption
from .terminal import echo

if TYPE_CHECKING:
    from hyperalign.backends.models.catalogue import Entry

__all__ = ["Check", "State", "doctor", "next_command", "report"]

State = Literal["ok", "missing", "broken"]

_OLDEST_PYTHON = (3, 11)
_DEFAULT_MODEL = "qwen2.5-coder-1.5b-instruct"
_LOW_SPACE_BYTES = 200 << 20
_EXTRAS = {
    "local": ("xllamacpp",),
    "train": ("torch", "transformers", "trl", "peft"),
    "mipro": ("optuna",),
    "postgres": ("psycopg",),
    "privacy": ("presidio_analyzer", "spacy"),
}
_KEYS = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY", "OPENROUTER_API_KEY", "VLLM_API_KEY")


@dataclass(frozen=True, slots=True)
class Check:
    """One finding.

    Attributes:
        what: the part that was checked.
        state: ``ok``, ``missing`` (which may be fine) or ``broken``.
        detail: the finding.
        next: a command that helps, if any.
    """

    what: str
    state: State
    detail: str
    next: str = ""


def report() -> list[Check]:
    """Check everything. Takes a second or two if model files have not been verified before."""
    from hyperalign.backends.models.catalogue import entries
    from hyperalign.files import cache_folder, data_folder

    return [
        _python(),
        *_extras(),
        _log_probabilities(),
        _pip(),
        *(_model(entry) for entry in entries()),
        _folder("data folder", data_folder()),
        _folder("cache folder", cache_folder()),
        _space(),
        *_vllm(),
        *_keys(),
    ]


def next_command(checks: Sequence[Check]) -> str:
    """The command to run next: repair what is broken, then download a model, then run the demo."""
    for check in checks:
        if check.state == "broken" and check.next:
            return check.next
    wanted = [check for check in checks if check.what == "extra 'local'" and check.state == "missing"]
    models = [check for check in checks if check.what.startswith("model ")]
    if not wanted and not any(check.state == "ok" for check in models):
        return f"hyperalign models pull {_DEFAULT_MODEL}"
    return wanted[0].next if wanted else "hyperalign demo"


def _python() -> Check:
    fits = sys.version_info >= _OLDEST_PYTHON
    oldest = ".".join(map(str, _OLDEST_PYTHON))
    detail = f"{platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} processors"
    return Check("Python", "ok" if fits else "broken", detail if fits else f"{detail}; {oldest} or newer is needed")


def _extras() -> Iterator[Check]:
    for extra, modules in _EXTRAS.items():
        absent = [module for module in modules if importlib.util.find_spec(module) is None]
        if absent:
            yield Check(
                f"extra '{extra}'",
                "missing",
                f"without {', '.join(absent)}",
                f"pip install 'hyperalign[{extra}]'",
            )
        else:
            versions = ", ".join(f"{module} {importlib.metadata.version(module)}" for module in modules)
            yield Check(f"extra '{extra}'", "ok", versions)


def _log_probabilities() -> Check:
    if importlib.util.find_spec("openvino") is not None:
        return Check("log-probabilities", "ok", "of given text, by OpenVINO on the processor")
    needed = "of given text need openvino, or a vLLM server: --scorer vllm:ADDRESS"
    if _brings("local", "openvino"):
        return Check("log-probabilities", "missing", needed, "pip install 'hyperalign[local]'")
    here = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    return Check("log-probabilities", "missing", f"{needed}; for {here} there is no wheel of openvino")


def _brings(extra: str, package: str) -> bool:
    """Whether an extra installs a package on this machine, by the markers in the package's metadata."""
    from packaging.requirements import Requirement

    wanted = map(Requirement, importlib.metadata.requires("hyperalign") or ())
    return any(
        each.name == package and (each.marker is None or each.marker.evaluate({"extra": extra})) for each in wanted
    )


def _pip() -> Check:
    if importlib.util.find_spec("pip") is None:
        detail = "without it model files can only come from the hub"
        return Check("pip", "missing", detail, f"{Path(sys.executable).name} -m ensurepip")
    return Check("pip", "ok", f"{importlib.metadata.version('pip')}, for model files when the hub is out of reach")


def _model(entry: Entry) -> Check:
    from hyperalign.backends.models.download import is_verified

    what, pull = f"model {entry.name}", f"hyperalign models pull {entry.name}"
    if not entry.path.is_file():
        return Check(what, "missing", f"{entry.bytes / 1e6:,.0f} MB to fetch", pull)
    if is_verified(entry):
        return Check(what, "ok", f"{entry.bytes / 1e6:,.0f} MB, SHA-256 verified")
    return Check(what, "broken", f"{entry.path} is damaged", pull)


def _folder(what: str, path: Path) -> Check:
    place = next(parent for parent in (path, *path.parents) if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=place):
            return Check(what, "ok", f"{path} can be written")
    except OSError as error:
        variable = "HYPERALIGN_DATA" if what.startswith("data") else "HYPERALIGN_CACHE"
        return Check(what, "broken", f"{path} can't be written ({error.strerror})", f"export {variable}=~/hyperalign")


def _space() -> Check:
    from hyperalign.files import cache_folder

    path = cache_folder()
    place = next(parent for parent in (path, *path.parents) if parent.exists())
    free = shutil.disk_usage(place).free
    detail = f"{free / 1e9:,.1f} GB free for the cache folder"
    return Check("disk space", "broken" if free < _LOW_SPACE_BYTES else "ok", detail)


def _vllm() -> Iterator[Check]:
    from hyperalign.backends.models.servers import served_models, vllm_address
    from hyperalign.errors import ModelServerError

    if not os.environ.get("HYPERALIGN_VLLM"):
        return
    try:
        names = served_models(vllm_address(), os.environ.get("VLLM_API_KEY"))
        yield Check("vLLM", "ok", f"serves {', '.join(names) or 'no model'}")
    except ModelServerError as error:
        yield Check("vLLM", "broken", error.message, "vllm serve MODEL")


def _keys() -> Iterator[Check]:
    for name in _KEYS:
        present = bool(os.environ.get(name))
        yield Check(name, "ok" if present else "missing", "is set" if present else "is not set")


_MARKS = {"ok": "[green]ok[/]", "missing": "[yellow]missing[/]", "broken": "[red]broken[/]"}


def doctor(as_json: JsonOption = False) -> None:
    """Check what works on this machine, and suggest the next command. Fails only if something is broken."""
    from .terminal import print_json, print_rich

    checks = report()
    following = next_command(checks)
    if as_json:
        print_json({"checks": [asdict(check) for check in checks], "next": following})
    else:
        from rich.markup import escape
        from rich.table import Table

        from hyperalign.text import plain

        table = Table.grid(padding=(0, 2))
        for check in checks:
            hint = f" [dim]({escape(check.next)})[/]" if check.next and check.state != "ok" else ""
            table.add_row(_MARKS[check.state], escape(check.what), f"{escape(plain(check.detail))}{hint}")
        print_rich(table)
        echo(f"\nNext: {following}")
    if any(check.state == "broken" for check in checks):
        raise typer.Exit(1)
