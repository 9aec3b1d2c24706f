"""Whose row it is: the columns that name a person, rows of models, and accounts that are gone."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from .dialogs import MODEL_NAMES
from .interface import Author, PassedOver

__all__ = [
    "DELETED",
    "RowAuthors",
    "example_columns",
    "find_columns",
    "is_among",
    "names_people",
    "plain_name",
    "value_at",
]

_USERS = ("user", "user_id", "userid")
_WRITERS = ("author", "username", "user_name", "screen_name", "sender", "from", "speaker", "writer", "by")
_RATERS = ("annotator", "annotator_id", "worker", "worker_id", "rater", "rater_id", "participant", "participant_id")
_ALSO = (
    *("author_id", "authorid", "author_fullname", "author_email", "sender_id", "from_id", "user_id", "userid"),
    *("username", "user_name", "screen_name", "email", "sender_email"),
)
_NAMES = ("name", "display_name", "displayname", "real_name", "login", "username", "screen_name", "email", "id")
_ROLES = ("role", "from", "sender", "speaker", "author", "user", "sender_type", "author_type")
# A column whose name has one of these words and none of the others names people, too: whoever has it is asked for, so
# that no line of somebody else is taken for want of a known name.
_PEOPLE = {
    "user",
    "author",
    "writer",
    "sender",
    "from",
    "by",
    "who",
    "person",
    "people",
    "member",
    "speaker",
    "account",
}
_PEOPLE |= {
    "nick",
    "nickname",
    "handle",
    "poster",
    "login",
    "annotator",
    "worker",
    "participant",
    "respondent",
    "owner",
}
_PEOPLE |= {"contact", "customer", "client", "employee", "student", "rater", "judge", "commenter", "creator", "email"}
_PEOPLE |= {"contributor", "username", "screenname", "reviewer", "mail", "persona", "character", "interviewee"}
_PEOPLE |= {"autor", "autora", "auteur", "autore", "usuario", "utilisateur", "benutzer", "nutzer", "verfasser", "von"}
_PEOPLE |= {"absender", "remitente", "expediteur", "expéditeur", "mittente", "utente", "pseudo", "автор", "отправитель"}
_PEOPLE |= {"作者", "用户", "使用者", "发送者", "发件人", "ユーザー", "送信者", "작성자", "사용자"}
_NOT_OF_PEOPLE = {
    "prompt",
    "message",
    "text",
    "rating",
    "agent",
    "count",
    "score",
    "karma",
    "flair",
    "url",
    "link",
    "bio",
}
_NOT_OF_PEOPLE |= {"description", "location", "type", "role", "language", "lang", "timezone", "time", "date", "created"}
_NOT_OF_PEOPLE |= {"age", "gender", "group", "followers", "verified", "status", "distinguished", "premium", "blocked"}
_FULL_NAMES = {
    "name",
    "full_name",
    "fullname",
    "display_name",
    "displayname",
    "real_name",
    "first_name",
    "nom",
    "nombre",
}
_FULL_NAMES |= {"имя", "名前", "姓名", "이름"}
# Of several such columns, those of who writes come before those of whose something is.
_WRITING = {"author", "writer", "sender", "poster", "commenter", "speaker", "from", "by", "nick", "nickname", "handle"}
_WRITING |= {"username", "screenname", "autor", "autora", "auteur", "autore", "absender", "remitente", "mittente"}
_MAIL = re.compile(r"\"?([^\"<>]*?)\"?\s*<([^<>@\s]+@[^<>\s]+)>")
# Exports of messages mark the ones that their owner sent.
_MINE = ("is_from_me", "from_me", "is_sender", "is_me")
_NOT_PEOPLE = MODEL_NAMES | {"system", "tool", "function", "developer"}
_ROLES_OF_PEOPLE = {"user", "human"}
DELETED = {"[deleted]", "[removed]", "<deleted>"}


def plain_name(name: str) -> str:
    """A column's name as names are compared: in small letters, with one underscore for spaces and hyphens."""
    return re.sub(r"[\s\-]+", "_", str(name).strip()).lower()


def find_columns(names: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """The columns that have one of some names, in the order of these."""
    plain: dict[str, str] = {}
    for name in names:
        plain.setdefault(plain_name(name), name)
    return [plain[each] for each in wanted if each in plain]


def names_people(name: str) -> bool:
    """Whether a column seems to say whose a row is, by its name alone."""
    words = _words_of(name)
    return plain_name(name) in _FULL_NAMES or bool(words & _PEOPLE and not words & _NOT_OF_PEOPLE)


def _words_of(name: str) -> set[str]:
    return set(re.split(r"[_./]+", plain_name(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", str(name)))))


def value_at(row: Any, path: str) -> Any:
    """The value at a path such as ``data.answers.0.text``; a column of that very name comes first."""
    if isinstance(row, Mapping) and path in row:
        return row[path]
    for part in path.split("."):
        if isinstance(row, Mapping):
            row = row.get(part)
        elif isinstance(row, list) and part.lstrip("-").isdigit() and -len(row) <= int(part) < len(row):
            row = row[int(part)]
        else:
            return None
    return row


def is_among(value: Any, known: set[str]) -> bool:
    """Whether a value is one of some strings, in whatever case."""
    return isinstance(value, str) and value.strip().lower() in known


def example_columns(row: Mapping[str, Any], prompts: Sequence[str]) -> str:
    """An example of ``--columns`` for a row: two answers to a prompt as a pair, else the longest text as text.

    Args:
        row: by the names of its columns.
        prompts: names of columns of prompts.
    """
    flat = {str(name): value for name, value in row.items()}
    for name, value in row.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}.{inner}": each for inner, each in value.items()}
    user = next((name for name in flat if names_people(name)), "")
    prompt = next(iter(find_columns(tuple(flat), prompts)), "")
    texts = [name for name, value in flat.items() if isinstance(value, str) and name not in (user, prompt)]
    texts.sort(key=lambda name: -len(flat[name]))
    named = {"user": user} if user else {}
    likes = next(((one, other) for one in texts for other in texts if one != other and _are_sides(one, other)), None)
    if likes is not None:
        asked = prompt or next((name for name in texts if name not in likes), "")
        named |= {**({"prompt": asked} if asked else {}), "chosen": min(likes), "rejected": max(likes)}
    else:
        named["text"] = texts[0] if texts else "COLUMN"
    return f'--columns "{",".join(f"{field}={column}" for field, column in named.items())}"'


def _are_sides(one: str, other: str) -> bool:
    """Whether two columns hold the two sides of something, by names that differ in one last letter or digit."""
    return (
        len(one) == len(other)
        and one[:-1] == other[:-1]
        and one[-1].lower() in "ab012"
        and other[-1].lower() in "ab012"
    )


class RowAuthors:
    """Tells whose the rows of one file are.

    Args:
        path: the column or path that names the person; None to find it, and empty if there is none.
    """

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._columns: dict[tuple[str, ...], dict[str, list[str]]] = {}
        self._authors: dict[tuple[str, frozenset[str]], Author] = {}

    def find(self, row: Mapping[str, Any], number: int, *, is_choice: bool) -> Author | PassedOver | None:
        """Whose a row is; None if it does not say, and why it is passed over if it is no person's.

        Args:
            row: the row.
            number: its line or place.
            is_choice: whether it holds a choice or a rating, which is the rater's and not the writer's.
        """
        columns = self._find_columns(row)
        if not is_choice and any(_is_no_person(row.get(name)) for name in columns["roles"]):
            return PassedOver("turns of a model or system", number)
        if any(row.get(name) in (True, 1, "1", "true", "True", "TRUE") for name in columns["mine"]):
            return self._author("me", frozenset(), is_owner=True)
        for name in columns["choosers" if is_choice else "writers"]:
            value = value_at(row, name) if self._path else row.get(name)
            shown = _shown_name(value)
            # A role is no name.
            if not shown or (name in columns["roles"] and shown.lower() in _ROLES_OF_PEOPLE):
                continue
            if is_among(shown, DELETED):
                return PassedOver("texts of deleted accounts", number)
            others = {_shown_name(row.get(each)) for each in columns["also"] if each != name}
            # A name that others may share, such as a place's with a number, is no sign of who it is.
            full = (_shown_name(row.get(each)) for each in columns["names"] if each != name)
            others |= {each for each in full if not any(letter.isdigit() or letter == "@" for letter in each)}
            if (mail := _MAIL.fullmatch(shown)) is not None:
                shown = mail[1].strip() or mail[2]
                others.add(mail[2])
            if isinstance(value, Mapping):
                others |= {_shown_name(value.get(each)) for each in _NAMES}
            return self._author(shown, frozenset(others - {"", shown}))
        return None

    def has_column(self, row: Mapping[str, Any]) -> bool:
        """Whether a row has a column for the person."""
        return bool(self._find_columns(row)["writers"])

    def _find_columns(self, row: Mapping[str, Any]) -> dict[str, list[str]]:
        names = tuple(row)
        found = self._columns.get(names)
        if found is None:
            users, writers, raters = (find_columns(names, each) for each in (_USERS, _WRITERS, _RATERS))
            found = {
                "roles": find_columns(names, _ROLES),
                "mine": find_columns(names, _MINE),
                "writers": [*users[:1], *writers, *users, *raters],
                "choosers": [*users[:1], *raters, *users, *writers],
                "also": find_columns(names, _ALSO),
                "names": find_columns(names, (*_FULL_NAMES, "author_name", "sender_name", "from_name")),
            }
            if not (users or writers or raters) and (guessed := _guess_columns(names)):
                found |= {"writers": guessed, "choosers": guessed, "also": guessed}
            if self._path == "":
                found |= {"writers": [], "choosers": [], "also": []}
            elif self._path is not None:
                found |= {"writers": [self._path], "choosers": [self._path], "also": [], "names": []}
            self._columns[names] = found
        return found

    def _author(self, name: str, also: frozenset[str], *, is_owner: bool = False) -> Author:
        return self._authors.setdefault((name, also), Author(name, also, is_owner))


def _guess_columns(names: Sequence[str]) -> list[str]:
    """The columns that seem to say whose a row is: those of writers, or else those of people at all."""
    guessed = [name for name in names if names_people(name)]
    return [name for name in guessed if _words_of(name) & _WRITING] or guessed


def _is_no_person(role: Any) -> bool:
    return is_among(role.get("role") if isinstance(role, Mapping) else role, set(_NOT_PEOPLE))


def _shown_name(value: Any) -> str:
    if isinstance(value, Mapping):
        return next((found for key in _NAMES if (found := _shown_name(value.get(key)))), "")
    if isinstance(value, bool) or value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return " ".join(str(value).split()) if isinstance(value, str | int | float) else ""
