"""The folder of an eval: what was asked, what each case gave, what it cost, and what came out.

``eval.json`` marks it, so that a folder never mixes two runs; ``cost.json`` adds up all sittings of a run that
was stopped and went on. This file does not know what the figures mean.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hyperalign.budget import Budget, Usage
from hyperalign.errors import InputError
from hyperalign.files import data_folder, write_whole

__all__ = ["EvalFolder", "read_json"]


class EvalFolder:
    """One run's folder.

    Args:
        out: where; a folder among the runs of the data folder, named by what is asked, if None.
        asked: all that decides the result, as JSON-able data with a ``task``.
        beside: what is told of the first sitting and decides nothing: another run may differ in it.

    Raises:
        InputError: another run, or something else, lies there.
        StorageError: it can't be written.
    """

    def __init__(self, out: Path | None, asked: Mapping[str, Any], *, beside: Mapping[str, Any] | None = None) -> None:
        text = json.dumps(asked, indent=2, ensure_ascii=False) + "\n"
        fingerprint = hashlib.sha256(text.encode()).hexdigest()[:10]
        name = "".join(letter if letter.isalnum() else "-" for letter in str(asked["task"]))[:40]
        self.path = out or data_folder() / "runs" / f"eval-{name}-{fingerprint}"
        mark = self.path / "eval.json"
        if mark.exists():
            before = read_json(mark)
            changed = [key for key, value in json.loads(text).items() if before.get(key) != value]
            if changed:
                raise InputError(
                    f"{self.path}: another run lies there, which differs in {', '.join(changed)}.",
                    remedy="Choose another --out, or ask the same again to go on with it.",
                )
        elif self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise InputError(f"{self.path}: something else lies there.", remedy="Choose another --out.")
        else:
            told = {**asked, **(beside or {})}
            write_whole(mark, json.dumps(told, indent=2, ensure_ascii=False) + "\n")

    @property
    def cases(self) -> Path:
        """Outcomes, one a line."""
        return self.path / "cases.jsonl"

    @property
    def profiles(self) -> Path:
        """Profiles, one a line."""
        return self.path / "profiles.jsonl"

    @contextmanager
    def sitting(self, budget: Budget) -> Iterator[None]:
        """Add what is spent inside to the run's cost, however it ends."""
        before = budget.by_step
        try:
            yield
        finally:
            total = self.cost()
            for step, spent in budget.by_step.items():
                total[step] = total.get(step, Usage()) + _less(spent, before.get(step, Usage()))
            content = {step: spent.as_json() for step, spent in total.items()}
            write_whole(self.path / "cost.json", json.dumps(content, indent=2) + "\n")

    def cost(self) -> dict[str, Usage]:
        """What all sittings have spent, step by step."""
        path = self.path / "cost.json"
        return {step: Usage.from_json(spent) for step, spent in read_json(path).items()} if path.exists() else {}

    def write(self, name: str, content: str) -> Path:
        """Add a file, whole or not at all.

        Raises:
            StorageError: the disk is full or not writable.
        """
        write_whole(self.path / name, content)
        return self.path / name


def read_json(path: Path) -> Any:
    """The content of one of a run's files.

    Raises:
        InputError: it is not there, or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}.", remedy="Is this the folder of a finished eval?") from error
    except ValueError as error:
        raise InputError(
            f"{path}: this is not JSON ({error}).", remedy="Move the file away and run the eval again."
        ) from error


def _less(left: Usage, right: Usage) -> Usage:
    return Usage(*(getattr(left, name) - getattr(right, name) for name in Usage.__slots__))
