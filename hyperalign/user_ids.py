"""Ids of people: what may be one, and which look alike.

An id may be a name as people have it in mails and chats ("King Jr.", "u/mira", "O'Brien", "नेहा", "Mira 🌸"), but no
path, no option of a command, and nothing that shows as something else.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from .errors import UserIdError

__all__ = ["check_user", "look_alike_keys"]

LONGEST = 128
"""The most characters of an id."""

_MARKS = frozenset("._@+-'’/&(),#!~·・‧־׳״ ")
# A name begins with one of these, or a letter, a digit or a sign; "." and "-" would make it a hidden file or an option.
_FIRST = frozenset("_@+#(~")
_NOT_LAST = frozenset("/ @&(#")
_JOINER, _NON_JOINER, _VARIATION = "\u200d", "\u200c", "\ufe0f"
# Letters, signs and marks that show nothing or stand for nothing: ids that differ by them look the same.
_INVISIBLE = frozenset(map(chr, (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0, *range(0x180B, 0x1810))))
_INVISIBLE |= {chr(code) for block in ((0xFE00, 0xFE10), (0xE0100, 0xE01F0)) for code in range(*block)}
_INVISIBLE |= {"\u2800", "\ufffc", "\ufffd", "\U0001d159"}
_SKIN_TONES = frozenset(map(chr, range(0x1F3FB, 0x1F400)))
# Scripts in which joiners are part of the spelling: Arabic, and those of India and Sri Lanka.
_JOINING = ((0x0600, 0x0780), (0x08A0, 0x0E00), (0xFB50, 0xFE00), (0xFE70, 0xFEFF))
# Letters of other scripts that look like Latin ones in most fonts, after Unicode's list of confusables (UTS 39).
# Capitals and small letters stand apart, since the small form of a look-alike may look like nothing Latin.
_LOOKALIKES = (
    {0x0410: "A", 0x0412: "B", 0x0415: "E", 0x0405: "S", 0x0406: "I", 0x0408: "J", 0x041A: "K", 0x041C: "M"}
    | {0x041D: "H", 0x041E: "O", 0x0420: "P", 0x0421: "C", 0x0422: "T", 0x0423: "Y", 0x0425: "X", 0x050C: "G"}
    | {0x051A: "Q", 0x051C: "W", 0x0430: "a", 0x0441: "c", 0x0501: "d", 0x0435: "e", 0x04BB: "h", 0x0456: "i"}
    | {0x0458: "j", 0x04CF: "l", 0x043E: "o", 0x0440: "p", 0x051B: "q", 0x0455: "s", 0x0475: "v", 0x051D: "w"}
    | {0x0445: "x", 0x0443: "y", 0x0261: "g", 0x0251: "a", 0x0131: "i", 0x0391: "A", 0x0392: "B", 0x0395: "E"}
    | {0x0396: "Z", 0x0397: "H", 0x0399: "I", 0x039A: "K", 0x039C: "M", 0x039D: "N", 0x039F: "O", 0x03A1: "P"}
    | {0x03A4: "T", 0x03A5: "Y", 0x03A7: "X", 0x03B1: "a", 0x03B9: "i", 0x03BA: "k", 0x03BD: "v", 0x03BF: "o"}
    | {0x03C1: "p", 0x03C5: "u", 0x0585: "o", 0x057D: "u", 0x0578: "n", 0x0581: "g", 0x0570: "h", 0x054D: "U"}
    | {0x0555: "O", 0x0548: "N", 0x2019: "'", 0x02BC: "'"}
)
_DROPPED = dict.fromkeys(map(ord, (_JOINER, _NON_JOINER, _VARIATION)))


# Every record that is read asks for its person's.
@lru_cache(maxsize=4_096)
def check_user(user: str) -> str:
    """Return ``user``, in Unicode's composed form (NFC), if it is a valid user id.

    An id has at most 128 characters: letters with their marks, digits, emoji and other signs, spaces, and the marks
    that names have, such as ``. _ @ + - ' / & ( ) , # ! ~``. It has a letter, digit or sign. It begins with no dot,
    dash, slash or space, and no part after a slash begins with a dot; it has no two dots in a row. Two ids that differ
    in how their letters are composed are one.

    Ids become no part of a path: folders are named by ``runs.prefix_folder`` and ``runs.RunFolder``.

    Raises:
        UserIdError: it is not valid.
    """
    user = unicodedata.normalize("NFC", user)
    if not (
        0 < len(user) <= LONGEST
        and any(map(_shows, user))
        and all(map(_may_begin, user.replace("/-", "/").split("/")))
        and user[-1] not in _NOT_LAST
        and ".." not in user
        and all(letter in _MARKS or _is_letter(letter) or _is_joined(user, at) for at, letter in enumerate(user))
    ):
        raise UserIdError(
            f"{user!r} is not a user id.",
            remedy="Give one with --user NAME, of letters, digits, emoji, spaces and . _ @ + - ' / & ( ) , # ! ~, that "
            "starts with a letter or digit.",
        )
    return user


def _may_begin(part: str) -> bool:
    return bool(part) and (part[0] in _FIRST or _shows(part[0]))


def _shows(letter: str) -> bool:
    """Whether a character is a letter, a digit or a sign by itself."""
    return letter not in _INVISIBLE and (letter.isalnum() or unicodedata.category(letter) == "So")


def _is_letter(letter: str) -> bool:
    is_mark = letter not in _INVISIBLE and unicodedata.category(letter) in ("Mn", "Mc")
    return _shows(letter) or is_mark or letter in _SKIN_TONES


def _is_joined(user: str, at: int) -> bool:
    """Whether an invisible character is part of what stands around it: an emoji, or a word spelled with it."""
    letter, before, after = user[at], user[at - 1 : at], user[at + 1 : at + 2]
    if letter == _VARIATION:
        return bool(before) and unicodedata.category(before) == "So"
    if letter not in (_JOINER, _NON_JOINER) or not (before and after):
        return False
    is_emoji = before in _SKIN_TONES or before == _VARIATION or unicodedata.category(before) == "So"
    if letter == _JOINER and is_emoji:
        return unicodedata.category(after) == "So"
    return all(any(start <= ord(each) < end for start, end in _JOINING) for each in (before, after))


def look_alike_keys(user: str) -> tuple[str, str]:
    """What two ids share if they look alike: the first for case and width, the second for letters of other scripts.

    Args:
        user: an id that ``check_user`` returned.
    """
    wide = " ".join(unicodedata.normalize("NFKC", user).translate(_DROPPED).split())
    return wide.casefold(), wide.translate(_LOOKALIKES).casefold()
