"""One file as formats look at it: its bytes, its text in whatever encoding, and its JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any
from zipfile import BadZipFile, ZipFile

from pydantic_core import from_json

from hyperalign.errors import RecordError

__all__ = ["Rows", "Source", "decode", "plain_values"]

_MARKS = (
    *((b"\xff\xfe\x00\x00", "utf-32"), (b"\x00\x00\xfe\xff", "utf-32")),
    *((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"\xef\xbb\xbf", "utf-8-sig")),
)
_HEAD = 64_000
_MOSTLY_LATIN = 0.4
_PAGES = (
    ({"pl", "cs", "sk", "hu", "hr", "sl", "bs", "ro", "sq", "hsb", "dsb"}, ["cp1250", "iso8859_2"]),
    ({"tr", "az", "crh"}, ["cp1254"]),
    ({"lt", "lv", "et"}, ["cp1257"]),
)
_BLANK = re.compile(r"[\s,]+")
# Control characters that no text has; tabs, line ends, page feeds and the escape of terminals are in texts.
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
# How mails of Japan begin a run of two bytes a sign.
_ESCAPED_JAPANESE = re.compile(rb"\x1b\$[@B]")
_HIRAGANA = re.compile(r"[\u3041-\u3096]")
_LEAST_HIRAGANA = 0.1
_MOSTLY_SHOWN = 0.99


@dataclass(frozen=True)
class Source:
    """A file that was opened, or standard input.

    Attributes:
        name: for messages; formats also look at its ending.
        data: all bytes.
        path: where it lies; None for standard input and for what is inside another file.
        archive: the archive that it is in.
        member: its name there.
    """

    name: str
    data: bytes
    path: Path | None = None
    archive: ZipFile | None = None
    member: str = ""

    @property
    def suffix(self) -> str:
        """The ending of the name, in small letters with its dot; of a gzip file that of the file in it."""
        return Path(self.name.lower().removesuffix(".gz")).suffix

    def read_beside(self, name: str, most: int) -> bytes | None:
        """A file of the same export: in the same folder or the one above, on disk or in the archive; None without one.

        Args:
            name: of the file.
            most: the most bytes it may have.
        """
        try:
            if self.archive is not None:
                for inside in islice(PurePosixPath(self.member).parents, 2):
                    entry = self.archive.NameToInfo.get(str(inside / name))
                    if entry is not None and entry.file_size <= most:
                        return self.archive.read(entry)
            elif self.path is not None:
                for folder in islice(self.path.absolute().parents, 2):
                    if (folder / name).is_file() and (folder / name).stat().st_size <= most:
                        return (folder / name).read_bytes()
        except (OSError, ValueError, RuntimeError, BadZipFile):
            return None
        return None

    @cached_property
    def text(self) -> str:
        """The text, with ``\\n`` for line ends.

        Raises:
            RecordError: it is empty, binary, or in no encoding that can be told.
        """
        text = decode(self.data, self.name).removeprefix("\ufeff")
        return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text

    @cached_property
    def head(self) -> str:
        """The beginning of the text, to tell the format by; empty if it is no text."""
        try:
            return self.text[:_HEAD]
        except RecordError:
            return ""

    @cached_property
    def json(self) -> Any:
        """The whole file as one JSON value; None if it is none, such as JSON by lines."""
        if self.head.lstrip()[:1] not in {"{", "["}:
            return None
        try:
            return from_json(self.text)
        except ValueError:
            return None

    def rows(self) -> Iterator[tuple[int, Any]]:
        """The values of JSON by lines, or the items of one JSON array, each with its 1-based line or place.

        A line that is no JSON is given as a ``RecordError``.
        """
        if isinstance(self.json, list):
            yield from enumerate(self.json, start=1)
            return
        if isinstance(self.json, dict):
            yield 1, self.json
            return
        if (whole := self._objects()) is not None:
            yield from whole
            return
        # Not splitlines: JSON strings may hold U+2028 and the like unescaped.
        for number, line in enumerate(self.text.split("\n"), start=1):
            if not line.strip():
                continue
            try:
                yield number, from_json(line)
            except ValueError as error:
                yield (
                    number,
                    RecordError(
                        f"this line is not JSON ({re.sub(' at line 1 column', ' at column', str(error))}).",
                        path=self.name,
                        line=number,
                        remedy='Expected one object a line, as {"user": "ada", "text": "…"}; --skip-bad passes over '
                        "bad lines.",
                    ),
                )

    def _objects(self) -> list[tuple[int, Any]] | None:
        """JSON objects one after the other that go over several lines, each with its first; None if that is not it."""
        first = self.head.lstrip()
        if not first.startswith("{") or first.split("\n", 1)[0].rstrip() != "{":
            return None
        decoder, text, at, line = json.JSONDecoder(), self.text, 0, 1
        found: list[tuple[int, Any]] = []
        try:
            while at < len(text):
                blank = _BLANK.match(text, at)
                begin = blank.end() if blank else at
                line += text.count("\n", at, begin)
                if begin == len(text):
                    break
                value, at = decoder.raw_decode(text, begin)
                found.append((line, value))
                line += text.count("\n", begin, at)
        except (ValueError, RecursionError):
            return None
        return found


@dataclass(frozen=True)
class Rows(Source):
    """Rows that have been read already: those of a table, or given in memory.

    Attributes:
        numbered: each row with its 1-based line or place.
        in_memory: whether they are of no file, so that messages name a row alone.
    """

    numbered: list[tuple[int, Any]] = field(default_factory=list)
    in_memory: bool = False

    @cached_property
    def text(self) -> str:
        """The rows as JSON by lines."""
        return "\n".join(json.dumps(row, ensure_ascii=False, default=str) for _, row in self.numbered)

    @cached_property
    def head(self) -> str:
        """The first rows as JSON by lines."""
        return "\n".join(json.dumps(row, ensure_ascii=False, default=str) for _, row in self.numbered[:20])[:_HEAD]

    @cached_property
    def json(self) -> Any:
        """The rows as one list."""
        return [row for _, row in self.numbered]

    def rows(self) -> Iterator[tuple[int, Any]]:
        """The rows, each with its 1-based line or place."""
        yield from self.numbered


def plain_values(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a table with its values as JSON has them: lists for arrays, and None for what is missing."""
    return {str(name): _plain_value(value) for name, value in row.items()}


def _plain_value(value: Any) -> Any:
    """A value as JSON has it: arrays as lists, their numbers as Python's, and None for what is missing."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, Mapping):
        return plain_values(value)
    if isinstance(value, list | tuple):
        return [_plain_value(each) for each in value]
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    if hasattr(value, "tolist"):
        return _plain_value(value.tolist())
    return None if isinstance(value, float) and math.isnan(value) else value


def decode(data: bytes, where: str) -> str:
    """The text of bytes in UTF-8, UTF-16, UTF-32 or, by charset-normalizer's guess, an older encoding.

    Args:
        data: the bytes.
        where: the file, for the error.

    Raises:
        RecordError: they are empty, binary, or in no encoding that can be told.
    """
    if not data.strip():
        raise RecordError("the file is empty.", path=where, remedy="Leave it out.")
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            try:
                return data.decode(encoding)
            except UnicodeDecodeError as error:
                raise _unreadable(where, data, error) from error
    guessed = _guess_wide(data) or ("iso2022_jp" if _ESCAPED_JAPANESE.search(data[:_HEAD]) else None)
    if guessed is None and _BINARY.search(data):
        raise RecordError("this is a binary file, not text.", path=where, remedy="Save it as plain text and try again.")
    try:
        return data.decode(guessed or "utf-8")
    except UnicodeDecodeError as error:
        found = _decode_legacy(data)
        if found is None:
            raise _unreadable(where, data, error) from error
        return found


def _decode_legacy(data: bytes) -> str | None:
    """Text in an encoding from before Unicode.

    Where most letters are Latin, their language says which accents are meant; elsewhere charset-normalizer guesses.
    """
    from charset_normalizer import from_bytes

    letters = [byte for byte in data[:_HEAD] if byte > 127 or chr(byte).isalpha()]
    pages: list[str] | None = None
    if sum(byte > 127 for byte in letters) < len(letters) * _MOSTLY_LATIN:
        language = import_module("py3langid").classify(data[:_HEAD].decode("cp1252", "replace"))[0]
        pages = next((pages for languages, pages in _PAGES if language in languages), ["cp1252", "mac_roman"])
        # In Windows' encoding these bytes are rare signs or nothing; in that of old Macs they are letters with accents.
        if pages[0] == "cp1252" and not any(byte in data for byte in b"\x81\x88\x8d\x8e\x8f\x90\x9d"):
            return data.decode("cp1252")
    if pages is None and _is_euc_japanese(data):
        return data.decode("euc_jp")
    best = from_bytes(data, cp_isolation=pages).best()
    return None if best is None else str(best)


def _is_euc_japanese(data: bytes) -> bool:
    """Whether bytes are Japanese in EUC: its hiragana stand where Korean has letters that no text is written in."""
    try:
        text = data.decode("euc_jp")
    except UnicodeDecodeError:
        return False
    wide = sum(letter > "\x7f" for letter in text)
    return len(_HIRAGANA.findall(text)) >= wide * _LEAST_HIRAGANA > 0


def _guess_wide(data: bytes) -> str | None:
    """UTF-16 without a mark: every other byte of Latin text is zero, of other scripts that of spaces and line ends."""
    head = data[:_HEAD]
    if len(data) % 2 or b"\x00" not in head:
        return None
    even, odd = head[::2].count(0), head[1::2].count(0)
    if even and odd:
        return None
    guess = "utf-16-le" if odd else "utf-16-be"
    if max(even, odd) > len(head) // 5:
        return guess
    text = head.decode(guess, "replace")
    shown = sum(letter.isprintable() or letter in "\t\r\n" for letter in text)
    return guess if shown >= len(text) * _MOSTLY_SHOWN and "\ufffd" not in text[:-1] else None


def _unreadable(where: str, data: bytes, error: UnicodeDecodeError) -> RecordError:
    return RecordError(
        "the text is in no encoding that can be told.",
        path=where,
        line=data[: error.start].count(b"\n") + 1,
        remedy=f"Convert it, for example with: iconv -f WINDOWS-1252 -t UTF-8 {Path(where).name}",
    )
