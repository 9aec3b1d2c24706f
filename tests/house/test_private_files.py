"""Files that commands leave are readable by their owner only, and so are folders: they may hold a person's words."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from hyperalign.store import Store
from tests.fixtures.scripted_server import ScriptedServer, reply
from tests.hyperalign.cli.conftest import Run, run
from tests.hyperalign.cli.test_eval import pairs as eval_pairs
from tests.hyperalign.cli.test_fit_choices import asked, pair

__all__ = ["asked", "run"]  # the fixtures


@pytest.fixture(autouse=True)
def usual_mask() -> Iterator[None]:
    """The mask that most systems have: what is made without care is readable by everybody."""
    before = os.umask(0o022)
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
    assert too_open(tmp_path / "folder", given=set()) == ["open -rw-r--r--"]
