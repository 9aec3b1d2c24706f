"""Helpers for the tests of the store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hyperalign.errors import StorageError
from hyperalign.records import Sample
from hyperalign.store import Store

SECRET = b"marmalade"


def sample(user: str, words: str) -> Sample:
    """A text of a person."""
    return Sample(user=user, text=words)


@contextmanager
def busy_for(store: Store, milliseconds: int) -> Iterator[None]:
    """Wait less long for locks, so that a test needn't."""
    _wait(store, milliseconds)
    try:
        yield
    finally:
        _wait(store, 10_000)


def _wait(store: Store, milliseconds: int) -> None:
    with store._engine.begin() as connection:
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {milliseconds}")


def refused(place: str | Path) -> StorageError:
    """The error of a place that cannot be opened."""
    with pytest.raises(StorageError) as caught:
        Store(place)
    assert caught.value.exit_code == 7
    assert caught.value.remedy
    return caught.value
