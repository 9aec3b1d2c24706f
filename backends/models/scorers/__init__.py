"""Log-probabilities of given text, from a GGUF file, a checkpoint or a vLLM server, cached in SQLite.

``open_scorer`` makes a scorer from a model's name. It need not be the model that generates: hypotheses of a large
hosted model can be tested by a small one on this machine.
"""

from __future__ import annotations

import errno
import hashlib
import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hyperalign.budget import Budget, Usage
from hyperalign.concurrency import Progress
from hyperalign.errors import StorageError, UnknownModelError
from hyperalign.files import cache_folder, storage_error
from hyperalign.scores import Message, Scorer, TextScore

from ..catalogue import resolve
from ..download import ensure_local
from ..target import locate
from .llama import LlamaScorer
from .vllm import VLLMScorer

__all__ = ["CachedScorer", "LlamaScorer", "VLLMScorer", "open_scorer"]

_WAIT = 30.0  # seconds to wait for another process's transaction
_TABLE = """
CREATE TABLE IF NOT EXISTS scores_1 (
    scorer TEXT NOT NULL, context BLOB NOT NULL, text BLOB NOT NULL,
    logprob REAL NOT NULL, tokens INTEGER NOT NULL,
    PRIMARY KEY (scorer, context, text)
) WITHOUT ROWID
"""


class CachedScorer:
    """A ``Scorer`` that asks another one only for what it has not seen.

    Keys are the scorer's name, which names the weights, and hashes of context and text: the file holds nobody's words.

    Args:
        inner: the scorer that knows; ``close`` closes it too.
        path: the SQLite file; made if missing, and safe with two processes.
        budget: where to book calls that were answered from the file alone.

    Attributes:
        hits: texts answered from the file.
        misses: texts the inner scorer was asked about.

    Raises:
        StorageError: the file can't be made, or is not a database.
    """

    def __init__(self, inner: Scorer, path: Path | str, *, budget: Budget | None = None) -> None:
        self.hits = 0
        self.misses = 0
        self._inner = inner
        self._path = Path(path)
        self._budget = budget
        self._lock = threading.Lock()
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(error, self._path) from error
        with self._translated():
            self._database = sqlite3.connect(self._path, timeout=_WAIT, isolation_level=None, check_same_thread=False)
        try:
            with self._translated():
                self._database.execute("PRAGMA journal_mode=WAL")
                # A cache may lose its last entries in a power cut, but must never be torn.
                self._database.execute("PRAGMA synchronous=NORMAL")
                self._database.execute(_TABLE)
        except BaseException:
            self._database.close()
            raise

    @property
    def name(self) -> str:
        """The inner scorer's name: a remembered score is that scorer's score."""
        return self._inner.name

    def close(self) -> None:
        """Close the file and, where it can be closed, the inner scorer."""
        with self._lock:
            self._database.close()
        close = getattr(self._inner, "close", None)
        if callable(close):
            close()

    def __enter__(self) -> CachedScorer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def score(self, context: Sequence[Message], texts: Sequence[str]) -> list[TextScore]:
        """Score each text; see ``hyperalign.scores.Scorer``.

        What is new is written in one transaction once the inner scorer has answered.

        Raises:
            StorageError: the file can't be read or written.
        """
        key = _context_key(context)
        keys = [_hash(text) for text in texts]
        with self._lock:
            known = self._look_up(key, keys)
        missing = {digest: text for digest, text in zip(keys, texts, strict=True) if digest not in known}
        if missing:
            fresh = dict(zip(missing, self._inner.score(context, list(missing.values())), strict=True))
            with self._lock:
                self._remember(key, fresh)
            known |= fresh
        with self._lock:
            self.hits += len(texts) - len(missing)
            self.misses += len(missing)
        if texts and not missing and self._budget is not None:
            self._budget.add(Usage(replayed=1))
        return [known[digest] for digest in keys]

    def _look_up(self, context: bytes, texts: Sequence[bytes]) -> dict[bytes, TextScore]:
        found: dict[bytes, TextScore] = {}
        with self._translated():
            for text in texts:
                row = self._database.execute(
                    "SELECT logprob, tokens FROM scores_1 WHERE scorer = ? AND context = ? AND text = ?",
                    (self.name, context, text),
                ).fetchone()
                if row is not None:
                    found[text] = TextScore(*row)
        return found

    def _remember(self, context: bytes, fresh: dict[bytes, TextScore]) -> None:
        rows = [(self.name, context, digest, score.logprob, score.tokens) for digest, score in fresh.items()]
        with self._translated():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                self._database.executemany("INSERT OR IGNORE INTO scores_1 VALUES (?, ?, ?, ?, ?)", rows)
                self._database.execute("COMMIT")
            finally:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn what SQLite says into a sentence with a remedy."""
        try:
            yield
        except sqlite3.Error as error:
            raise _explain(error, self._path) from error


def _explain(error: sqlite3.Error, path: Path) -> StorageError:
    # The low byte is the kind of error; the rest says more than anybody needs.
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return storage_error(OSError(errno.ENOSPC, "disk full"), path)
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN):
        return storage_error(PermissionError(errno.EACCES, "permission denied"), path)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StorageError(
            f"Another program has kept {path} locked for {_WAIT:.0f} seconds.",
            remedy="End it or wait for it, then run the same command again.",
        )
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return StorageError(
            f"{path} is damaged or not a cache of scores.", remedy="Remove it: scores are made again when needed."
        )
    return StorageError(f"The cache of scores {path} failed: {error}.", remedy="Remove it if this happens again.")


def _context_key(context: Sequence[Message]) -> bytes:
    return _hash(json.dumps([[message["role"], message["content"]] for message in context]))


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def open_scorer(name: str, *, budget: Budget | None = None, progress: Progress | None = None) -> Scorer:
    """A scorer whose answers are remembered in the user's cache folder, as numbers and hashes only.

    Args:
        name: ``local:<name from the catalogue or path of a .gguf file>`` or ``vllm:<address or model name>``.
        budget: where to book what is read.
        progress: told of the download of a ``local:`` model's file.

    Raises:
        UnknownModelError: no such model, or one of a kind that gives no log-probabilities of text.
        MissingExtraError: a ``local:`` model without the part that reads it.
        DownloadError: the model's file can't be had.
    """
    return CachedScorer(_open(name.strip(), budget, progress), cache_folder() / "scores.sqlite", budget=budget)


def _open(name: str, budget: Budget | None, progress: Progress | None) -> Scorer:
    scheme, _, rest = name.partition(":")
    if scheme == "local":
        model = resolve(rest)
        return LlamaScorer(ensure_local(model, progress), name=model.served_name, budget=budget)
    if scheme == "vllm":
        served = locate(rest)
        return VLLMScorer(served.base, served.model, api_key=served.api_key, budget=budget)
    raise UnknownModelError(
        f"'{name}' gives no log-probabilities of text.",
        remedy="A scorer is 'local:<name>' or 'vllm:<address>'; without one, hypotheses are tested by choice.",
    )
