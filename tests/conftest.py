"""Fixtures for all tests: no test touches the user's own folders, none needs the network.

The embedded SmolLM2 is a real model file: it is fetched once into the user's normal cache
and linked into each test's own cache folder.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hyperalign import errors
from hyperalign.files import cache_folder

from .fixtures.scripted_server import ScriptedServer, serving

_USER_CACHE = cache_folder()


@pytest.fixture(autouse=True)
def isolated_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Data and cache folders, and settings, of this test alone; returns the folder that holds them.

    Model files that the user's cache already has are linked in, so that no test
    downloads them again and none can delete them.
    """
    home = tmp_path / "hyperalign"
    monkeypatch.setenv("HYPERALIGN_DATA", str(home / "data"))
    monkeypatch.setenv("HYPERALIGN_CACHE", str(home / "cache"))
    monkeypatch.setenv("HYPERALIGN_CONFIG", str(home / "config.toml"))
    for name in ("API_BASE", "API_VERSION", "HEADERS", "TEMPERATURE", "REASONING_EFFORT", "CONCURRENCY"):
        monkeypatch.delenv(f"HYPERALIGN_{name}", raising=False)
    # What is read stays as it is, but where a test asks for more: the extra may be installed.
    monkeypatch.setenv("HYPERALIGN_REDACT", "0")
    # Rewards read measured features, but where a test asks for an encoder: to open one takes seconds.
    monkeypatch.setenv("HYPERALIGN_ENCODER", "none")
    # Servers of a test go soon after it: 2 cores are shared by the whole suite.
    monkeypatch.setenv("HYPERALIGN_SERVER_LINGER", "0.5")
    models = home / "cache" / "models"
    models.mkdir(parents=True)
    (home / "data").mkdir()
    for file in (_USER_CACHE / "models").glob("*.gguf"):
        (models / file.name).symlink_to(file)
    if (_USER_CACHE / "hashes").is_dir():
        shutil.copytree(_USER_CACHE / "hashes", home / "cache" / "hashes")
    return home


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    """What a test remembers for the whole process, keys and LiteLLM's callbacks, is forgotten after it.

    A key such as "secret" would be taken out of the messages of every later test in this process.
    """
    secrets, addresses = set(errors._known), dict(errors._userinfo)
    yield
    errors._known.intersection_update(secrets)
    errors._userinfo.clear()
    errors._userinfo.update(addresses)
    if "litellm" in sys.modules:
        litellm = sys.modules["litellm"]
        for name in ("callbacks", "success_callback", "failure_callback"):
            setattr(litellm, name, [])


@pytest.fixture
def scripted_server() -> Iterator[ScriptedServer]:
    """A real OpenAI-compatible server on loopback, driven by a script."""
    with serving() as server:
        yield server


@pytest.fixture(scope="session")
def smollm_path() -> Path:
    """The real SmolLM2-135M-Instruct file, fetched into the user's cache if it is not there."""
    from hyperalign.backends.models.catalogue import find
    from hyperalign.backends.models.download import ensure_model

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HYPERALIGN_CACHE", str(_USER_CACHE))
        return ensure_model(find("smollm2-135m-instruct"))
