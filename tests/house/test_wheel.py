"""What is installed: the wheel holds all four packages with their data, and works without the source tree."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.house.source_tree import PACKAGES, ROOT, modules


def data_files() -> set[str]:
    """Everything in the four packages that is no code, by its place in the wheel."""
    return {
        f"{package.replace('.', '/')}/{path.relative_to(folder).as_posix()}"
        for package, folder in PACKAGES.items()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of the sources: setuptools leaves its own things beside them."""
    copy = tmp_path_factory.mktemp("sources")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for folder in PACKAGES.values():
        shutil.copytree(folder, copy / folder.name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", str(copy / "dist"), str(copy)], check=True, timeout=120)
    (built,) = (copy / "dist").glob("hyperalign-*.whl")
    return built


def test_every_module_and_all_data_are_in_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if name.startswith("hyperalign/")}
    of_modules = {
        f"{name.replace('.', '/')}{'/__init__.py' if path.name == '__init__.py' else '.py'}"
        for name, path in modules().items()
    }
    assert {name for name in names if name.endswith(".py")} == of_modules
    assert {
        "hyperalign/py.typed",
        "hyperalign/people/ada.jsonl",
        "hyperalign/evals/solvers/hostile.json",
    } <= data_files()
    assert data_files() - names == set()


def test_it_says_who_may_use_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        text = archive.read(metadata).decode()
        (licence,) = (name for name in archive.namelist() if name.endswith("LICENSE"))
        assert b"Apache License" in archive.read(licence)
    assert "License-Expression: Apache-2.0" in text
    assert "\n# hyperalign\n" in text
    # What is needed at all must be small: the extras bring the rest.
    needed = [line for line in text.splitlines() if line.startswith("Requires-Dist:") and "extra ==" not in line]
    assert needed
    assert not [line for line in needed if any(name in line for name in ("torch", "transformers", "llamacpp", "vllm"))]


def test_it_works_without_the_source_tree(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    code = """
import json
import hyperalign
from hyperalign.backends.models.catalogue import entries
from hyperalign.published import published
from hyperalign.style import measure
people = sorted({record.user for record in hyperalign.ShippedPopulation().records("")})
print(json.dumps([hyperalign.__file__, people, len(hyperalign.load_space().dimensions) > 0, len(entries()) > 0,
                  published("profile")["title"], len(measure("I say, with care, what I mean.")) > 0]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "installed")},
        capture_output=True,
        text=True,
        check=True,
    )
    where, *found = json.loads(done.stdout)
    assert Path(where).is_relative_to(tmp_path)
    assert found == [["ada", "bruno", "chiara"], True, True, "hyperalign profile", True]
