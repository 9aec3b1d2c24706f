"""Figures of the source tree and their limits. ``python -m tests.house.structure`` prints them."""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass

from tests.house.source_tree import import_graph, modules, parsed

FIT = "hyperalign.cli.fit"
LONG = 400
SHORT = 60
REASON = "Kept apart:"
"""How a line of a short module's docstring begins that says why it is a module."""


@dataclass(frozen=True)
class Figure:
    """One figure: what it counts, its value, the most it may be, and what makes it up where that is worth naming."""

    name: str
    value: int
    limit: int
    found: tuple[str, ...] = ()

    def __str__(self) -> str:
        line = f"{self.name:<55}{self.value:>5}  (at most {self.limit})"
        return "\n".join([line, *(f"    {each}" for each in self.found)])


def closure(start: str) -> set[str]:
    """A module and all that it imports, directly or not; imports inside functions count."""
    seen: set[str] = set()
    todo = [start]
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += import_graph()[name]
    return seen


def cycles() -> list[list[str]]:
    """Groups of modules that import each other in a ring."""
    reached = {name: closure(name) for name in modules()}
    groups = {frozenset(other for other in reached[name] if name in reached[other]) for name in modules()}
    return sorted(sorted(group) for group in groups if len(group) > 1)


def length(name: str) -> int:
    """Lines of a module."""
    return len(modules()[name].read_text(encoding="utf-8").splitlines())


def short_modules() -> list[str]:
    """Modules that belong in the one that imports them: short, no package's front, and without a reason given."""
    found = []
    for name, path in modules().items():
        importers = [other for other, targets in import_graph().items() if name in targets]
        reasons = (ast.get_docstring(parsed(path)) or "").splitlines()
        if (
            path.name != "__init__.py"
            and length(name) < SHORT
            and len(importers) == 1
            and not any(line.startswith(REASON) for line in reasons)
        ):
            found.append(f"{name}: {length(name)} lines, imported by {importers[0]}")
    return found


def figures() -> list[Figure]:
    """All figures of the tree as it is now."""
    long = [f"{name}: {length(name)}" for name in modules() if length(name) > LONG]
    rings = [" <-> ".join(group) for group in cycles()]
    small = short_modules()
    return [
        # The reward is 9 of them, its encoders are 3, graphs for OpenVINO 6, the choice table with its tasks 9, and the
        # commands ask and audit 3.
        # Guided writing is 7 of them (decoding, the reward of texts, the program, its command, two that go on with an
        # answer, and a graph), the language models that judge it one, the nearness of rewrites one, and DITTO one.
        # Formats of files are 28 of them (one each, what they share, and how quotes are told), the gateway with its
        # page and agents 23, and many people at once 5.
        Figure("modules", len(modules()), 262),
        # The reward and the encoders that it may read with are 14 of them.
        # So are all formats of files, 28.
        Figure(f"modules that {FIT} imports", len(closure(FIT)), 131),
        Figure("import cycles", len(rings), 0, tuple(rings)),
        Figure(f"modules over {LONG} lines", len(long), 2, tuple(long)),
        Figure(f"modules under {SHORT} lines with one importer, no reason", len(small), 0, tuple(small)),
    ]


if __name__ == "__main__":
    all_figures = figures()
    sys.stdout.write("".join(f"{figure}\n" for figure in all_figures))
    sys.exit(any(figure.value > figure.limit for figure in all_figures))
