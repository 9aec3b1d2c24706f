"""The front door: what is public, in what order, and how little is loaded to open it and to answer."""

from __future__ import annotations

import ast
import json
import os
import resource
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import hyperalign
from hyperalign.errors import MissingExtraError
from tests.fixtures.scripted_server import ScriptedServer
from tests.house.source_tree import lazy_names, modules, parsed

HEAVY = {"dspy", "litellm", "openai", "openvino", "scipy", "sqlalchemy", "torch", "transformers", "xllamacpp"}
VERBS = ["", "demo", "doctor", "fit", "generate", "models", "models pull", "profile", "profile show"]
HELP_SECONDS = 0.4
# What no hosted answer needs: statistics, a store that nobody named, what runs or trains models here.
IDLE = {"openvino", "pandas", "scipy", "sklearn", "sqlalchemy", "torch", "transformers", "xllamacpp"}
# Most of the processor time of an answer is that of importing what it needs; machines differ threefold in it.
IMPORTS = (
    "import os; os.environ.update(LITELLM_LOCAL_MODEL_COST_MAP='True', LITELLM_MODE='PRODUCTION'); import dspy, litellm"
)
ANSWER_IMPORTS = 2.0
ANSWER = """
import sys
from hyperalign.cli import main
sys.argv = ["hyperalign", "generate", "Say something.", "--model", "openai/gpt-4o-mini"]
try:
    main()
except SystemExit as end:
    assert not end.code
"""


@pytest.mark.parametrize("package", [name for name in modules() if lazy_names(name)])
def test_the_public_names_are_those_of_the_stub_and_there(package: str) -> None:
    module = import_module(package)
    assert module.__all__ == sorted(lazy_names(package))
    for name, home in lazy_names(package).items():
        value = getattr(module, name)
        assert value is getattr(import_module(home), name, import_module(home))
        assert name in dir(module)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Personaliser"):
        hyperalign.Personaliser  # noqa: B018


def _order(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions, each by name."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


@pytest.mark.parametrize("name", [name for name in modules() if not lazy_names(name)])
def test_every_module_says_what_is_public(name: str) -> None:
    try:
        module = import_module(name)
    except MissingExtraError as missing:
        pytest.skip(str(missing))
    public = getattr(module, "__all__", None)
    defined = {
        node.name
        for node in parsed(modules()[name]).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_")
    }
    if public is None:
        assert not defined, "a module that defines public names lists them in __all__"
        return
    assert list(public) == sorted(public, key=_order)
    assert all(hasattr(module, each) for each in public)


def _loaded(code: str, **environment: str) -> set[str]:
    """Top-level modules that are loaded after some code has run in a fresh interpreter."""
    script = f"import json, sys\n{code}\nprint(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    where = {**os.environ, **environment}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=where)
    return {name.partition(".")[0] for name in json.loads(done.stderr.splitlines()[-1])}


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = _loaded("import hyperalign")
    assert not loaded & (HEAVY | {"numpy", "pydantic", "rich", "typer"})


def test_help_of_any_verb_loads_nothing_heavy() -> None:
    code = f"""
from hyperalign.cli import main
for verb in {VERBS!r}:
    sys.argv = ["hyperalign", *verb.split(), "--help"]
    try:
        main()
    except SystemExit as end:
        assert not end.code, verb
"""
    assert not _loaded(code) & HEAVY


def _fewest_seconds(command: list[str], runs: int, **environment: str) -> float:
    """Processor time of a command: a busy machine tells on it far less than on the clock."""
    where = {**os.environ, "COLUMNS": "80", **environment}
    # The first run compiles what is not compiled yet.
    where.pop("PYTHONDONTWRITEBYTECODE", None)
    seconds = []
    for _ in range(runs):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True, env=where)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(seconds)


def test_help_answers_at_once() -> None:
    command = [str(Path(sys.executable).with_name("hyperalign")), "--help"]
    assert _fewest_seconds(command, 5) < HELP_SECONDS


def test_a_hosted_answer_loads_only_what_it_needs(scripted_server: ScriptedServer) -> None:
    loaded = _loaded(ANSWER, OPENAI_API_KEY="k", OPENAI_BASE_URL=scripted_server.base)
    assert len(scripted_server.requests) == 1
    assert "litellm" in loaded
    assert not loaded & IDLE


def test_a_hosted_answer_begins_soon(scripted_server: ScriptedServer) -> None:
    where = {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": scripted_server.base}
    imports = _fewest_seconds([sys.executable, "-c", IMPORTS], 2)
    assert _fewest_seconds([sys.executable, "-c", ANSWER], 2, **where) < ANSWER_IMPORTS * imports
    assert len(scripted_server.requests) == 2
