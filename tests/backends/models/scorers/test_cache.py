"""The cache of scores: a real SQLite file, around a scorer that counts what it is asked."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from hyperalign.backends.models.scorers import CachedScorer
from hyperalign.budget import Budget
from hyperalign.errors import ModelServerError, StorageError
from hyperalign.scores import Message, Scorer, TextScore

CONTEXT: list[Message] = [{"role": "user", "content": "A private question."}]


class Counting:
    """Scores a text by its length, and remembers each time it was asked."""

    def __init__(self, name: str = "weights-1") -> None:
        self.name = name
        self.asked: list[list[str]] = []
        self.closed = False

    def score(self, context: Sequence[Message], texts: Sequence[str]) -> list[TextScore]:
        self.asked.append(list(texts))
        return [TextScore(-0.1 * len(text), len(text)) for text in texts]

    def close(self) -> None:
        self.closed = True


class Failing(Counting):
    def score(self, context: Sequence[Message], texts: Sequence[str]) -> list[TextScore]:
        raise ModelServerError("down")


def test_only_what_is_new_is_asked(tmp_path: Path) -> None:
    inner, budget = Counting(), Budget()
    with CachedScorer(inner, tmp_path / "deep" / "scores.db", budget=budget) as cached:
        assert isinstance(cached, Scorer)
        first = cached.score(CONTEXT, ["one", "three", "one"])
        assert cached.score(CONTEXT, ["three", "seven", "one"])[1] == TextScore(-0.5, 5)
        assert cached.score(CONTEXT, ["one", "three", "one"]) == first
        assert (cached.hits, cached.misses) == (6, 3)
    assert inner.asked == [["one", "three"], ["seven"]]
    assert budget.spent.replayed == 1
    assert inner.closed


def test_scores_outlive_the_process_and_keep_weights_and_contexts_apart(tmp_path: Path) -> None:
    path = tmp_path / "scores.db"
    with CachedScorer(Counting(), path) as cached:
        cached.score(CONTEXT, ["one"])
    again, other = Counting(), Counting("weights-2")
    with CachedScorer(again, path) as same, CachedScorer(other, path) as different:
        same.score(CONTEXT, ["one"])
        different.score(CONTEXT, ["one"])
        same.score([{"role": "system", "content": CONTEXT[0]["content"]}], ["one"])
    assert (again.asked, other.asked) == ([["one"]], [["one"]])


def test_the_file_holds_nobodys_words(tmp_path: Path) -> None:
    with CachedScorer(Counting(), tmp_path / "scores.db") as cached:
        cached.score(CONTEXT, ["My secret is safe.", "\ud800 lone"])
    content = b"".join(file.read_bytes() for file in tmp_path.glob("scores.db*"))
    assert b"secret" not in content
    assert b"private" not in content


def test_a_failing_scorer_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "scores.db"
    with CachedScorer(Failing(), path) as cached, pytest.raises(ModelServerError):
        cached.score(CONTEXT, ["one"])
    inner = Counting()
    with CachedScorer(inner, path) as cached:
        cached.score(CONTEXT, ["one"])
    assert inner.asked == [["one"]]


def test_a_full_disk(tmp_path: Path) -> None:
    with CachedScorer(Counting(), tmp_path / "scores.db") as cached:
        cached.score(CONTEXT, ["kept"])
        (pages,) = cached._cache._database.execute("PRAGMA page_count").fetchone()
        cached._cache._database.execute(f"PRAGMA max_page_count={pages}")
        with pytest.raises(StorageError, match="No space left") as caught:
            cached.score(CONTEXT, [f"text {number}" for number in range(500)])
        assert "Free some space" in caught.value.remedy
        cached.score(CONTEXT, ["kept"])
        assert cached.hits == 1


def test_files_that_are_no_cache(tmp_path: Path) -> None:
    (tmp_path / "prose.db").write_text("This is not a database. " * 100)
    with pytest.raises(StorageError, match="damaged"):
        CachedScorer(Counting(), tmp_path / "prose.db")
    with pytest.raises(StorageError):
        CachedScorer(Counting(), tmp_path / "prose.db" / "scores.db")


_WRITER = """
import sys
from hyperalign.backends.models.scorers import CachedScorer
from hyperalign.scores import TextScore

class Inner:
    name = "weights-1"
    def score(self, context, texts):
        return [TextScore(-0.1 * len(text), len(text)) for text in texts]

with CachedScorer(Inner(), sys.argv[1]) as cached:
    for number in range(60):
        texts = [f"shared {number}", f"{sys.argv[2]} {number}"]
        cached.score([{"role": "user", "content": "same"}], texts)
"""


def test_two_processes_at_once(tmp_path: Path) -> None:
    path = tmp_path / "scores.db"
    writers = [
        subprocess.Popen([sys.executable, "-c", _WRITER, str(path), who], stderr=subprocess.PIPE) for who in "ab"
    ]
    for writer in writers:
        _, said = writer.communicate(timeout=60)
        assert writer.returncode == 0, said.decode()
    with CachedScorer(Counting(), path) as cached:
        (rows,) = cached._cache._database.execute("SELECT count(*) FROM scores_2").fetchone()
    assert rows == 180
