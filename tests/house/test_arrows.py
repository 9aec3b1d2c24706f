"""Imports point one way: cli -> backends -> evals -> programs -> data, and no library code asserts or prints."""

from __future__ import annotations

import ast

import pytest

from tests.house.source_tree import ROOT, imports, modules, parsed

LAYERS = ("hyperalign", "hyperalign.programs", "hyperalign.evals", "hyperalign.backends", "hyperalign.cli")
ENTRY = "hyperalign.__main__"  # ``python -m hyperalign`` is the command line
# Inside backends: what serves may train and ask models, what trains may ask models, and models need neither.
BACKENDS = {
    "hyperalign.backends.models": tuple(
        f"hyperalign.backends.{name}" for name in ("serve", "distill", "gateway", "batch")
    ),
    "hyperalign.backends.distill": ("hyperalign.backends.serve", "hyperalign.backends.gateway"),
    "hyperalign.backends.gateway": ("hyperalign.backends.serve",),
}


def layer(module: str) -> int:
    """How far up a module stands: 0 for the data package, 4 for the command line."""
    return len(LAYERS) - 1 if module == ENTRY else max(i for i, name in enumerate(LAYERS) if is_in(module, name))


def is_in(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


@pytest.mark.parametrize("name", list(modules()))
def test_imports_point_down(name: str) -> None:
    ours = [(line, target) for line, target in imports(name) if is_in(target, "hyperalign")]
    assert not [f"{name}:{line} imports {target}" for line, target in ours if layer(target) > layer(name)]


@pytest.mark.parametrize("package", BACKENDS)
def test_imports_inside_backends_point_down(package: str) -> None:
    found = [
        f"{name}:{line} imports {target}"
        for name in modules()
        if is_in(name, package)
        for line, target in imports(name)
        if any(is_in(target, upper) for upper in BACKENDS[package])
    ]
    assert not found


def test_the_walk_sees_imports_in_functions_and_for_type_checkers() -> None:
    seen = {target for _, target in imports("hyperalign.cli.fit")}
    assert {"hyperalign.programs.personalizer", "hyperalign.cli.terminal"} <= seen
    assert "hyperalign.profile" in {target for _, target in imports("hyperalign.cli.demo")}
    assert layer("hyperalign.store.queries") == 0
    assert layer("hyperalign.cli.demo") > layer("hyperalign.backends.models.lm") > layer("hyperalign.evals.metrics")


def test_no_test_imports_a_bench() -> None:
    found = []
    for path in (ROOT / "tests").rglob("*.py"):
        # The bench for GPUs must work where it is first run: nobody is there to mend it.
        if path.name == "test_gpu_bench.py":
            continue
        for node in ast.walk(parsed(path)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [f"{path}:{node.lineno}" for name in names if name.split(".")[0] == "benches"]
    assert not found


@pytest.mark.parametrize("name", list(modules()))
def test_library_code_neither_asserts_nor_prints(name: str) -> None:
    nodes = list(ast.walk(parsed(modules()[name])))
    assert not [node.lineno for node in nodes if isinstance(node, ast.Assert)]
    called = [node for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    assert not [node.lineno for node in called if isinstance(node.func, ast.Name) and node.func.id == "print"]
    assert not [node.lineno for node in nodes if isinstance(node, ast.ExceptHandler) and node.type is None]
