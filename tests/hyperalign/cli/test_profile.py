"""``hyperalign profile``: every command on a real store, and what each says when something is wrong."""

from __future__ import annotations

import io
import json
import stat
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from hyperalign.cli.profile import app
from hyperalign.cli.show import render_diff, render_profile
from hyperalign.errors import HyperalignError, InputError, NotFoundError, ProfileError, StorageError
from hyperalign.profile import Evidence, Hypothesis, Poles, Profile
from hyperalign.programs.reward.edits import mark_edited
from hyperalign.store import Store
from hyperalign.text import plain
from tests.hyperalign.example_people import LETTER, RECORDS, profile


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with two people; the commands find it by the environment."""
    path = tmp_path / "people.sqlite"
    monkeypatch.setenv("HYPERALIGN_STORE", str(path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Store(path) as opened:
        opened.add_records(RECORDS)
        opened.save(profile(), "inferred")
        opened.save(profile("bob"))
    return path


def run(*arguments: str | Path, stdin: str | None = None) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments], input=stdin, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(kind: type[HyperalignError], *arguments: str | Path) -> HyperalignError:
    with pytest.raises(kind) as caught:
        CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert caught.value.remedy
    return caught.value


def editor(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Make an editor of a few lines of Python, which see the profile as ``data`` and the file as ``path``."""
    script = folder / "an editor.py"
    script.write_text(
        "import json, os, pathlib, stat, sys\npath = pathlib.Path(sys.argv[1])\ndata = json.loads(path.read_text())\n"
        + code
    )
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", f"'{sys.executable}' '{script}'")


def shown(what: Any, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(what)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


# Looking


def test_list(store: Path) -> None:
    assert json.loads(run("list", "--json")) == [
        {"user": "ada", "records": 3, "versions": 1},
        {"user": "bob", "records": 0, "versions": 1},
    ]
    assert "ada" in run("list")


def test_list_in_pages(store: Path) -> None:
    with Store(store) as opened:
        opened.add_people([([], Profile(user=f"user {number:03}")) for number in range(120)])
    page = CliRunner().invoke(app, ["list"])
    assert page.stdout.splitlines()[-1].split() == ["user", "097", "0", "1"]
    assert "--after 'user 097'" in page.stderr
    rest = CliRunner().invoke(app, ["list", "--after", "user 097"])
    assert "user 098" in rest.stdout
    assert "user 119" in rest.stdout
    assert rest.stderr == ""
    assert len(json.loads(run("list", "--json"))) == 122
    assert [p["user"] for p in json.loads(run("list", "--json", "--limit", "2"))] == ["ada", "bob"]
    assert [p["user"] for p in json.loads(run("list", "--json", "--search", "BO"))] == ["bob"]
    assert "There is nobody" in run("list", "--search", "zoe")


def test_an_empty_store_says_what_to_do(tmp_path: Path) -> None:
    place = tmp_path / "empty.sqlite"
    assert "hyperalign fit" in run("list", "--store", place)
    assert json.loads(run("list", "--json", "--store", place)) == []


def test_show_prints_what_is_believed_and_why(store: Path) -> None:
    out = run("show", "ada")
    for part in (
        "Declines with mock solemnity.",
        "communication",
        "+0.050",
        "+0.030 .. +0.070",
        "0.04",
        "0.80",
        "“must do without me”",
        "No emoji, please.",
        LETTER.id,
        "words a sentence",
        "-1.4",
        "Dropped (6)",
        "helps other people as much (6)",
        "2 more: --all",
    ):
        assert part in out
    assert "Is formal and clear (5)." not in out
    assert "Is formal and clear (5)." in run("show", "ada", "--all")


def test_show_says_where_choices_point(store: Path) -> None:
    with Store(store) as opened:
        tastes = {"warm": 0.96, "brief": 0.07, "tea": 0.2, "formal": 0.55, "polite": 0.52, "humorous": 0.5}
        opened.save(profile().model_copy(update={"direction": tastes}))
    out = run("show", "ada")
    lines = [line.strip() for line in out[out.index("Preferences") :].splitlines()[1:4]]
    assert lines == ["96%  Warm and friendly.", "93%  Long and detailed.", "80%  not tea"]
    assert "1 more: --all" in out
    assert "Funny and joking." in run("show", "ada", "--all")


def test_show_json_is_the_profile(store: Path) -> None:
    assert Profile.from_json(run("show", "ada", "--json")) == profile()
    with Store(store) as opened:
        opened.save(Profile(user="ada"))
    assert Profile.from_json(run("show", "ada", "--json", "--version", "1")) == profile()
    assert "Nothing is kept" in run("show", "ada")


def test_history(store: Path) -> None:
    (only,) = json.loads(run("history", "ada", "--json"))
    assert (only["number"], only["note"], only["kept"], only["dropped"]) == (1, "inferred", 2, 6)
    assert only["time"].endswith("+00:00")
    assert "inferred" in run("history", "ada")


@pytest.mark.parametrize("command", ["show", "history", "export", "edit", "diff"])
def test_a_stranger_is_not_found(store: Path, command: str) -> None:
    assert "Did you mean 'ada'?" in refused(NotFoundError, command, "adda").remedy


def test_a_version_that_is_not_there(store: Path) -> None:
    assert "no version 9" in refused(NotFoundError, "show", "ada", "--version", "9").message


# What the rendering does with untrusted text


def test_text_of_others_cannot_write_to_the_terminal_or_forge_markup() -> None:
    evil = "\x1b]0;owned\x07[bold red]loud[/] \x9b31m\u202egnitirw\r\n[link=file:///etc]x"
    bad = Hypothesis(
        id="h",
        statement=evil,
        aspect="style",
        scope=evil,
        evidence=[Evidence(quote=evil, record=evil)],
        dropped_because=evil,
    )
    whole = profile().model_copy(update={"hypotheses": [bad], "dropped": [bad], "stated": [evil]})
    out = shown(render_profile(whole, show_all=True)) + shown(render_diff([f"+ {evil}"]))
    assert "[bold red]loud[/]" in out
    assert not set(out) & {"\x1b", "\x07", "\x9b", "\u202e", "\r"}


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_a_profile_fits_the_terminal(width: int) -> None:
    lines = shown(render_profile(profile(), show_all=True), width).splitlines()
    assert max(map(len, lines)) <= width
    assert any("+0.030 .. +0.070" in line for line in lines)


def test_plain_is_one_line_of_a_given_length() -> None:
    assert plain("a\n b\tc\x00") == "a b c"
    assert plain("abcdef", 4) == "abc…"
    assert plain("family 👨‍👩‍👧") == "family 👨‍👩‍👧"


def test_no_difference_is_said() -> None:
    assert shown(render_diff([])).strip() == "No difference."


# Editing


def test_edit_saves_a_new_version_and_keeps_the_old(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor(
        tmp_path,
        monkeypatch,
        "assert stat.S_IMODE(path.stat().st_mode) == 0o600\n"
        "data['hypotheses'][0]['statement'] = 'Declines with a pun.'\npath.write_text(json.dumps(data))",
    )
    assert "Saved as version 2 of ada" in run("edit", "ada", "--note", "a pun")
    with Store(store) as opened:
        assert opened.load("ada", 1) == profile()
        changed = opened.load("ada").hypotheses[0]
        assert opened.history("ada")[-1].note == "a pun"
    assert (changed.statement, changed.source, changed.test) == ("Declines with a pun.", "edited", None)
    assert not list(tmp_path.glob("hyperalign-profile-*"))


def test_edit_without_a_change_saves_nothing(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    editor(tmp_path, monkeypatch, "")
    assert "Nothing changed." in run("edit", "ada")
    assert len(json.loads(run("history", "ada", "--json"))) == 1
    assert not list(tmp_path.glob("hyperalign-profile-*"))


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("path.write_text('{ not JSON, but an hour of work')", "JSON"),
        ("data['hypotheses'][0]['statment'] = 'x'; path.write_text(json.dumps(data))", "hypotheses.0.statment"),
        ("data['user'] = 'bob'; path.write_text(json.dumps(data))", "profile of 'bob'"),
        ("data['hypotheses'][0]['weight'] = 7; path.write_text(json.dumps(data))", "weight"),
    ],
)
def test_an_edit_that_does_not_load_is_kept_and_can_be_mended(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, says: str
) -> None:
    editor(tmp_path, monkeypatch, code)
    error = refused(ProfileError, "edit", "ada")
    (kept,) = tmp_path.glob("hyperalign-profile-*")
    assert says in error.message
    assert str(kept) in error.remedy
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert len(json.loads(run("history", "ada", "--json"))) == 1

    kept.write_text(Profile(user="ada", stated=["Be brief."]).to_json())
    run("edit", "ada", "--file", kept)
    assert json.loads(run("show", "ada", "--json"))["stated"] == ["Be brief."]
    assert kept.exists()


def test_an_editor_that_fails_or_is_missing_keeps_the_file(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor(tmp_path, monkeypatch, "sys.exit(3)")
    assert "ended with code 3" in refused(InputError, "edit", "ada").message
    monkeypatch.setenv("EDITOR", "no-such-editor-anywhere")
    assert "could not be started" in refused(InputError, "edit", "ada").message
    monkeypatch.setenv("EDITOR", "'unbalanced")
    assert "could not be started" in refused(InputError, "edit", "ada").message
    assert len(list(tmp_path.glob("hyperalign-profile-*"))) == 3


def test_only_what_a_human_changed_is_marked() -> None:
    before = profile()
    first, second = before.hypotheses
    new = Hypothesis(id="new", statement="Likes marmalade.", aspect="background", weight=1.0)
    after = before.model_copy(update={"hypotheses": [first.model_copy(update={"weight": 0.1}), second, new]})
    one, two, three = mark_edited(before, after).hypotheses
    assert (one.test, one.weight, two) == (first.test, 0.1, second)
    assert (three.source, three.weight) == ("edited", 1.0)


@pytest.mark.parametrize(("change", "left"), [({"statement": "Declines."}, None), ({"scope": "mail"}, 0.9)])
def test_a_quote_was_checked_for_the_old_wording(change: dict[str, str], left: float | None) -> None:
    before = profile()
    quote = before.hypotheses[0].evidence[0].model_copy(update={"checked": 0.9})
    checked = before.hypotheses[0].model_copy(update={"evidence": [quote]})
    before = before.model_copy(update={"hypotheses": [checked]})
    (found,) = mark_edited(
        before, before.model_copy(update={"hypotheses": [checked.model_copy(update=change)]})
    ).hypotheses
    assert (found.source, found.test) == ("edited", None)
    assert found.evidence[0].checked == left


def test_leanings_are_shown_in_the_profile_s_own_words() -> None:
    own = profile().model_copy(update={"direction": {"tea": 0.1}, "poles": {"tea": Poles(high="Tea.", low="Coffee.")}})
    assert "90%  Coffee." in shown(render_profile(own))


# Comparing


def test_diff_of_versions_and_files(store: Path, tmp_path: Path) -> None:
    with Store(store) as opened:
        opened.save(profile().model_copy(update={"stated": []}))
        opened.save(profile().model_copy(update={"stated": ["Be brief."]}))
    assert json.loads(run("diff", "ada", "--json")) == {"user": "ada", "changes": ["+ stated: Be brief."]}
    assert json.loads(run("diff", "ada", "1", "2", "--json"))["changes"] == ["- stated: No emoji, please."]
    assert "Be brief." in run("diff", "ada", "1")
    file = tmp_path / "ada.json"
    file.write_text(profile().to_json())
    assert "No difference." in run("diff", "ada", "1", file)
    assert "No emoji" in run("diff", "ada", file, "2")


def test_diff_needs_two_sides(store: Path, tmp_path: Path) -> None:
    assert "one version only" in refused(NotFoundError, "diff", "ada").message
    assert "could not be read" in refused(ProfileError, "diff", "ada", "gone.json").message
    other = tmp_path / "bob.json"
    other.write_text(profile("bob").to_json())
    assert "profile of 'bob'" in refused(ProfileError, "diff", "ada", other).message


# Moving and removing


def test_export_and_import(store: Path, tmp_path: Path) -> None:
    out, other = tmp_path / "ada.json", tmp_path / "other.sqlite"
    assert "3 records and 1 version" in run("export", "ada", "--out", out)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert out.read_text() == run("export", "ada")
    first = json.loads(run("import", out, "--store", other, "--json"))
    again = json.loads(run("import", out, "--store", other, "--json"))
    assert first == {"user": "ada", "records": 3, "versions": 1}
    assert again == {"user": "ada", "records": 0, "versions": 0}
    assert run("export", "ada", "--store", other) == out.read_text()


def test_import_takes_a_profile_and_standard_input(store: Path, tmp_path: Path) -> None:
    assert "1 version of bob" in run("import", "-", stdin=profile("bob").to_json())
    assert len(json.loads(run("history", "bob", "--json"))) == 2


@pytest.mark.parametrize("content", ["", "{", "[]", '{"user": "ada", "recrods": []}', '{"schema_version": 1}', "\0"])
def test_import_refuses_what_it_does_not_know(store: Path, tmp_path: Path, content: str) -> None:
    path = tmp_path / "strange.json"
    path.write_text(content)
    assert "strange.json" in refused(InputError, "import", path).message
    assert len(json.loads(run("list", "--json"))) == 2


def test_import_of_a_missing_file(store: Path, tmp_path: Path) -> None:
    assert "could not be read" in refused(InputError, "import", tmp_path / "gone.json").message


def test_rm_asks_first(store: Path) -> None:
    for answer in ("n\n", ""):
        result = CliRunner().invoke(app, ["rm", "ada"], input=answer)
        assert result.exit_code == 1
        assert "3 records and 1 version of ada" in result.stderr
    assert len(json.loads(run("list", "--json"))) == 2
    assert "Removed 3 records" in run("rm", "ada", stdin="y\n")
    assert [p["user"] for p in json.loads(run("list", "--json"))] == ["bob"]


def test_rm_leaves_no_text(store: Path) -> None:
    removed = json.loads(run("rm", "ada", "--yes", "--json"))
    cut = {"runs": 0, "lines": 0, "files": 0, "cached": 0}
    assert removed == {"user": "ada", "records": 3, "versions": 1, "traces_left": False, **cut}
    assert not any(b"marmalade" in f.read_bytes() for f in store.parent.glob("people.sqlite*"))
    refused(NotFoundError, "rm", "ada", "--yes")


def test_a_store_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "letters.txt"
    path.write_text("only words " * 100)
    assert "no database" in refused(StorageError, "list", "--store", path).message
