"""Where data lie: a path first; then the hub, which here is a server of this machine that refuses, or a cache."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from huggingface_hub import constants

from hyperalign.errors import InputError
from hyperalign.evals.tasks import load_task
from hyperalign.evals.tasks.files import locate_data
from tests.fixtures.scripted_server import ScriptedServer

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def refusing_hub(scripted_server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub that knows nothing; returns the folder of its cache."""
    cache = tmp_path / "hub"
    monkeypatch.setattr(constants, "ENDPOINT", scripted_server.url)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    return cache


def fetched(cache: Path, name: str, *files: str) -> Path:
    """A data set that was fetched before, as the hub's own cache lays it out."""
    folder = cache / f"datasets--{name.replace('/', '--')}"
    snapshot = folder / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    for file in files:
        (snapshot / file).write_text(json.dumps({"prompt": "?", "chosen": "Yes.", "rejected": "No."}) + "\n")
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("0" * 40)
    return snapshot


def test_a_path_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", NOWHERE)
    monkeypatch.chdir(tmp_path)
    Path("owner/name").mkdir(parents=True)
    assert locate_data("owner/name") == Path("owner/name")
    file = tmp_path / "a.jsonl"
    file.touch()
    assert locate_data(str(file)) == file
    monkeypatch.setenv("HOME", str(tmp_path))
    assert locate_data("~/a.jsonl") == file


@pytest.mark.parametrize("data", ["missing.jsonl", "/missing/set", "./missing/set", "a/b/c", "../missing", "a b/c"])
def test_what_is_no_name_on_the_hub_is_a_path(data: str) -> None:
    assert locate_data(data) == Path(data)


@pytest.mark.usefixtures("refusing_hub")
@pytest.mark.parametrize("name", ["nobody/nothing", "no--body/nothing", "nobody/nothing.git", "no..body/nothing"])
def test_a_name_that_the_hub_refuses_is_said(name: str) -> None:
    with pytest.raises(InputError, match=f"{name}: there is no such path") as caught:
        locate_data(name)
    assert "--data" in caught.value.remedy
    with pytest.raises(InputError, match="no such data set could be downloaded"):
        load_task("alignx", data=name)


def test_a_hub_that_is_out_of_reach_is_said(refusing_hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", NOWHERE)
    with pytest.raises(InputError, match="nobody/nothing: there is no such path"):
        locate_data("nobody/nothing")
    assert not list(refusing_hub.rglob("*.jsonl"))


def test_what_was_fetched_before_serves_while_the_hub_is_out_of_reach(
    refusing_hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", NOWHERE)
    one = fetched(refusing_hub, "owner/one", "test.jsonl")
    assert locate_data("owner/one") == one / "test.jsonl", "the one file of a data set that has only one"
    two = fetched(refusing_hub, "owner/two", "dev.jsonl", "test.jsonl")
    assert locate_data("owner/two") == two
    assert len(load_task("alignx", data="owner/two").cases()) == 1
