"""What would stop a model's first call is said before its file is fetched."""

from __future__ import annotations

import importlib.util
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from hyperalign.backends.models.connect import check_name, check_ready, check_scorer, connect
from hyperalign.errors import (
    DownloadError,
    HyperalignError,
    InputError,
    MissingExtraError,
    MissingKeyError,
    StorageError,
    UnknownModelError,
)

LOCAL = "local:smollm2-135m-instruct"
Space = namedtuple("Space", ["total", "used", "free"])


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPERALIGN_CACHE", str(tmp_path / "not" / "there" / "yet"))


def without(monkeypatch: pytest.MonkeyPatch, absent: str) -> None:
    found = importlib.util.find_spec

    def find_spec(name: str, package: str | None = None) -> Any:
        return None if name == absent else found(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)


def test_a_key_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(MissingKeyError, match="OPENAI_API_KEY"):
        check_ready(connect("openai/gpt-5-mini"))
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    check_ready(connect("openai/gpt-5-mini"))
    with pytest.raises(UnknownModelError):
        check_ready(connect("nonsense/x"))


@pytest.mark.parametrize("check", [lambda: check_ready(connect(LOCAL)), lambda: check_scorer(LOCAL)])
def test_a_local_model_s_part_place_and_leave(monkeypatch: pytest.MonkeyPatch, check: Any) -> None:
    check()
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: Space(1 << 40, 1 << 40, 1 << 20))
        with pytest.raises(StorageError, match="MB of space"):
            check()
    with monkeypatch.context() as patch:
        patch.setenv("HYPERALIGN_OFFLINE", "1")
        with pytest.raises(DownloadError, match="OFFLINE"):
            check()
    for module in ("xllamacpp", "openvino"):
        without(monkeypatch, module)
    with pytest.raises(MissingExtraError, match="local"):
        check()


def test_a_file_that_is_here_needs_no_space(
    monkeypatch: pytest.MonkeyPatch, smollm_path: Path, isolated_folders: Path
) -> None:
    monkeypatch.setenv("HYPERALIGN_CACHE", str(isolated_folders / "cache"))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Space(1 << 40, 1 << 40, 1 << 20))
    check_scorer(LOCAL)
    check_scorer(f"local:{smollm_path}")


@pytest.mark.parametrize("name", ["anthropic/claude-opus-5", "gpt-5-mini", LOCAL, "vllm:some-name", "adapter:mira"])
def test_names_that_could_be_models(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    check_name(name)


@pytest.mark.parametrize("name", ["nonsense/x", "gpt", "local:nobody", "local:missing.gguf"])
def test_names_that_could_not(name: str) -> None:
    with pytest.raises(InputError) as error:
        check_name(name)
    assert error.value.remedy
    assert isinstance(error.value, HyperalignError)
