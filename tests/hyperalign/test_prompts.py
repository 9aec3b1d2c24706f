"""Prompts are read from text and JSONL; a bad line is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from hyperalign.cli.distill import read_prompts
from hyperalign.errors import RecordError


def test_text_and_jsonl(tmp_path: Path) -> None:
    text, lines = tmp_path / "p.txt", tmp_path / "p.jsonl"
    text.write_text("Will it rain?\n\n  Shall I go?  \nWill it rain?\n")
    lines.write_text('{"prompt": "Will it rain?", "id": 3}\n{"prompt": "Shall I go?"}\n')
    assert read_prompts(text) == read_prompts(lines) == ["Will it rain?", "Shall I go?"]


@pytest.mark.parametrize("line", ['{"text": "x"}', "[]", '{"prompt": " "}', "{"])
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(f'{{"prompt": "One?"}}\n{line}\n')
    with pytest.raises(RecordError, match=r"p\.jsonl:2: .*\{\"prompt\": \"…\"\} on each line"):
        read_prompts(path)
    with pytest.raises(RecordError, match="absent"):
        read_prompts(tmp_path / "absent.txt")
