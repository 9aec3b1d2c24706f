"""Text and Markdown: one text of a person, without its front matter and what it quotes."""

from __future__ import annotations

from collections.abc import Iterator

from hyperalign.errors import RecordError

from .interface import Columns, Entry, Format, PassedOver, Utterance
from .quotes import split_own_words
from .source import Source
from .turns import MIN_WORDS, count_words

__all__ = ["FORMATS"]

_MARKDOWN = {".md", ".markdown", ".mdx", ".mkd"}
# Files of these names hold something else, also where it is broken; as prose they would be somebody's brackets.
_OTHERS = {".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".tab", ".eml", ".emlx", ".mbox", ".mbx", ".html", ".htm"}
_OTHERS |= {".xml", ".parquet", ".arrow", ".feather", ".yaml", ".yml", ".toml", ".ini", ".log", ".sql", ".rtf"}
_OTHERS |= {".py", ".js", ".ts", ".css", ".c", ".h", ".cpp", ".java", ".go", ".rs", ".sh", ".ipynb"}


def _drop_front_matter(text: str) -> str:
    """A text without the settings between two ``---`` lines at its top, which Markdown tools put there."""
    if text.startswith("---\n"):
        head, separator, body = text[4:].partition("\n---\n")
        if separator and all(
            ":" in line or not line.strip() or line.startswith((" ", "-")) for line in head.split("\n")
        ):
            return body
    return text


class PlainText:
    """A text by one person, whose name the file does not say."""

    name = "text"
    title = "text or Markdown"

    def match(self, source: Source) -> int:
        """Any readable text that is not named as something else."""
        if source.suffix in _OTHERS or not source.head.strip():
            return 0
        # What comes without a name and begins as JSON is JSON, maybe with a fault.
        return int(bool(source.suffix) or source.head.lstrip()[0] not in "{[")

    def read(self, source: Source, columns: Columns) -> Iterator[Entry]:
        """The text, as one utterance."""
        del columns
        whole = source.text
        body = _drop_front_matter(whole)
        above = whole.count("\n") - body.count("\n")
        own = split_own_words(body, is_mail=False, is_markdown=source.suffix in _MARKDOWN)
        for reason, line in own.passed:
            yield PassedOver(reason, above + line)
        if (words := count_words(own.text)) < MIN_WORDS:
            beside = " beside what is quoted" if own.passed else ""
            yield RecordError(
                f"{words} word(s){beside} say too little about anybody (at least {MIN_WORDS}).",
                path=source.name,
                remedy="Leave it out, or give a longer piece.",
            )
            return
        # Lines quoted in an essay are not what it answers; those of a reply are.
        yield Utterance(None, own.text, prompt=own.answered or None if own.is_reply else None)


FORMATS: list[Format] = [PlainText()]
