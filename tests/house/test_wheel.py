"""What is published: a source distribution and its wheel, with valid metadata, that work outside the source tree."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from packaging.metadata import Metadata

import hyperalign
from tests.house.source_tree import PACKAGES, ROOT, modules

EXAMPLE = """
import json
from importlib.resources import files
import hyperalign
from hyperalign.backends.models.catalogue import entries
from hyperalign.style import measure
people = sorted({record.user for record in hyperalign.ShippedPopulation().records("")})
schema = json.loads(files("hyperalign").joinpath("schemas", "profile.schema.json").read_text(encoding="utf-8"))
print(json.dumps([hyperalign.__file__, people, len(hyperalign.load_space().dimensions) > 0, len(entries()) > 0,
                  schema["title"], len(measure("I say, with care, what I mean.")) > 0]))
"""


def data_files() -> set[str]:
    """Everything in the four packages that is no code, by its place in the wheel."""
    return {
        f"{package.replace('.', '/')}/{path.relative_to(folder).as_posix()}"
        for package, folder in PACKAGES.items()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, unpacked; built from a copy, since setuptools writes beside the sources."""
    copy = tmp_path_factory.mktemp("sources")
    for name in ("pyproject.toml", "MANIFEST.in", "README.md", "CHANGELOG.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for folder in (*PACKAGES.values(), ROOT / "tests" / "house"):
        shutil.copytree(folder, copy / folder.relative_to(ROOT), ignore=shutil.ignore_patterns("__pycache__"))
    build = "from setuptools import build_meta; build_meta.build_sdist('dist')"
    subprocess.run([sys.executable, "-c", build], cwd=copy, check=True, timeout=120, stdout=subprocess.DEVNULL)
    with tarfile.open(copy / "dist" / f"hyperalign-{hyperalign.__version__}.tar.gz") as archive:
        archive.extractall(copy / "unpacked", filter="data")
    return copy / "unpacked" / f"hyperalign-{hyperalign.__version__}"


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution alone."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", str(folder), str(sdist)], check=True, timeout=120)
    (built,) = folder.glob("hyperalign-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel installed; what it depends on comes from this environment."""
    folder = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile"]
    subprocess.run([*command, "--target", str(folder), str(wheel)], check=True, timeout=120)
    return folder


def metadata(wheel: Path) -> Metadata:
    """The wheel's metadata; an invalid or unknown field raises."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Metadata.from_email(archive.read(name), validate=True)


def run_outside(installed: Path, folder: Path, *command: str) -> str:
    """Standard output of a command that finds the installed wheel, and not the source tree."""
    where = {**os.environ, "PYTHONPATH": str(installed), "COLUMNS": "80"}
    return subprocess.run(command, cwd=folder, env=where, capture_output=True, text=True, check=True).stdout


def test_the_source_distribution_holds_no_tests(sdist: Path) -> None:
    assert {path.name for path in sdist.iterdir() if not path.name.endswith(".egg-info")} == {
        *(folder.name for folder in PACKAGES.values()),
        *("CHANGELOG.md", "LICENSE", "MANIFEST.in", "PKG-INFO", "README.md", "pyproject.toml", "setup.cfg"),
    }


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
        "hyperalign/__init__.pyi",
        "hyperalign/people/ada.jsonl",
        "hyperalign/evals/solvers/hostile.json",
    } <= data_files()
    assert data_files() - names == set()


def test_its_metadata_are_valid_and_complete(wheel: Path) -> None:
    found = metadata(wheel)
    assert found.license_expression == "Apache-2.0"
    assert found.license_files == ["LICENSE"]
    assert found.author == "The hyperalign authors"
    assert {"Homepage", "Documentation", "Source", "Changelog"} <= set(found.project_urls or {})
    assert "Typing :: Typed" in (found.classifiers or [])
    assert str(found.version) == hyperalign.__version__
    # What is needed at all must be small: the extras bring the rest.
    needed = {each.name for each in found.requires_dist or [] if "extra ==" not in str(each.marker)}
    assert needed
    assert not needed & {"torch", "transformers", "xllamacpp", "openvino", "vllm"}


def test_the_description_reads_well_on_a_package_index(wheel: Path) -> None:
    found = metadata(wheel)
    assert found.description_content_type == "text/markdown"
    text = found.description or ""
    assert text.startswith("# hyperalign")
    targets = [*re.findall(r"\]\(([^)\s]+)", text), *re.findall(r"(?:src|href)=\"([^\"]+)", text)]
    relative = [target for target in targets if not target.startswith(("https://", "#"))]
    assert not relative, "a package index has no files beside the page: give whole addresses"


def test_it_works_without_the_source_tree(installed: Path, tmp_path: Path) -> None:
    where, *found = json.loads(run_outside(installed, tmp_path, sys.executable, "-c", EXAMPLE))
    assert Path(where).is_relative_to(installed)
    assert found == [["ada", "bruno", "chiara"], True, True, "hyperalign profile", True]


def test_its_command_runs_without_the_source_tree(installed: Path, tmp_path: Path) -> None:
    script = str(installed / "bin" / "hyperalign")
    assert hyperalign.__version__ in run_outside(installed, tmp_path, script, "--version")
    by_module = run_outside(installed, tmp_path, sys.executable, "-m", "hyperalign", "--help")
    assert by_module == run_outside(installed, tmp_path, script, "--help")
