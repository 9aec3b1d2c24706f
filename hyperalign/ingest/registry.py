"""The formats there are, and which of them a file has: told by its content, or named with ``--as``."""

from __future__ import annotations

from hyperalign.errors import InputError, RecordError

from . import assistants, chats, mail, plain, preferences, published, rows, tables, transcripts
from .interface import Format
from .source import Source

__all__ = ["FORMATS", "family", "find_format", "tell_format"]


# Of formats that are equally sure, the first counts.
FORMATS: list[Format] = [
    *(*preferences.FORMATS, *published.FORMATS, *assistants.FORMATS, *chats.FORMATS, *mail.FORMATS),
    *(*tables.FORMATS, *rows.FORMATS, *transcripts.FORMATS, *plain.FORMATS),
]

# What people give that is no text, told by its first bytes; and what to do with it.
_BY_EXTRACTION = "Save its text as .txt and give that."
_UNREADABLE = (
    (b"%PDF", "a PDF", _BY_EXTRACTION),
    (b"\xd0\xcf\x11\xe0", "an old Office document", "Save it as plain text, or a sheet as CSV, and give that."),
    (b"{\\rtf", "an RTF document", _BY_EXTRACTION),
    (b"SQLite format 3", "an SQLite database", "Export the table as CSV and give that."),
    (b"\x89PNG", "a PNG picture", "Leave it out."),
    (b"\xff\xd8\xff", "a JPEG picture", "Leave it out."),
    (b"GIF8", "a GIF picture", "Leave it out."),
    (b"RIFF", "a picture or a recording", "Leave it out."),
    (b"ID3", "a recording", "Leave it out."),
    (b"OggS", "a recording", "Leave it out."),
    (b"PK\x03\x04", "an archive", "Unpack it and give its files."),
    (b"\x1f\x8b", "an archive of several files", "Unpack it with 'tar xzf' and give the files in it."),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive", "Unpack it with: zstd -d --long=31"),
    (b"BZh", "a bzip2 archive", "Unpack it with bunzip2 and give the file in it."),
    (b"\xfd7zXZ", "an xz archive", "Unpack it with unxz and give the file in it."),
    (b"7z\xbc\xaf", "a 7z archive", "Unpack it and give its files."),
    (b"!BDN", "an Outlook data file", "Export the mails as .eml or mbox and give these."),
)
_MARKUP = (
    ("<!doctype html", "a web page", "Export as JSON or plain text and give that."),
    ("<html", "a web page", "Export as JSON or plain text and give that."),
    ("<?xml", "an XML file", "Convert it to JSONL or CSV and give that."),
    ("begin:vcard", "a contact card", "Leave it out."),
    ("begin:vcalendar", "a calendar", "Leave it out."),
)


_OF_ROWS = {"rows", "csv", "tsv", "parquet", "preferences", "prism", "arena", "reddit", "lamp"}


def family(each: Format) -> str:
    """The name of the formats in which somebody goes by the same name: those of rows, or one alone."""
    return "rows" if each.name in _OF_ROWS else each.name


def tell_format(source: Source) -> Format | None:
    """The format that is surest that a file is its own; None if there is none."""
    best, sure = None, 0
    for each in FORMATS:
        try:
            how_sure = each.match(source)
        except RecordError:  # no text at all
            continue
        if how_sure > sure:
            best, sure = each, how_sure
    return best


def find_format(source: Source, named: str | None = None) -> Format:
    """The format to read a file by.

    Args:
        source: the file.
        named: the name of a format; None to tell it by the content.

    Raises:
        InputError: no format has this name.
        RecordError: no format is that of the file, or it is no text.
    """
    if named is not None:
        found = next((each for each in FORMATS if each.name == named.lower()), None)
        if found is None:
            raise InputError(f"There is no format {named!r}.", remedy=f"Formats: {_names()}.")
        return found
    for mark, what, remedy in _UNREADABLE:
        if source.data.startswith(mark):
            raise RecordError(f"this is a binary file, {what}, not text.", path=source.name, remedy=remedy)
    begins = source.head[:1000].lstrip().lower()
    for tag, what, remedy in _MARKUP:
        if begins.startswith(tag):
            raise RecordError(f"this is {what}, and no format that is read.", path=source.name, remedy=remedy)
    found = tell_format(source)
    if found is not None:
        return found
    _ = source.text  # Says why, if it is empty or no text.
    raise RecordError(
        "the content is of no format that is read.",
        path=source.name,
        remedy=f"Name one with --as, or convert it to JSONL. Formats: {_names()}.",
    )


def _names() -> str:
    return ", ".join(dict.fromkeys(each.name for each in FORMATS))
