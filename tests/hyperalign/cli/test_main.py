"""The command line as a whole: exit codes, help, tracebacks, pipes, completion and what reaches a terminal."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import hyperalign
from hyperalign.errors import InputError
from hyperalign.store import Store
from tests.fixtures.scripted_server import ScriptedServer, error, reply
from tests.hyperalign.cli.conftest import ENTRY, Done, Run
from tests.hyperalign.cli.letters import asked, write
from tests.hyperalign.example_people import profile

Start = Callable[..., "subprocess.Popen[str]"]
COMMAND = str(Path(sys.executable).with_name("hyperalign"))
HEAVY = {"dspy", "litellm", "openvino", "torch", "transformers", "xllamacpp"}
# A window title, a bell, and the one-byte start of a sequence; none is one that a log is stripped of anyway.
EVIL = "\x1b]0;title\x07\x9b31m"

# Asks typer for every verb there is, so that none is forgotten here, and for the help of each.
HELP_OF_ALL = """
import contextlib, io, json, sys
import typer
from hyperalign.cli import app, main

def verbs(command, path=()):
    yield path
    for name, each in getattr(command, "commands", {}).items():
        yield from verbs(each, (*path, name))

told = {}
for path in list(verbs(typer.main.get_command(app))):
    sys.argv = ["hyperalign", *path, "--help"]
    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            main()
        except SystemExit as end:
            told[" ".join(path)] = [end.code, out.getvalue()]
print(json.dumps([told, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


# Usage and help


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["generate"], "Missing argument"),
        (["generate", "Hello", "there"], "unexpected extra argument"),
        (["generate", "Hello", "--colour"], "No such option: --colour"),
        (["generate", "Hello", "--best-of", "0"], "--best-of"),
        (["generate", "Hello", "--best-of", "many"], "--best-of"),
        (["generate", "Hello", "--max-calls", "-1"], "--max-calls"),
        (["fit", "--seed", "x"], "--seed"),
        (["models", "push"], "No such command 'push'"),
        (["models", "path"], "Missing argument"),
        (["profile", "show", "a", "b", "c"], "unexpected extra argument"),
        (["doctor", "now"], "unexpected extra argument"),
    ],
)
def test_wrong_usage_is_said_with_code_2(run: Run, arguments: list[str], said: str) -> None:
    done = run(*arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("Usage: hyperalign ")
    assert said in done.err
    assert "--help" in done.err
    assert "Traceback" not in done.err


def test_an_option_without_its_value(run: Run) -> None:
    assert run("generate", "Hello", "--user") == Done(2, "", "Error: Option '--user' requires an argument.\n")


def test_without_a_verb_the_help_is_shown(run: Run) -> None:
    for arguments in ((), ("models",), ("profile",)):
        done = run(*arguments)
        assert done.code == 2
        assert "Commands:" in done.out + done.err


def test_the_version(run: Run, tmp_path: Path) -> None:
    assert run("--version") == Done(0, f"{hyperalign.__version__}\n", "")
    module = [sys.executable, "-P", "-m", "hyperalign", "--version"]
    shown = subprocess.run(module, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    assert shown == f"{hyperalign.__version__}\n"


def test_the_package_runs_as_the_command(tmp_path: Path) -> None:
    module = [sys.executable, "-P", "-m", "hyperalign", "models", "push"]
    done = subprocess.run(module, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: hyperalign models ")


def test_help_of_every_verb_explains_it_and_loads_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", HELP_OF_ALL], capture_output=True, text=True, check=True)
    told, loaded = json.loads(done.stdout)
    assert {"", "demo", "fit", "generate", "doctor", "models pull", "models rm", "profile edit"} <= set(told)
    for verb, (code, text) in told.items():
        assert code == 0, verb
        usage, _, rest = text.partition("\n")
        assert usage.startswith(f"Usage: hyperalign {verb}".rstrip())
        assert rest.strip().splitlines()[0].strip().endswith((".", ",")) or len(rest.split()) > 20, verb
    assert not HEAVY & set(loaded)
    assert "typer" in loaded, "the list is one of modules"
    assert "Exit codes: 2 usage, 3 bad input, 4 not found" in told[""][1]


def test_completion(tmp_path: Path) -> None:
    shown = subprocess.run([COMMAND, "--help"], capture_output=True, text=True, check=True).stdout
    assert "--install-completion" in shown
    assert "--show-completion" in shown
    environment = {
        **os.environ,
        "_HYPERALIGN_COMPLETE": "complete_bash",
        "COMP_WORDS": "hyperalign mo",
        "COMP_CWORD": "1",
    }
    done = subprocess.run([COMMAND], capture_output=True, text=True, check=False, env=environment)
    assert (done.stdout.split(), done.stderr) == (["models"], "")


# Errors and tracebacks


@pytest.mark.parametrize(
    "arguments",
    [
        ["--debug", "generate", "Hello", "--strategy", "best"],
        ["generate", "Hello", "--strategy", "best", "--debug"],
        ["generate", "--debug", "Hello", "--strategy", "best"],
    ],
)
def test_debug_anywhere_lets_the_error_through(run: Run, arguments: list[str]) -> None:
    with pytest.raises(InputError, match="There is no strategy 'best'"):
        run(*arguments)


def test_debug_by_the_environment_shows_where(process: Start) -> None:
    _, err = process("models", "path", "none", HYPERALIGN_DEBUG="1").communicate(timeout=60)
    assert "Traceback (most recent call last)" in err
    assert 'catalogue.py", line' in err
    running = process("models", "path", "none", HYPERALIGN_DEBUG="")
    out, err = running.communicate(timeout=60)
    Done(running.returncode, out, err).refused(5, "'none'")


def test_debug_after_two_dashes_is_a_word(run: Run, scripted_server: ScriptedServer) -> None:
    done = run("generate", "--model", f"vllm:{scripted_server.url}", "--", "--debug")
    assert (done.code, done.out) == (0, "ok\n")
    assert scripted_server.requests[0].messages == [{"role": "user", "content": "--debug"}]
    assert not os.environ.get("HYPERALIGN_DEBUG")


def test_what_nobody_foresaw_is_said_with_the_way_to_look(run: Run, tmp_path: Path) -> None:
    # Nobody foresees that a folder stands where a model file should be.
    from hyperalign.backends.models.catalogue import entries

    smallest = entries()[0]
    smallest.path.unlink(missing_ok=True)
    smallest.path.mkdir()
    done = run("models", "rm", smallest.name)
    done.refused(1, "IsADirectoryError", "--debug")


# Pipes


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["models", "list"], ["models", "list", "--json"], ["doctor", "--json"], ["profile", "show", "ada"]],
)
def test_a_reader_that_leaves_is_no_error(process: Start, arguments: list[str]) -> None:
    with Store() as store:
        store.save(profile())
    running = process(*arguments)
    assert running.stdout is not None
    assert running.stderr is not None
    # Gone before the first word, as a fast 'head -0' would be.
    running.stdout.close()
    assert (running.stderr.read(), running.wait(timeout=60)) == ("", 0)
    running.stderr.close()


def test_a_reader_that_leaves_in_the_middle_of_an_answer(process: Start, scripted_server: ScriptedServer) -> None:
    # More than a pipe holds, so that the writer still writes when the reader is gone.
    scripted_server.default = reply("line\n" * 20_000)
    running = process("generate", "Hello", "--model", f"vllm:{scripted_server.url}")
    assert running.stdout is not None
    assert running.stderr is not None
    assert running.stdout.readline() == "line\n"
    running.stdout.close()
    assert (running.stderr.read(), running.wait(timeout=60)) == ("", 0)
    running.stderr.close()


# What reaches the terminal


def test_names_and_words_of_users_and_servers_are_only_text(
    run: Run, tmp_path: Path, scripted_server: ScriptedServer
) -> None:
    (tmp_path / f"{EVIL}.json").write_text("{")
    (tmp_path / "field.json").write_text(json.dumps({"user": "ada", EVIL: 1}))
    (tmp_path / f"{EVIL}.txt").write_text(" ")
    (tmp_path / "lines.jsonl").write_text(json.dumps({"user": EVIL, "text": "One two three."}))
    file, *more = write(tmp_path / "good", "a.txt", "b.txt", "c.txt")
    scripted_server.default = error(400, f"No {EVIL} here")
    model = f"vllm:{scripted_server.url}"
    commands: list[list[str | Path]] = [
        [EVIL],
        ["generate", "Hello", f"--{EVIL}"],
        ["generate", "Hello", "--best-of", EVIL],
        ["generate", "Hello", "--user", EVIL],
        ["generate", "Hello", "--strategy", EVIL],
        ["generate", "Hello", "--model", EVIL],
        ["generate", "Hello", "--model", model],
        ["generate", "Hello", "--model", f"vllm:http://{EVIL}"],
        ["generate", "Hello", "--profile", f"{EVIL}.json"],
        ["generate", "Hello", "--profile", "field.json"],
        ["fit", f"{EVIL}.txt", "--user", "ada"],
        ["fit", "lines.jsonl"],
        ["fit", file, "--user", "ada", "--model", model, "--scorer", EVIL],
        ["fit", f"{EVIL}.txt", file, *more, "--user", "ada", "--skip-bad", *asked(model, tmp_path)],
        ["models", "path", EVIL],
        ["demo", "--person", EVIL],
        ["profile", "show", EVIL],
        ["profile", "show", "ada", "--store", f"lines.jsonl/{EVIL}.sqlite"],
    ]
    for command in commands:
        done = run(*command)
        assert done.code != 0, command
        assert "title" in done.err or done.code == 2, "what was wrong is still named"
        for character in "\x1b\x07\x9b":
            assert character not in done.out + done.err, command


def test_a_terminal_gets_a_clean_error_too(tmp_path: Path) -> None:
    # Where errors go to a terminal, typer strips nothing on its way.
    master, terminal = pty.openpty()
    try:
        running = subprocess.run(
            [*ENTRY, "models", "path", f"\x1b[31m{EVIL}"], stdout=terminal, stderr=terminal, check=False, cwd=tmp_path
        )
        shown = os.read(master, 65536).decode()
    finally:
        os.close(master)
        os.close(terminal)
    assert running.returncode == 5
    assert shown.startswith("Error: ")
    assert "[31m]0;title31m" in shown
    assert "\x1b" not in shown
    assert "\x07" not in shown
