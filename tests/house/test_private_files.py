"""Files that commands leave are readable by their owner only, and so are folders: they may hold a person's words."""

from __future__ import annotations

import ast
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from hyperalign.backends.models.number_cache import NumberCache
from hyperalign.files import (
    append_line,
    cache_folder,
    data_folder,
    lock_folder,
    make_private_file,
    make_private_folder,
    narrow,
    write_whole,
)
from hyperalign.store import Store
from tests.fixtures.scripted_server import ScriptedServer, reply
from tests.hyperalign.cli.conftest import Run, run
from tests.hyperalign.cli.test_eval import pairs as eval_pairs
from tests.hyperalign.cli.test_fit_choices import asked, pair
from tests.hyperalign.cli.test_optimize import answered, people

from .source_tree import modules, parsed

__all__ = ["asked", "run"]  # the fixtures


@pytest.fixture(autouse=True, params=[0o022, 0], ids=["usual", "open"])
def usual_mask(request: pytest.FixtureRequest) -> Iterator[None]:
    """The mask that most systems have, and the widest: what is made without care is readable by everybody."""
    before = os.umask(request.param)
    yield
    os.umask(before)


def too_open(folder: Path, *, given: set[Path]) -> list[str]:
    """Files and folders below a folder that others can read, other than those that a test has put there."""
    return [
        f"{path.relative_to(folder)} {stat.filemode(path.stat().st_mode)}"
        for path in sorted(folder.rglob("*"))
        if path not in given and not path.is_symlink() and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    ]


def test_what_commands_leave_is_private(
    run: Run, asked: list[str], tmp_path: Path, scripted_server: ScriptedServer
) -> None:
    (tmp_path / "more.jsonl").write_text(pair("ada", 7, True))
    data = eval_pairs(tmp_path / "pairs.jsonl")
    given = set(tmp_path.rglob("*"))
    commands: list[list[str | Path]] = [
        ["fit", "choices.jsonl", *asked, "--out", "new/ada.json", "--vector", "new/vector.json"],
        ["update", "more.jsonl", *asked, "--half-life", "3"],
        ["profile", "export", "ada", "--out", "new/bundle.json"],
        ["config", "set", "temperature", "0.5"],
        ["eval", data, *asked[2:6], "--strategy", "few-shot", "--seed", "3", "--out", "new/eval"],
    ]
    for command in commands:
        if command[0] == "eval":
            scripted_server.default = reply("A")
        done = run(*command)
        assert done.code == 0, (command, done.err)
    assert too_open(tmp_path, given=given) == []


def test_what_a_search_leaves_is_private(run: Run, tmp_path: Path, scripted_server: ScriptedServer) -> None:
    scripted_server.default = reply(answered)
    data = people(tmp_path / "people.jsonl")
    given = set(tmp_path.rglob("*"))
    model = ("--model", f"vllm:{scripted_server.url}", "--max-steps", "1")
    done = run("optimize", "generate", "--task", data, *model, "--out", tmp_path / "out")
    assert done.code == 0, done.err
    assert (tmp_path / "out" / "calls.jsonl").exists()
    assert too_open(tmp_path, given=given) == []


def test_what_was_wide_before_is_narrowed_when_it_is_opened(run: Run, asked: list[str], tmp_path: Path) -> None:
    command = ["fit", "choices.jsonl", *asked]
    assert run(*command).code == 0
    folders = (data_folder(), cache_folder())
    kept = [path for folder in folders for path in (folder, *folder.rglob("*")) if not path.is_symlink()]
    for path in kept:
        path.chmod(0o777 if path.is_dir() else 0o666)
    assert run(*command).code == 0
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in folders] == [0o700, 0o700]
    assert [too_open(folder, given=set()) for folder in folders] == [[], []]
    # A folder of the data folder that somebody widened alone, and one file in it.
    run_folder = next((data_folder() / "runs").glob("fit-*"))
    (run_folder / "calls.jsonl").chmod(0o644)
    (data_folder() / "store.sqlite").chmod(0o644)
    run_folder.chmod(0o755)
    assert run(*command).code == 0
    assert too_open(data_folder(), given=set()) == []


def test_what_the_library_makes_without_the_command_line_is_private(tmp_path: Path) -> None:
    make_private_folder(tmp_path / "a" / "b")
    make_private_file(tmp_path / "a" / "c" / "log")
    write_whole(tmp_path / "a" / "d" / "whole", "words")
    append_line(tmp_path / "a" / "e" / "journal", "words")
    NumberCache(tmp_path / "a" / "f" / "cache", "n", table="t", keys={"k": "TEXT"}, values={"v": "REAL"}).close()
    with lock_folder(tmp_path / "a" / "g"):
        assert too_open(tmp_path / "a", given=set()) == []
    by_library = tmp_path / "a" / "b" / "deep" / "checkpoint"
    by_library.mkdir(parents=True)
    (by_library / "weights").write_text("words")
    narrow(tmp_path / "a" / "b")
    assert too_open(tmp_path / "a", given=set()) == []


def test_a_folder_of_somebody_else_keeps_its_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o755)
    write_whole(shared / "out.json", "words")
    assert stat.S_IMODE(shared.stat().st_mode) == 0o755
    assert stat.S_IMODE((shared / "out.json").stat().st_mode) == 0o600
    # A home folder that was named as the data folder is not hyperalign's alone.
    monkeypatch.setenv("HOME", str(shared))
    monkeypatch.setenv("HYPERALIGN_DATA", str(shared))
    write_whole(shared / "runs" / "run.json", "words")
    assert stat.S_IMODE(shared.stat().st_mode) == 0o755


def test_folders_are_made_in_one_place_only() -> None:
    """What makes a folder of the user's in another way would have the umask's mode."""
    makers = {"mkdir", "makedirs", "mkdtemp", "touch"}
    found = {
        f"{name}: {node.func.attr}"
        for name, path in modules().items()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in makers
    }
    # mkdtemp makes folders of mode 0700.
    assert found == {
        "hyperalign.files: mkdir",
        "hyperalign.backends.models.graph_store: mkdtemp",
        "hyperalign.backends.distill.student: mkdtemp",
    }


def test_locks_are_private() -> None:
    made = [
        node
        for path in modules().values()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "FileLock"
    ]
    assert len(made) > 5
    assert all(any(each.arg == "mode" for each in node.keywords) for node in made)


def test_a_database_and_what_sqlite_puts_beside_it_are_private(tmp_path: Path) -> None:
    with Store(tmp_path / "new" / "store.sqlite") as store:
        store.users()
        assert {path.name for path in (tmp_path / "new").iterdir()} == {
            *("store.sqlite", "store.sqlite-shm", "store.sqlite-wal")
        }
        assert too_open(tmp_path / "new", given=set()) == []
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == stat.S_IRWXU


def test_the_check_can_fail(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir(mode=0o700)
    (tmp_path / "folder" / "open").write_text("words")
    (tmp_path / "folder" / "open").chmod(0o644)
    assert too_open(tmp_path / "folder", given=set()) == ["open -rw-r--r--"]
