"""Exported chats: Telegram's and Slack's JSON here, WhatsApp's and Discord's in modules of their own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pydantic_core import from_json

from . import discord, whatsapp
from .interface import Author, Columns, Entry, Format, PassedOver
from .source import Source
from .turns import (
    LINKS,
    Message,
    Roster,
    bound_prompt,
    broken,
    gather,
    is_cut,
    is_link,
    label,
    listed,
    mapped,
    own_words,
    read_time,
    string,
)

__all__ = ["FORMATS", "Slack", "Telegram"]

_PEEK = 200
_MAX_USERS_BYTES = 50_000_000

# Parts of a Telegram message that are somebody else's words, or no words.
_TELEGRAM_FOREIGN = frozenset(("blockquote", "pre"))
# Slack's kinds of messages that a person wrote; the others tell of joins, topics, and what bots said.
_SLACK_WRITTEN = frozenset(("", "file_share", "thread_broadcast", "me_message", "file_comment"))
_SLACKBOT = "USLACKBOT"
_SLACK_MENTION = re.compile(r"<@([A-Z0-9]+)(?:\|([^>]*))?>")
_SLACK_CHANNEL = re.compile(r"<#[A-Z0-9]+(?:\|([^>]*))?>")
_SLACK_GROUP = re.compile(r"<!(?:subteam\^[A-Z0-9]+\|)?@?([^>|^]+)(?:\^[^>]*)?(?:\|[^>]*)?>")
_SLACK_LINK = re.compile(r"<((?:https?|mailto|tel):[^>|]+)(?:\|([^>]*))?>")
_SLACK_EMPTY = "no messages in it"


class Telegram:
    """Telegram Desktop's export of one chat or of all, in JSON."""

    name = "telegram"
    title = "Telegram export"

    def match(self, source: Source) -> int:
        """By messages with an author's id and a date, or by the list of chats."""
        if is_cut(source, "messages", "from_id"):
            return 3
        data = mapped(source.json)
        if "list" in mapped(data.get("chats")) or "list" in mapped(data.get("left_chats")):
            return 3
        messages = [mapped(message) for message in listed(data.get("messages"))[:_PEEK]]
        theirs = [message for message in messages if message.keys() & {"from", "from_id", "actor_id"}]
        if any(message.keys() & {"date", "date_unixtime"} and {"type", "text"} <= message.keys() for message in theirs):
            return 3
        return 2 if theirs or {"name", "type", "id", "messages"} <= data.keys() else 0

    def read(self, source: Source, columns: Columns) -> Iterator[Entry]:
        """What each person wrote at a stretch; the owner is known in an export of all chats."""
        if source.json is None:
            yield broken(source, self.title)
        data = mapped(source.json)
        chats = [data] if "messages" in data else []
        for part in ("chats", "left_chats"):
            chats += map(mapped, listed(mapped(data.get(part)).get("list")))
        owner = label(mapped(data.get("personal_information")).get("user_id"))
        roster = Roster()
        for chat in chats:
            for message in listed(chat.get("messages")):
                if key := _telegram_author(mapped(message)):
                    roster.add(key, string(message.get("from")), key.removeprefix("user"))
        authors = roster.authors(f"user{owner}" if owner else None)
        line = 0
        for chat in chats:
            messages = listed(chat.get("messages"))
            yield from gather(_read_telegram(messages, authors, line))
            line += len(messages)


def _telegram_author(message: dict[str, Any]) -> str:
    key = label(message.get("from_id"))
    # Exports of 2019 and before have the bare number.
    return (f"user{key}" if key.isdigit() else key) or label(message.get("from"))


def _read_telegram(messages: list[Any], authors: dict[str, Author], before: int) -> Iterator[Message]:
    sent: dict[str, tuple[str, str]] = {}
    for line, each in enumerate(messages, start=before + 1):
        message = mapped(each)
        key, id = _telegram_author(message), label(message.get("id"))
        if message.get("type", "message") != "message":
            yield Message(None, "", "system messages", line=line)
            continue
        if key not in authors:
            yield Message(None, "", "messages without an author", line=line)
            continue
        if "from" in message and message["from"] is None:
            yield Message(None, "", "texts of deleted accounts", line=line)
            continue
        text, passed_over = _telegram_words(message)
        if id and text:
            sent[id] = key, text
        answered = sent.get(label(message.get("reply_to_message_id")))
        answers = bound_prompt(answered[1]) if answered and answered[0] != key else None
        time = read_time(message.get("date_unixtime")) or read_time(message.get("date"))
        yield Message(authors[key], text, passed_over, time, id, line, answers)


def _telegram_words(message: dict[str, Any]) -> tuple[str, str]:
    if "forwarded_from" in message or "saved_from" in message or "forwarded_from_id" in message:
        return "", "forwarded messages"
    if message.get("via_bot"):
        return "", "messages through bots"
    given = message.get("text")
    parts = given if isinstance(given, list) else [given] if given else listed(message.get("text_entities"))
    text = "".join(map(_telegram_part, parts))
    if not text.strip():
        return "", "media" if not any(map(_is_text, parts)) else "quoted texts"
    if is_link(text):
        return "", LINKS
    own = own_words(text)
    return own, "" if own else "quoted texts"


def _is_text(part: Any) -> bool:
    return bool(string(part) or string(mapped(part).get("text")))


def _telegram_part(part: Any) -> str:
    if string(mapped(part).get("type")) in _TELEGRAM_FOREIGN:
        return "\n"
    return string(part) or string(mapped(part).get("text"))


class Slack:
    """A day of a channel as Slack exports it, or a channel's history as its interface gives it."""

    name = "slack"
    title = "Slack export"

    def match(self, source: Source) -> int:
        """By messages with ``ts``, or by the members, channels and logs that lie beside them."""
        if is_cut(source, "ts", "user", "text", "type"):
            return 3
        data = source.json
        if isinstance(data, dict):
            data = data.get("messages")
        rows = [row for row in listed(data)[:_PEEK] if isinstance(row, dict)]
        if any(row.get("type") == "message" and "ts" in row for row in rows):
            return 3
        if any("ts" in row and "text" in row and ("user" in row or "bot_id" in row) for row in rows):
            return 3
        return 3 if rows and all(map(_is_slack_list, rows)) else 0

    def read(self, source: Source, columns: Columns) -> Iterator[Entry]:
        """What each person wrote at a stretch, thread by thread."""
        if (data := source.json) is None:
            yield broken(source, self.title)
            return
        rows = listed(data.get("messages") if isinstance(data, dict) else data)
        if all(_is_slack_list(mapped(row)) for row in rows):
            yield PassedOver(_SLACK_EMPTY, 1)
            return
        roster = Roster()
        for user in _slack_users(source):
            _note_slack_user(roster, label(user.get("id")), user)
        for row in map(mapped, rows):
            if key := label(row.get("user")):
                _note_slack_user(roster, key, {"profile": row.get("user_profile"), "name": row.get("username")})
        # The interface gives the newest first.
        numbered = sorted(enumerate(map(mapped, rows), start=1), key=lambda row: _slack_order(row[1]))
        yield from gather(_read_slack(numbered, roster.authors()))


def _is_slack_list(row: dict[str, Any]) -> bool:
    """Whether it is a member, a channel or an entry of the log of integrations."""
    is_member = {"team_id", "profile"} <= row.keys()
    is_channel = "members" in row and "created" in row
    is_log = "change_type" in row and ("service_type" in row or "app_type" in row)
    return "text" not in row and (is_member or is_channel or is_log)


def _slack_users(source: Source) -> list[dict[str, Any]]:
    """The members in ``users.json``, which lies in the folder of the export, over those of its channels."""
    for name in ("users.json", "org_users.json"):
        if (data := source.read_beside(name, _MAX_USERS_BYTES)) is not None:
            try:
                return [mapped(user) for user in listed(from_json(data))]
            except ValueError:
                continue
    return []


def _note_slack_user(roster: Roster, key: str, user: dict[str, Any]) -> None:
    profile = mapped(user.get("profile"))
    names = [string(profile.get(name)) for name in ("display_name", "real_name", "name", "email")]
    names += [string(user.get("real_name")), string(user.get("name"))]
    if key:
        roster.add(key, next(filter(None, (names[1], names[4], names[0], names[2], names[5])), ""), *names)


def _slack_order(row: dict[str, Any]) -> float:
    try:
        return float(label(row.get("ts")) or 0)
    except ValueError:
        return 0.0


def _read_slack(rows: list[tuple[int, dict[str, Any]]], authors: dict[str, Author]) -> Iterator[Message]:
    begun: dict[str, tuple[str, str]] = {}
    for line, row in rows:
        key, ts = label(row.get("user")), label(row.get("ts"))
        subtype = string(row.get("subtype"))
        if subtype == "bot_message" or row.get("bot_id") or key == _SLACKBOT:
            yield Message(None, "", "bot messages", line=line)
            continue
        if subtype not in _SLACK_WRITTEN or row.get("type", "message") != "message":
            yield Message(None, "", "system messages", line=line)
            continue
        if key not in authors:
            yield Message(None, "", "messages without an author", line=line)
            continue
        text, passed_over = _slack_words(string(row.get("text")), authors)
        thread = label(row.get("thread_ts"))
        is_first = not thread or thread == ts
        if is_first and text:
            begun[ts] = key, text
        first = None if is_first else begun.pop(thread, None)
        answers = bound_prompt(first[1]) if first and first[0] != key else None
        yield Message(authors[key], text, passed_over, read_time(ts), ts, line, answers, "" if is_first else thread)


def _slack_words(text: str, authors: dict[str, Author]) -> tuple[str, str]:
    """The own words of a message, without Slack's marks of mentions and links."""
    if not text.strip():
        return "", "media"
    own = own_words(text, rest_quoted=True)
    if not own:
        return "", "quoted texts"
    own = _SLACK_MENTION.sub(
        lambda found: f"@{found[2] or (authors[found[1]].name if found[1] in authors else found[1])}", own
    )
    own = _SLACK_CHANNEL.sub(lambda found: f"#{found[1] or 'channel'}", own)
    own = _SLACK_LINK.sub(lambda found: found[2] or found[1].removeprefix("mailto:").removeprefix("tel:"), own)
    own = _SLACK_GROUP.sub(lambda found: f"@{found[1]}", own)
    own = own.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&").strip()
    return ("", LINKS) if is_link(own) else (own, "")


FORMATS: list[Format] = [*whatsapp.FORMATS, Telegram(), Slack(), *discord.FORMATS]
