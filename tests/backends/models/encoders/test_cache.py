"""The cache of embeddings: a real SQLite file, around an encoder that counts what it is asked."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hyperalign.backends.models.encoders import CachedEncoder
from hyperalign.budget import Budget
from hyperalign.errors import ModelOutputError, ModelServerError, StorageError

Items = Sequence[tuple[str, str]]


class Counting:
    """Embeds a text by the lengths of its prompt and itself, and remembers each time it was asked."""

    def __init__(self, name: str = "weights-1@20", width: int = 2) -> None:
        self.name = name
        self.asked: list[list[tuple[str, str]]] = []
        self.closed = False
        self._width = width

    def encode(self, items: Items) -> NDArray[np.float32]:
        self.asked.append(list(items))
        rows = [[0.1 * len(prompt), 0.1 * len(text), 1.0][: self._width] for prompt, text in items]
        return np.array(rows, np.float32)

    def close(self) -> None:
        self.closed = True


class Failing(Counting):
    """Fails from the second time on."""

    def encode(self, items: Items) -> NDArray[np.float32]:
        if self.asked:
            raise ModelServerError("down")
        return super().encode(items)


def test_only_what_is_new_is_asked(tmp_path: Path) -> None:
    inner, budget = Counting(), Budget()
    with CachedEncoder(inner, tmp_path / "deep" / "embeddings.db", budget=budget) as cached:
        assert cached.name == inner.name
        first = cached.encode([("p", "one"), ("p", "three"), ("p", "one"), ("other", "one")])
        assert first.dtype == np.float32
        assert first == pytest.approx(np.array([[0.1, 0.3], [0.1, 0.5], [0.1, 0.3], [0.5, 0.3]]))
        cached.encode([("p", "three"), ("p", "seven")])
        assert np.array_equal(cached.encode([("p", "three"), ("p", "one")]), first[[1, 0]])
        assert (cached.hits, cached.misses) == (4, 4)
        assert cached.encode([]).shape == (0, 0)
    assert inner.asked == [[("p", "one"), ("p", "three"), ("other", "one")], [("p", "seven")]]
    assert budget.spent.replayed == 1
    assert inner.closed


def test_the_border_of_prompt_and_text_counts(tmp_path: Path) -> None:
    inner = Counting()
    with CachedEncoder(inner, tmp_path / "embeddings.db") as cached:
        cached.encode([("ab", "c"), ("a", "bc"), ("", "abc")])
    assert len(inner.asked[0]) == 3


def test_embeddings_outlive_the_process_and_keep_encoders_apart(tmp_path: Path) -> None:
    path = tmp_path / "embeddings.db"
    with CachedEncoder(Counting(), path) as cached:
        cached.encode([("p", "one")])
    again, other = Counting(), Counting("weights-1@21")
    with CachedEncoder(again, path) as same, CachedEncoder(other, path) as different:
        same.encode([("p", "one")])
        different.encode([("p", "one")])
    assert (again.asked, other.asked) == ([], [[("p", "one")]])


def test_the_file_is_private_and_holds_nobodys_words(tmp_path: Path) -> None:
    with CachedEncoder(Counting(), tmp_path / "own" / "embeddings.db") as cached:
        cached.encode([("A private question.", "My secret is safe."), ("\ud800 lone", "é")])
        files = list((tmp_path / "own").iterdir())
        content = b"".join(file.read_bytes() for file in files)
        if os.name == "posix":
            assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
            assert stat.S_IMODE((tmp_path / "own").stat().st_mode) == 0o700
    assert len(files) > 1
    assert b"secret" not in content
    assert b"private" not in content


def test_what_was_read_before_a_failure_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "embeddings.db"
    items = [("p", str(number)) for number in range(5)]
    with CachedEncoder(Failing(), path, batch_size=2) as cached, pytest.raises(ModelServerError):
        cached.encode(items)
    inner = Counting()
    with CachedEncoder(inner, path, batch_size=2) as cached:
        cached.encode(items)
    assert inner.asked == [items[2:4], items[4:]]


def test_a_model_that_changed_under_its_name(tmp_path: Path) -> None:
    path = tmp_path / "embeddings.db"
    with CachedEncoder(Counting(), path) as cached:
        cached.encode([("p", "one")])
    with CachedEncoder(Counting(width=3), path) as cached, pytest.raises(ModelOutputError, match="another length"):
        cached.encode([("p", "one"), ("p", "two")])


def test_a_file_that_is_no_cache(tmp_path: Path) -> None:
    (tmp_path / "prose.db").write_text("This is not a database. " * 100)
    with pytest.raises(StorageError, match="not a cache of embeddings"):
        CachedEncoder(Counting(), tmp_path / "prose.db")


_WRITER = """
import sys
import numpy as np
from hyperalign.backends.models.encoders import CachedEncoder

class Inner:
    name = "weights-1@20"
    def encode(self, items):
        return np.array([[len(text)] for _, text in items], np.float32)

with CachedEncoder(Inner(), sys.argv[1]) as cached:
    for number in range(60):
        cached.encode([("p", f"shared {number}"), ("p", f"{sys.argv[2]} {number}")])
"""


def test_two_processes_at_once(tmp_path: Path) -> None:
    path = tmp_path / "embeddings.db"
    writers = [
        subprocess.Popen([sys.executable, "-c", _WRITER, str(path), who], stderr=subprocess.PIPE) for who in "ab"
    ]
    for writer in writers:
        _, said = writer.communicate(timeout=60)
        assert writer.returncode == 0, said.decode()
    inner = Counting()
    with CachedEncoder(inner, path) as cached:
        cached.encode([("p", f"{who} {number}") for who in ("shared", "a", "b") for number in range(60)])
    assert not inner.asked
