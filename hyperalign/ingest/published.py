"""Texts by their authors in published shapes: Reddit's dumps and exports, and the profiles of LaMP.

LaMP (Salemi et al. 2024) has an item a person: a question, and a profile of what the person wrote before.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from typing import Any

from hyperalign.errors import RecordError

from .interface import Author, Columns, Entry, Fields, Format, PassedOver
from .rows import RowReader, first_rows, place, unwrap
from .source import Source
from .turns import listed, read_time, string

__all__ = ["FORMATS", "Lamp", "Reddit"]

_QUOTE = re.compile(r"^[ \t]*>(?!!)[ \t]?(.*)$", re.MULTILINE)
_REDDIT_MARKS = {"subreddit", "subreddit_id", "author_fullname", "link_id", "permalink"}
_GONE = {"[deleted]", "[removed]", ""}
_BOTS = {"automoderator"}
_LAMP_TEXTS = ("text", "abstract", "reviewText", "review_text", "content")


class Reddit:
    """Comments and posts, as dumps, the API or Reddit's export have them."""

    name = "reddit"
    title = "Reddit"

    def match(self, source: Source) -> int:
        """By columns that only Reddit has, beside a body or a post's text."""
        for row in _things(source.json) or first_rows(source):
            if isinstance(row, Mapping) and {"body", "selftext"} & row.keys():
                return 3 if _REDDIT_MARKS & row.keys() else 2 * ("created_utc" in row or "selftext" in row)
        return 0

    def read(self, source: Source, columns: Columns) -> Iterator[Entry]:
        """Each comment or post without what it quotes, which is the prompt; of posts that is the title."""
        reader = RowReader(source, columns)
        rows = _things(source.json) or (unwrap(source.json) if source.json is not None else None)
        numbered = enumerate(rows, start=1) if isinstance(rows, list) and rows is not source.json else source.rows()
        given = list(numbered)
        if (problem := reader.check_columns(given)) is not None:
            yield problem
            return
        for number, row in given:
            if not isinstance(row, Mapping):
                yield row if isinstance(row, RecordError) else reader.read(number, row)
                continue
            if string(row.get("author")).lower() in _BOTS:
                yield PassedOver("texts of bots", number)
                continue
            text, prompt = _split_quotes(row)
            if text in _GONE:
                yield PassedOver("deleted or empty texts", number)
                continue
            # An id is of a comment or a post, and one may have the id of the other.
            rest = {name: value for name, value in row.items() if name not in ("id", "body", "selftext", "title")}
            yield reader.read(number, {**rest, "text": text, "prompt": prompt})


def _things(value: Any) -> list[dict[str, Any]]:
    """The posts and comments in listings of the API, answers under what they answer; none in anything else."""
    if isinstance(value, list):
        return [each for one in value for each in _things(one)]
    if not isinstance(value, Mapping) or not isinstance(value.get("data"), Mapping):
        return []
    if value.get("kind") == "Listing":
        return _things(value["data"].get("children"))
    if value.get("kind") not in ("t1", "t3"):
        return []
    row = {str(name): each for name, each in value["data"].items()}
    return [row, *_things(row.pop("replies", None))]


def _split_quotes(row: Mapping[str, Any]) -> tuple[str, str | None]:
    """The person's own text, and what it answers."""
    body = string(row.get("body")) or string(row.get("selftext"))
    body, title = html.unescape(body).strip(), html.unescape(string(row.get("title"))).strip()
    if body in _GONE:
        # The title of a post that was removed may be somebody's still, but so is the post: none of it is read.
        return (title, None) if not body else (body, None)
    quoted = "\n".join(line.strip() for line in _QUOTE.findall(body) if line.strip())
    text = re.sub(r"\n{3,}", "\n\n", _QUOTE.sub("", body)).strip()
    return text, quoted or title or None


class Lamp:
    """LaMP's questions: each item is another person, named by its id."""

    name = "lamp"
    title = "LaMP profiles"

    def match(self, source: Source) -> int:
        """By items with a profile; the file of answers is told as well, to say what to give instead."""
        if isinstance(source.json, Mapping) and "golds" in source.json:
            return 3
        for row in first_rows(source):
            if isinstance(row, Mapping) and isinstance(row.get("profile"), list):
                return 3 if {"id", "user_id", "input"} & row.keys() else 2
        return 0

    def read(self, source: Source, columns: Columns) -> Iterator[Entry]:
        """The entries of each profile as texts of its person."""
        del columns
        if isinstance(source.json, Mapping) and "golds" in source.json:
            yield RecordError(
                "this file of LaMP holds the right answers, and no profile.",
                **place(source, 1),
                remedy="Give the file of questions beside it.",
            )
            return
        for number, row in source.rows():
            if isinstance(row, RecordError):
                yield row
                continue
            name = row.get("user_id", row.get("id")) if isinstance(row, Mapping) else None
            author = Author(str(name)) if isinstance(name, str | int) and str(name).strip() else None
            for each in listed(row.get("profile") if isinstance(row, Mapping) else None):
                yield _read_profile_entry(each, author, number)


def _read_profile_entry(each: Any, author: Author | None, number: int) -> Entry:
    entry = each if isinstance(each, Mapping) else {"text": each}
    text = next((found for name in _LAMP_TEXTS if (found := string(entry.get(name)).strip())), "")
    if not text:
        # The description that goes with a tag is a film's, by somebody else.
        return PassedOver("profile entries that the person did not write", number)
    data = {"text": text}
    if title := string(entry.get("title")).strip():
        data["prompt"] = title
    time = read_time(entry.get("date"))
    return Fields(author, {**data, "time": time} if time else data, number)


FORMATS: list[Format] = [Lamp(), Reddit()]
