"""The locks: one for each extra, every package pinned and hashed, and all that pyproject.toml asks for in them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.house.source_tree import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
PYTHONS = ("3.11", "3.12", "3.13")
# Its build differs by machine, so it is installed first, and by hand.
BY_HAND = {"torch", "torchaudio", "torchcodec", "torchvision"}


def lock(name: str) -> Path:
    return ROOT / "requirements" / f"{name}.txt"


def pins(path: Path, python: str) -> dict[str, str]:
    """Name and version of every package that a lock gives to a Linux machine with some Python."""
    where = {**default_environment(), "sys_platform": "linux", "platform_system": "Linux"}
    where |= {"python_version": python, "python_full_version": f"{python}.0"}
    found: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if re.match(r"[A-Za-z0-9]", line):
            requirement = Requirement(line.removesuffix("\\").strip())
            if requirement.marker is None or requirement.marker.evaluate(where):
                (specifier,) = requirement.specifier
                assert specifier.operator == "==", line
                found[canonicalize_name(requirement.name)] = specifier.version
    return found


def environment(extra: str, python: str) -> dict[str, str]:
    """What is installed for an extra: its lock over the base's, except where it stands alone."""
    own = pins(lock(extra), python)
    return own if extra == "serve" else pins(lock("base"), python) | own


@pytest.mark.parametrize("extra", ["base", *EXTRAS])
@pytest.mark.parametrize("python", PYTHONS)
def test_a_lock_holds_what_is_asked_for(extra: str, python: str) -> None:
    installed = environment(extra, python)
    where = {"python_version": python, "python_full_version": f"{python}.0", "extra": extra}
    where |= {"platform_system": "Linux", "sys_platform": "linux"}
    for text in [*PROJECT["project"]["dependencies"], *EXTRAS.get(extra, [])]:
        wanted = Requirement(text)
        name = canonicalize_name(wanted.name)
        if name in BY_HAND or (wanted.marker is not None and not wanted.marker.evaluate(where)):
            continue
        assert name in installed, f"{text} is not in the lock of {extra!r}; run: make lock"
        assert installed[name] in wanted.specifier, f"{text}, but {installed[name]} is locked; run: make lock"


def test_what_building_needs_is_locked() -> None:
    locked = pins(lock("build"), "3.11")
    for text in PROJECT["build-system"]["requires"]:
        wanted = Requirement(text)
        assert locked[canonicalize_name(wanted.name)] in wanted.specifier


@pytest.mark.parametrize(
    ("python", "system", "machine", "brought"),
    [
        *((python, "linux", "x86_64", True) for python in ("3.11", "3.12", "3.13", "3.14")),
        *((python, "darwin", "arm64", True) for python in ("3.11", "3.12", "3.13", "3.14")),
        ("3.13", "win32", "AMD64", True),
        ("3.13", "linux", "aarch64", False),
        ("3.15", "linux", "x86_64", False),
    ],
)
def test_what_reads_texts_is_installed_wherever_it_has_wheels(
    python: str, system: str, machine: str, brought: bool
) -> None:
    name = "openvino"
    where = {**default_environment(), "extra": "local", "sys_platform": system, "platform_machine": machine}
    where |= {"python_version": python, "python_full_version": f"{python}.0"}
    asked = next(Requirement(text) for text in EXTRAS["local"] if text.startswith(name))
    line = next(line for line in lock("local").read_text(encoding="utf-8").splitlines() if line.startswith(f"{name}=="))
    for requirement in (asked, Requirement(line.removesuffix("\\").strip())):
        assert requirement.marker is not None
        assert requirement.marker.evaluate(where) is brought


@pytest.mark.parametrize("name", ["base", "build", *EXTRAS])
def test_every_pin_has_hashes_and_no_address(name: str) -> None:
    text = lock(name).read_text(encoding="utf-8")
    blocks = re.split(r"\n(?=[A-Za-z0-9])", text)[1:]
    assert blocks
    assert not [block.split(" ")[0] for block in blocks if "--hash=sha256:" not in block]
    assert "://" not in text
    assert not re.search(r"^\s*(-i|-f|--index-url|--extra-index-url|--find-links)\b", text, re.MULTILINE)


@pytest.mark.parametrize("extra", [extra for extra in EXTRAS if extra != "serve"])
def test_locks_agree_with_the_base(extra: str) -> None:
    for python in PYTHONS:
        base, own = pins(lock("base"), python), pins(lock(extra), python)
        assert not {name for name in own if base.get(name, own[name]) != own[name]}


@pytest.mark.parametrize("extra", EXTRAS)
def test_torch_is_in_no_lock(extra: str) -> None:
    names = set().union(*(pins(lock(extra), python) for python in PYTHONS))
    assert not names & (BY_HAND | {"triton"})
    if extra == "train":
        assert not {name for name in names if name.startswith(("nvidia-", "cuda-"))}
