"""``hyperalign update``: new choices added to a person in the store, from files and from a stream."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hyperalign.errors import StorageError
from hyperalign.ingest import parse_line
from hyperalign.store import Store
from tests.fixtures.scripted_server import ScriptedServer

from .conftest import Run
from .test_fit_choices import SHORT, asked, pair

__all__ = ["asked"]  # the fixture


def lines(start: int, count: int, *, short: bool = True, user: str = "ada") -> str:
    return "\n".join(pair(user, n, short) for n in range(start, start + count)) + "\n"


def memory_of(user: str) -> str | None:
    with Store() as store:
        return store.memory(user)


def test_new_records_are_read_and_old_ones_are_not(
    run: Run, asked: list[str], tmp_path: Path, scripted_server: ScriptedServer
) -> None:
    assert run("fit", "choices.jsonl", *asked).code == 0
    first = len(scripted_server.requests)
    (tmp_path / "more.jsonl").write_text(lines(6, 2) + pair("ada", 0, True))
    done = run("update", "more.jsonl", *asked)
    assert done.code == 0, done.err
    assert "2 record(s) read" in done.out
    assert len(scripted_server.requests) - first < first / 2
    read = "".join(json.dumps(request.body) for request in scripted_server.requests[first:])
    assert "Take the 6 train" in read
    assert "Take the 1 train" not in read
    with Store() as store:
        assert [h.statement for h in store.load("ada").hypotheses] == [SHORT]
        assert len(store.records("ada")) == 8
    again = run("update", "more.jsonl", *asked)
    assert "Nothing new of ada." in again.out


def test_a_stream_follows_a_taste_that_changed_and_saves_only_what_changed(
    run: Run, asked: list[str], tmp_path: Path
) -> None:
    assert run("fit", "choices.jsonl", *asked).code == 0
    stream = (lines(10, 2) + lines(20, 12, short=False)).encode()
    done = run("update", "-", *asked, "--half-life", "3", "--json", stdin=stream)
    assert done.code == 0, done.err
    told = [json.loads(line) for line in done.out.splitlines()]
    assert len(told) == 14
    assert told[0]["gone"] == told[0]["came"] == []
    gone = next(n for n, each in enumerate(told) if SHORT in each["gone"])
    assert 2 <= gone <= 10
    assert told[2]["contradictions"] == [{"record": told[2]["taught"][0], "statement": SHORT}]
    with Store() as store:
        assert 2 <= len(store.history("ada")) < 14
    folders = list((tmp_path / "hyperalign" / "data" / "runs").glob("update-ada-*"))
    assert len(folders) == 1
    assert len((folders[0] / "updates.jsonl").read_text().splitlines()) == 14
    named = set(json.loads((folders[0] / "run.json").read_text())["records"])
    assert named > {name for each in told for name in each["taught"]}, "and those that it may quote"
    with Store() as store:
        latest = store.load("ada")
    assert latest.provenance.records[-1] == told[-1]["taught"][0], "the last state is saved, whatever came or went"


def test_what_another_command_changed_meanwhile_is_not_overwritten(run: Run, asked: list[str], tmp_path: Path) -> None:
    run("update", "choices.jsonl", *asked)
    with Store() as store:
        before = store.memory("ada")
        profile = store.load("ada")
        store.keep_memory("ada", "{}", instead_of=before)
        for keep in (
            lambda: store.keep_memory("ada", "{}", instead_of=before),
            lambda: store.remember(profile, "{}", instead_of=before),
            lambda: store.remember(profile, "{}", instead_of=None),
        ):
            with pytest.raises(StorageError, match="Another command has changed"):
                keep()
        assert len(store.history("ada")) == 1


def test_what_is_cut_off_is_not_called_done_and_goes_on(run: Run, asked: list[str], tmp_path: Path) -> None:
    run("update", "choices.jsonl", *asked)
    folders = {path.name for path in (tmp_path / "hyperalign" / "data" / "runs").iterdir()}
    (tmp_path / "more.jsonl").write_text(lines(6, 2))
    run("update", "more.jsonl", *asked, "--max-calls", "3").refused(6, "budget of 3 calls")
    (cut,) = [path for path in (tmp_path / "hyperalign" / "data" / "runs").iterdir() if path.name not in folders]
    assert (cut / "cost.json").is_file()
    assert not (cut / "done.json").exists()
    done = run("update", *asked)
    assert done.code == 0, done.err
    assert "2 record(s) read" in done.out
    assert json.loads((cut / "done.json").read_text()) == {"records": 2}, "the same run went on"


def test_a_stranger_waits_until_four_records_came(run: Run, asked: list[str]) -> None:
    done = run("update", "-", *asked, stdin=lines(0, 3).encode())
    assert done.code == 0, done.err
    assert "3 record(s) wait for more" in done.out
    done = run("update", "-", *asked, stdin=lines(3, 3).encode())
    assert f"+ {SHORT}" in done.out


def test_forgetting_and_removing_take_what_is_remembered(run: Run, asked: list[str], tmp_path: Path) -> None:
    run("update", "choices.jsonl", *asked)
    assert "Take the 2 train" in (memory_of("ada") or "")
    with Store() as store:
        record = store.records("ada")[2]
    assert run("profile", "forget", "ada", record.id, "--yes").code == 0
    assert memory_of("ada") is None
    for path in (tmp_path / "hyperalign").rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert b"Take the 2 train" not in path.read_bytes(), path
    # What is left is read again, and the record does not come back.
    done = run("update", *asked)
    assert "5 record(s) read" in done.out
    assert run("profile", "rm", "ada", "--yes").code == 0
    assert memory_of("ada") is None
    for path in (tmp_path / "hyperalign").rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert b"Take the " not in path.read_bytes(), path


def test_mistakes_are_told(run: Run, asked: list[str], tmp_path: Path) -> None:
    run("update", "--model", "openai/x").refused(3, "There is nothing to read", "--user NAME")
    run("update", *asked).refused(4, "no records of 'ada'")
    run("update", "-", *asked).refused(3, "Standard input has no record")
    run("update", "-", *asked, stdin=b"{nonsense\n").refused(3, "standard input", "not JSON")
    run("update", "-", *asked, stdin=lines(0, 1, user="bob").encode()).refused(3, "of 'bob', not of 'ada'")
    rating = json.dumps({"user": "ada", "text": "x", "rating": 3, "prompt": "y"})
    run("update", "-", *asked, stdin=rating.encode()).refused(3, "a rating alone is no choice")
    run("update", "choices.jsonl", *asked)
    (tmp_path / "more.jsonl").write_text(lines(6, 2))
    with Store() as store:
        store.keep_memory("ada", "{}")
    run("update", "more.jsonl", *asked).refused(3, "no memory of an earlier fit", "--refit")
    assert run("update", "more.jsonl", "--refit", *asked).code == 0
    changed = json.dumps({**json.loads(pair("ada", 9, True)), "id": "x"}) + "\n"
    other = json.dumps({**json.loads(pair("ada", 10, True)), "id": "x"}) + "\n"
    run("update", "-", *asked, stdin=changed.encode())
    run("update", "-", *asked, stdin=other.encode()).refused(3, "already stands for another record")
    done = run("update", "-", "--skip-bad", *asked, stdin=(other + lines(30, 1)).encode())
    assert done.code == 0, done.err
    assert "Passed over" in done.err
    assert "1 record(s) read" in done.out


def test_who_is_removed_is_gone_from_what_is_remembered_of_others(
    run: Run, asked: list[str], tmp_path: Path, scripted_server: ScriptedServer
) -> None:
    others = [lines(0, 4, short=False, user=name) for name in ("xena", "yves", "zoe")]
    with Store() as store:
        store.add_records(parse_line(line) for line in "".join(others).splitlines())
    asked = asked[: asked.index("--population")]  # everybody else in the store, then
    run("update", "choices.jsonl", *asked)
    assert '"zoe"' in (memory_of("ada") or "")
    assert run("profile", "rm", "zoe", "--yes").code == 0
    assert '"zoe"' not in (memory_of("ada") or "")
    for path in (tmp_path / "hyperalign" / "data").rglob("*.sqlite*"):
        assert b"zoe" not in path.read_bytes(), path
    first = len(scripted_server.requests)
    (tmp_path / "more.jsonl").write_text(lines(6, 1))
    assert "1 record(s) read" in run("update", "more.jsonl", *asked).out
    assert len(scripted_server.requests) - first < first / 4, "what is left is gone on with"

    with Store() as store:
        store.keep_memory("ada", '{"schema": 0, "rows": ["yves"]}')
    assert run("profile", "rm", "yves", "--yes").code == 0
    assert memory_of("ada") is None, "what nobody can read any longer is made anew"
