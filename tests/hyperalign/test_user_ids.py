"""Names that people have are ids; what could be a path, an option or something else than it shows is none."""

from __future__ import annotations

import unicodedata

import pytest
from pydantic import ValidationError

from hyperalign.errors import UserIdError
from hyperalign.files import data_folder
from hyperalign.records import Sample
from hyperalign.runs import RunFolder, lock_person, prefix_folder, remove_runs
from hyperalign.user_ids import LONGEST, check_user, look_alike_keys

NAMES = [
    "ada",
    "a",
    "7",
    "Ada Lovelace",
    "a.b-c_d+e",
    "x" * LONGEST,
    "King Jr.",
    "Dr. Kern",
    "u/mira",
    "u/-mira-",
    "r/gates/mira",
    "O'Brien",
    "O’Brien",
    "d'Été, Zoë",
    "Smith & Sons",
    "Jürgen (Büro)",
    "mira@example.org",
    "mira+lists@example.org",
    "@mira",
    "_mira_",
    "mira#1234",
    "+49 170 1234567",
    "~ Mira",
    "Hi!",
    "Žofie",
    "Nguyễn Văn A",
    "नेहा",
    "मैं",
    "محمد",
    "علی\u200cرضا",
    "ශ්\u200dරී",
    "李雷",
    "ジョン・スミス",
    "Gal·la",
    "צה״ל",
    "김민수",
    "Mira 🌸",
    "🌸",
    "❤️ Mira",
    "👩🏽\u200d🚀",
    "🇩🇪 Mira",
]


@pytest.mark.parametrize("user", NAMES)
def test_names_that_people_have_are_ids(user: str) -> None:
    user = unicodedata.normalize("NFC", user)
    assert check_user(user) == user
    assert check_user(unicodedata.normalize("NFD", user)) == user
    assert Sample(user=user, text="some words here").user == user


@pytest.mark.parametrize(
    "user",
    [
        "",
        " ",
        " ada",
        "ada ",
        "../../etc/passwd",
        "..",
        ".",
        "a..b",
        "u/..",
        "u/.ssh",
        ".ada",
        "/etc",
        "a/",
        "a//b",
        "u/ a",
        "a\\b",
        "C:\\a",
        "a:b",
        "a\n",
        "a\0b",
        "a\x1b[31m",
        "-rf",
        "~",
        "()",
        "'",
        "_",
        "\u0301",
        "\u0301a",
        "<b>",
        "$HOME",
        "`id`",
        '"',
        "a*",
        "a;b",
        "a|b",
        "%2e",
        "x" * (LONGEST + 1),
    ],
)
def test_paths_options_and_commands_are_none(user: str) -> None:
    with pytest.raises(UserIdError) as caught:
        check_user(user)
    assert "--user NAME" in (caught.value.remedy or "")
    with pytest.raises(ValidationError):
        Sample(user=user, text="some words here")


@pytest.mark.parametrize(
    "user",
    [
        "a\u200bb",  # a space without width
        "a\u200db",
        "a\u200cb",
        "\u200da",
        "علی\u200c",
        "🌸\u200d",
        "a\ufe0fb",
        "\ufe0f",
        "a\u202eb",
        "a\u3164b",
        "a\u2800b",
        "a\ufffdb",
        "a\u00a0b",
        "a\u2028b",
        "\U000e0061",
        "\ud800",
    ],
)
def test_what_shows_nothing_or_something_else_is_none(user: str) -> None:
    with pytest.raises(UserIdError):
        check_user(user)


@pytest.mark.parametrize(
    ("one", "other"),
    [("O'Brien", "O’Brien"), ("❤ Mira", "❤️ Mira"), ("علیرضا", "علی\u200cرضا"), ("u/Mira", "u/mira")],
)
def test_ids_that_look_alike_share_a_key(one: str, other: str) -> None:
    assert check_user(one) != check_user(other)
    assert set(look_alike_keys(one)) & set(look_alike_keys(other))
    assert not set(look_alike_keys("King Jr.")) & set(look_alike_keys("King Jr"))


@pytest.mark.parametrize("user", [*NAMES, "CON", "nul", "com1.", "aux/b"])
def test_no_id_becomes_a_path(user: str) -> None:
    run = RunFolder("fit", user, {"records": ["r1"]})
    for folder, above in ((run.path, data_folder() / "runs"), (prefix_folder(user), data_folder() / "prefixes")):
        assert folder.parent == above
        assert folder.name.isascii()
        assert folder.name.rstrip(". ") == folder.name
        assert not folder.name.startswith(".")
    with lock_person(user):
        assert all(path.parent == data_folder() / "locks" for path in (data_folder() / "locks").rglob("*"))
    assert remove_runs(user) == 1


def test_folders_of_ids_that_are_written_alike_differ() -> None:
    names = ["u/mira", "u-mira", "u mira", "u_mira", "King Jr.", "King Jr", "नेहा", "محمد"]
    assert len({prefix_folder(name).name.lower() for name in names}) == len(names)
