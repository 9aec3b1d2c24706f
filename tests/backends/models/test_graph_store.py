"""Graphs of large models are made once, whole and private, and few of them are kept."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hyperalign.backends.models import graph_store
from hyperalign.backends.models.gguf_graph import openvino
from hyperalign.backends.models.graph_store import remove_graphs, stored_graph
from hyperalign.errors import StorageError

pytestmark = pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="OpenVINO is not installed")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    return tmp_path / "model.gguf"


@pytest.fixture
def graphs(isolated_folders: Path) -> Path:
    return isolated_folders / "cache" / "graphs"


def builder(made: list[str]) -> Callable[[], Any]:
    """Makes a graph that adds one, and notes that it did."""

    def build() -> Any:
        library = openvino()
        op = library.opset13
        number = op.parameter([1], np.float32, "number")
        made.append("graph")
        return library.Model([op.result(op.add(number, op.constant(np.ones(1, np.float32))))], [number], "more")

    return build


def run(graph: Any) -> float:
    request = openvino().Core().compile_model(graph, "CPU").create_infer_request()
    return float(request.infer({0: np.full(1, 41.0, np.float32)})[0][0])


def folders(graphs: Path) -> set[str]:
    return {each.name[:1] for each in graphs.iterdir() if each.is_dir()}


def test_it_is_made_once_and_is_private(path: Path, graphs: Path) -> None:
    made: list[str] = []
    assert [run(stored_graph(path, "a" * 64, builder(made))) for _ in range(2)] == [42.0, 42.0]
    assert made == ["graph"]
    (folder,) = (each for each in graphs.iterdir() if each.is_dir())
    assert [each.stat().st_mode & 0o777 for each in (graphs, folder)] == [0o700, 0o700]
    assert {each.stat().st_mode & 0o777 for each in folder.iterdir()} == {0o600}


@pytest.mark.parametrize("what", ["cut", "builder"])
def test_it_is_made_anew_where_it_must(path: Path, graphs: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    made: list[str] = []
    stored_graph(path, "a" * 64, builder(made))
    if what == "cut":
        (file,) = graphs.glob("*/graph.xml")
        file.write_bytes(file.read_bytes()[:200])
    else:
        monkeypatch.setattr(graph_store, "BUILDER", 99)
    assert run(stored_graph(path, "a" * 64, builder(made))) == 42.0
    assert len(made) == 2
    assert len([each for each in graphs.iterdir() if each.is_dir()]) == 1, "what an older builder made goes"


def test_few_are_kept(path: Path, graphs: Path) -> None:
    made: list[str] = []
    for age, name in enumerate("abcd"):
        stored_graph(path, name * 64, builder(made))
        for each in graphs.glob(f"{name}*"):
            os.utime(each, (1000 + age, 1000 + age))
    assert folders(graphs) == {"b", "c", "d"}
    (graphs / ".new-left").mkdir()
    stored_graph(path, "b" * 64, builder(made))
    stored_graph(path, "e" * 64, builder(made))
    assert folders(graphs) == {"b", "d", "e"}, "those that were used last stay, and what a killed program left goes"
    assert remove_graphs("b" * 64) > 0
    assert folders(graphs) == {"d", "e"}
    assert remove_graphs("b" * 64) == 0


def test_graphs_of_one_file_are_told_apart_by_their_kind(path: Path, graphs: Path) -> None:
    made: list[str] = []
    stored_graph(path, "a" * 64, builder(made))
    stored_graph(path, "a" * 64, builder(made), "writing")
    stored_graph(path, "a" * 64, builder(made), "writing")
    assert len(made) == 2
    assert len([*graphs.glob("a*")]) == 2
    remove_graphs("a" * 64)
    assert not [*graphs.glob("a*")]


def test_a_disk_without_room_and_one_that_refuses(path: Path, graphs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=1))
        assert run(stored_graph(path, "a" * 64, builder(made))) == 42.0
    assert folders(graphs) == set()
    shutil.rmtree(graphs)
    graphs.write_text("in the way")
    with pytest.raises(StorageError):
        stored_graph(path, "a" * 64, builder(made))


def test_what_fails_leaves_nothing(path: Path, graphs: Path) -> None:
    def fail() -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stored_graph(path, "a" * 64, fail)
    assert folders(graphs) == set()
