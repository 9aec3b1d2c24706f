"""Files are written whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hyperalign.errors import StorageError
from hyperalign.files import append_line, cache_folder, data_folder, lock_folder, write_whole

FULL = Path("/dev/full")


def test_folders_follow_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HYPERALIGN_DATA", str(tmp_path / "d"))
    monkeypatch.setenv("HYPERALIGN_CACHE", str(tmp_path / "c"))
    assert (data_folder(), cache_folder()) == (tmp_path / "d", tmp_path / "c")
    monkeypatch.delenv("HYPERALIGN_DATA")
    monkeypatch.setenv("HYPERALIGN_CACHE", "")
    assert data_folder().name == cache_folder().name == "hyperalign"
    assert data_folder() != cache_folder()


def test_writes_text_and_bytes_and_makes_folders(tmp_path: Path) -> None:
    write_whole(tmp_path / "a" / "b" / "text", "žluťoučký\n")
    write_whole(tmp_path / "bytes", b"\0\xff")
    assert (tmp_path / "a" / "b" / "text").read_bytes() == "žluťoučký\n".encode()
    assert (tmp_path / "bytes").read_bytes() == b"\0\xff"
    write_whole(tmp_path / "bytes", "new")
    assert (tmp_path / "bytes").read_text() == "new"
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == ["bytes"]


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    # A real limit on file size: the write itself fails, as it does on a full disk.
    target = tmp_path / "notes" / "kept"
    write_whole(target, "the old content")
    code = (
        "import resource, sys; from pathlib import Path; from hyperalign.files import write_whole\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "write_whole(Path(sys.argv[1]), 'x' * 100_000)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(target)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "StorageError" in done.stderr
    assert target.read_text() == "the old content"
    assert [p.name for p in target.parent.iterdir()] == ["kept"]


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="Could not write"):
        write_whole(tmp_path / "file" / "inside", "text")


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_named_with_a_remedy() -> None:
    with pytest.raises(StorageError, match="No space left") as caught:
        append_line(FULL, "a line")
    assert caught.value.remedy
    assert caught.value.exit_code == 7


@pytest.mark.skipif(
    os.geteuid() == 0 and not Path("/proc/version").exists(), reason="root may write everywhere where there is no /proc"
)
def test_no_permission_is_named_with_a_remedy(tmp_path: Path) -> None:
    # Root ignores modes, but not the kernel's own read-only files.
    target = Path("/proc/version") if os.geteuid() == 0 else tmp_path / "mine"
    if os.geteuid() != 0:
        target.touch(mode=0o400)
    with pytest.raises(StorageError) as caught:
        append_line(target, "a line")
    assert str(target) in caught.value.message


def test_journal_lines_are_appended(tmp_path: Path) -> None:
    journal = tmp_path / "runs" / "journal"
    append_line(journal, "one")
    append_line(journal, "zwei ü")
    assert journal.read_text(encoding="utf-8").splitlines() == ["one", "zwei ü"]


def test_one_process_at_a_time_is_in_a_folder_and_a_killed_one_holds_nothing(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from hyperalign.files import lock_folder\n"
        "with lock_folder(Path(sys.argv[1])): print('in', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "run")], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"in\n"
        with (
            pytest.raises(StorageError, match=r"Another process is at work in .*run") as caught,
            lock_folder(tmp_path / "run"),
        ):
            pass
        assert "the same command then goes on" in caught.value.remedy
        with lock_folder(tmp_path / "another"):
            pass
        other.kill()
    for _ in range(2):
        with lock_folder(tmp_path / "run"):
            pass
