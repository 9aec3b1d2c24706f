"""Files that people have, read into records: one module a family of formats, one function for all."""

from .interface import Columns
from .opening import read_text
from .read import Check, FileReport, Reading, check_files, read_everyone, read_records
from .registry import FORMATS
from .rows import parse_line

__all__ = [
    "FORMATS",
    "Check",
    "Columns",
    "FileReport",
    "Reading",
    "check_files",
    "parse_line",
    "read_everyone",
    "read_records",
    "read_text",
]
