"""Escape sequences, control characters and direction overrides in texts, names and answers reach no terminal."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

from hyperalign.files import data_folder
from hyperalign.profile import Evidence, Hypothesis, Profile
from hyperalign.store import Store
from hyperalign.text import escape_json, printable
from tests.fixtures.scripted_server import ScriptedServer, reply
from tests.house.source_tree import modules, parsed

from .conftest import Run
from .letters import all_a
from .test_eval import pairs as eval_pairs

EVIL = "\x1b]0;title\x07\x1b[2J\x9b31m\x85\x7f\u202eevil\u2066\u200f\u061c\u2028\ufff9\U000e0001\r\x08"
UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ufff9-\ufffb\U000e0001]")


def unsafe(text: str) -> list[str]:
    return [ascii(text[max(0, found.start() - 40) : found.end() + 10]) for found in UNSAFE.finditer(text)]


def test_each_unsafe_character_is_removed_or_escaped() -> None:
    assert printable(f"a{EVIL}b\tc\nd") == "a]0;title[2J31mevilb\tc\nd"
    assert printable("👨‍👩‍👧 می‌خواهم שלום") == "👨‍👩‍👧 می‌خواهم שלום"
    data = json.dumps({"text": EVIL}, ensure_ascii=False)
    assert unsafe(data)
    assert not unsafe(escape_json(data))
    assert json.loads(escape_json(data)) == {"text": EVIL}


def hostile_profile() -> Profile:
    quote = Evidence(record=f"r\x9b\u202e{1}", quote=f"quote {EVIL}", supports=True)
    said = Hypothesis(
        id="h1", statement=f"They write {EVIL}", opposite=f"They don't {EVIL}", aspect="style", evidence=[quote]
    )
    gone = said.model_copy(update={"id": "h2", "dropped_because": f"why {EVIL}"})
    return Profile(user="ada", hypotheses=[said], dropped=[gone], stated=[f"I am {EVIL}"])


def choices(path: Path, name: str = "ada") -> Path:
    rows = [
        {
            "user": name,
            "id": f"c{n}\x9b\u202e",
            "prompt": f"Ask {n} {EVIL}",
            "chosen": f"Yes {n} {EVIL}, go.",
            "rejected": f"Oh {EVIL} what a thing to ask on day {n}, dear.",
        }
        for n in range(6)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_no_command_prints_them(run: Run, scripted_server: ScriptedServer, tmp_path: Path) -> None:
    scripted_server.default = reply(lambda asked: all_a(asked) if "Statement" in asked.prompt else f"A {EVIL}")
    model = ["--model", f"vllm:{scripted_server.url}", "--scorer", "none"]
    data = choices(tmp_path / "choices.jsonl")
    others = tmp_path / "others"
    others.mkdir()
    for name in ("bob", "cal", "dan"):
        choices(others / f"{name}.jsonl", name)
    people = eval_pairs(tmp_path / "pairs.jsonl")
    people.write_text(people.read_text().replace("It smells", json.dumps(f"It {EVIL} smells")[1:-1]))
    profile = tmp_path / "profile.json"
    profile.write_text(hostile_profile().to_json())
    said = tmp_path / "said.json"
    said.write_text(json.dumps([f"They like {EVIL} tea."]))
    bad = tmp_path / f"bad{EVIL.replace('/', '')}.jsonl"
    bad.write_text(json.dumps({EVIL: 1}) + "\n")
    with Store() as store:
        store.save(hostile_profile(), note=f"note {EVIL}")
    ran = [
        run("fit", data, *model, "--population", others, "--dry-run"),
        run("fit", data, *model, "--population", others, "--dry-run", "--json"),
        run("fit", data, *model, "--population", others),
        run("fit", data, *model, "--population", others, "--json"),
        run("profile", "import", profile),
        run("profile", "show", "ada", "--all"),
        run("profile", "show", "ada", "--json"),
        run("profile", "list"),
        run("profile", "history", "ada"),
        run("profile", "history", "ada", "--json"),
        run("profile", "diff", "ada", "1", "2"),
        run("profile", "diff", "ada", "1", "2", "--json"),
        run("profile", "export", "ada"),
        run("update", data, "--user", "ada", *model, "--population", others),
        run("audit", said, data, *model, "--population", others),
        run("judge", f"Shall I {EVIL}?", "--answer", f"Yes {EVIL}", "--answer", "No.", "--profile", profile, *model),
        run("generate", f"Decline {EVIL}", "--profile", profile, *model),
        run("deliberate", f"How do I {EVIL}?", *model),
        run("eval", people, *model, "--strategy", "few-shot", "--out", tmp_path / "one"),
        run("eval", people, *model, "--strategy", "few-shot", "--seed", "1", "--out", tmp_path / "two"),
        run("compare", tmp_path / "one", tmp_path / "two"),
        run("compare", tmp_path / "one", tmp_path / "two", "--json"),
        run("profile", "forget", "ada", "h1", "--yes"),
        run("profile", "forget", "ada", "c1\x9b\u202e", "--yes", "--json"),
    ]
    refused = [
        run("fit", bad, *model),
        run("fit", bad, "--skip-bad", *model),
        run("fit", data, "--user", f"ada{EVIL}"),
        run("profile", "show", f"ada{EVIL}"),
        run("profile", "forget", "ada", f"no{EVIL}", "--yes"),
        run("profile", "forget", "ada", f"no{EVIL}"),
        run("profile", "set", "ada", f"warm{EVIL}=0.9"),
        run("profile", f"sh{EVIL}ow"),
        run("fit", f"--us{EVIL}er", "x"),
        run("fit", data, "--seed", f"x{EVIL}"),
        run("config", "set", f"model{EVIL}", "x"),
        run("generate", "x", "--model", f"no/such{EVIL}"),
        run("models", "pull", f"x{EVIL}"),
        run("optimize", "show", tmp_path / f"x{EVIL}"),
    ]
    codes = [done.code for done in ran]
    assert set(codes) <= {0, 5}, [(number, code, ran[number].err) for number, code in enumerate(codes) if code]
    assert codes.count(0) > len(codes) - 4
    assert all(done.code for done in refused)
    shown = [unsafe(done.out) + unsafe(done.err) for done in (*ran, *refused)]
    assert shown == [[] for _ in shown]
    reports = [*(tmp_path / "one").glob("report.*"), *(data_folder()).rglob("*.md")]
    assert len(reports) == 2
    assert [unsafe(path.read_text()) for path in reports] == [[], []]
    assert "evil" in ran[5].out, "what is harmless in it is shown"


@pytest.mark.parametrize("name", sorted(name for name in modules() if name.startswith("hyperalign.cli")))
def test_all_output_goes_through_one_module(name: str) -> None:
    """A line that is printed elsewhere would be printed as it is."""
    if name == "hyperalign.cli.terminal":
        return
    printers = {"echo", "secho", "print", "confirm", "prompt", "Console", "write"}
    owners = {"typer", "click", "rich", "sys", "stdout", "stderr", "builtins"}
    found = []
    for node in ast.walk(parsed(modules()[name])):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in printers:
            owner = node.func.value
            label = owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ""
            found += [f"{label}.{node.func.attr}"] if label in owners else []
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("print", "Console"):
            found.append(node.func.id)
    assert found == []
