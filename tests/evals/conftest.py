"""Tasks of small files."""

from __future__ import annotations

from pathlib import Path

import pytest

from hyperalign.evals import load_task
from hyperalign.evals.cases import Task

from .small_task import jsonl, pairs, samples


@pytest.fixture
def choices(tmp_path: Path) -> Task:
    """Six choices of three people, of whom six records each are known."""
    return load_task(str(jsonl(tmp_path / "choices.jsonl", pairs())))


@pytest.fixture
def texts(tmp_path: Path) -> Task:
    """Four texts of two people, of whom six records each are known."""
    return load_task(str(jsonl(tmp_path / "texts.jsonl", samples())))
