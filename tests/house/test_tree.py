"""What is committed speaks of the product alone: no registry's address, and no path of anybody's machine."""

from __future__ import annotations

import re

from tests.house.source_tree import files

# Spelled with brackets, so that this file does not hold what it looks for.
_ELSEWHERE = re.compile(
    r"/wor[k]/|/roo[t]/|/op[t]/|/hom[e]/\w|/User[s]/\w|pyp[i]\.org|pythonhoste[d]|npmj[s]\.|deb\.debia[n]|crate[s]\.io"
)


def test_no_file_names_a_registry_or_a_machine() -> None:
    found = []
    for path in files():
        data = path.read_bytes()
        if b"\0" not in data:
            text = data.decode("utf-8", errors="replace")
            found += [f"{path}:{i}: {line}" for i, line in enumerate(text.splitlines(), 1) if _ELSEWHERE.search(line)]
    assert not found


def test_no_file_is_large() -> None:
    assert not {path: path.stat().st_size for path in files() if path.stat().st_size > 1_000_000}


def test_the_search_can_find_something() -> None:
    assert _ELSEWHERE.search("see pypi" + ".org/simple")
    assert _ELSEWHERE.search("/ho" + "me/ada/letters")
    assert not _ELSEWHERE.search("../shared/data and /etc/passwd")
