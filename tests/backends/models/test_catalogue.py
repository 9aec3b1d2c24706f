from __future__ import annotations

import os
from pathlib import Path

import pytest

from hyperalign.backends.models import catalogue
from hyperalign.errors import InputError, UnknownModelError


def test_entries_are_complete() -> None:
    for entry in catalogue.entries():
        assert entry.licence == "Apache-2.0"
        assert len(entry.sha256) == 64
        assert entry.bytes > 1e6
        assert entry.hub.repo.count("/") == 1
        assert entry.path.parent == catalogue.models_folder()
    wheels = catalogue.find("qwen2.5-coder-1.5b-instruct").wheels.distributions
    assert [name.rpartition("part")[2] for name in wheels] == [str(number) for number in range(1, 23)]


def test_find_offers_the_nearest_name() -> None:
    with pytest.raises(UnknownModelError, match=r"Did you mean 'smollm2-135m-instruct'\?"):
        catalogue.find("smollm-135m")
    with pytest.raises(UnknownModelError, match="models list"):
        catalogue.find("zzzz")
    assert catalogue.find("SmolLM2-135M-Instruct").name == "smollm2-135m-instruct"


def test_served_name_carries_the_weights() -> None:
    model = catalogue.resolve("qwen2.5-coder-1.5b-instruct")
    assert model.served_name == "qwen2.5-coder-1.5b-instruct-cc324af0"


def test_own_file_is_hashed_once(tmp_path: Path) -> None:
    path = tmp_path / "My Model (v2).gguf"
    path.write_bytes(b"GGUF and more")
    model = catalogue.resolve(str(path))
    assert model.name == "my-model--v2-"
    # The same size and time: the note is believed, whatever the bytes are now.
    status = path.stat()
    path.write_bytes(b"GGUF and More")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert catalogue.resolve(str(path)).sha256 == model.sha256
    path.write_bytes(b"GGUF and much more")
    assert catalogue.resolve(str(path)).sha256 != model.sha256


def test_own_file_must_be_there_and_be_gguf(tmp_path: Path) -> None:
    with pytest.raises(UnknownModelError, match="no model file"):
        catalogue.resolve(str(tmp_path / "gone.gguf"))
    path = tmp_path / "text.gguf"
    path.write_text("hello")
    with pytest.raises(InputError, match="not a GGUF file"):
        catalogue.resolve(str(path))
