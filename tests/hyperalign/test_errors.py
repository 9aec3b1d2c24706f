"""Every error says what happened, what to do, and is also the standard error it stands for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hyperalign import errors
from hyperalign.errors import HyperalignError, MissingExtraError, RecordError

ALL = [kind for name in errors.__all__ if isinstance(kind := getattr(errors, name), type)]


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_the_tree_in_the_docstring_is_true(kind: type[HyperalignError]) -> None:
    drawn = re.search(rf"\b{kind.__name__}\b(?: \((\w+)\))?(?: +exit (\d+))?", errors.__doc__ or "")
    assert drawn, f"{kind.__name__} is not drawn"
    names = [parent.__name__ for parent in kind.__mro__]
    if drawn[1]:
        assert drawn[1] in names
    if drawn[2]:
        assert kind.exit_code == int(drawn[2])


@pytest.mark.parametrize("kind", [k for k in ALL if k is not MissingExtraError], ids=lambda kind: kind.__name__)
def test_message_and_remedy_are_shown_together(kind: type[HyperalignError]) -> None:
    assert str(kind("It broke.", remedy="Mend it.")) == "It broke. Mend it."
    assert str(kind("It broke.")) == "It broke."
    assert kind("It broke.", remedy="Mend it.").remedy == "Mend it."


def test_all_is_sorted_and_complete() -> None:
    kinds = [n for n, v in vars(errors).items() if isinstance(v, type) and issubclass(v, HyperalignError)]
    assert [name for name in errors.__all__ if name[0].isupper()] == sorted(kinds)
    assert errors.__all__ == sorted(errors.__all__)


@pytest.mark.parametrize(
    ("path", "line", "start"),
    [(None, None, "bad"), ("a.jsonl", None, "a.jsonl: bad"), (Path("a.jsonl"), 3, "a.jsonl:3: bad"), (None, 3, "bad")],
)
def test_a_record_error_says_where(path: Path | str | None, line: int | None, start: str) -> None:
    error = RecordError("bad", path=path, line=line)
    assert str(error) == start
    assert (error.path, error.line) == (path, line)


def test_a_missing_extra_says_how_to_get_it() -> None:
    error = MissingExtraError("PostgreSQL", "postgres")
    assert "pip install 'hyperalign[postgres]'" in str(error)
    assert isinstance(error, ImportError)
