"""Reads prompts: one a line of a text file, or JSONL with ``prompt``. It knows nothing of what is done with them."""

from __future__ import annotations

from pathlib import Path

from pydantic_core import from_json

from .errors import RecordError
from .reading import read_text

__all__ = ["read_prompts"]

_JSON_SUFFIXES = {".jsonl", ".ndjson"}


def read_prompts(path: Path) -> list[str]:
    """All prompts of a file, each once, in order.

    Args:
        path: JSONL (``{"prompt": "…"}`` a line, other fields are passed over) or text with a prompt a line; or ``-``.

    Raises:
        RecordError: it is missing, empty or not UTF-8 text, or a line has no prompt; with file and line.
    """
    text = read_text(path)
    as_json = path.suffix.lower() in _JSON_SUFFIXES or text.lstrip().startswith('{"')
    # Not splitlines: JSON strings may hold U+2028 and the like as they are.
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), 1)]
    found = [_prompt(line, path, number) if as_json else line for number, line in lines if line]
    return list(dict.fromkeys(found))


def _prompt(line: str, path: Path, number: int) -> str:
    try:
        entry = from_json(line)
    except ValueError as error:
        raise RecordError(
            f"this is no JSON ({error}).", path=path, line=number, remedy='Write {"prompt": "…"} on each line.'
        ) from error
    prompt = entry.get("prompt") if isinstance(entry, dict) else None
    if not isinstance(prompt, str) or not prompt.strip():
        raise RecordError("there is no 'prompt'.", path=path, line=number, remedy='Write {"prompt": "…"} on each line.')
    return prompt.strip()
