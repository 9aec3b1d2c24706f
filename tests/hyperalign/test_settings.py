"""Settings are checked before they are kept, and a file keeps what its owner wrote beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hyperalign.errors import InputError, StorageError
from hyperalign.settings import KEYS, Settings, check_setting, check_settings, load_settings, save_setting, variable


def test_a_file_that_is_not_there_sets_nothing(tmp_path: Path) -> None:
    assert load_settings(tmp_path / "none.toml") == Settings()


def test_what_is_saved_is_read_again_by_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "new" / "config.toml"
    given = {
        "model": 'openai/odd "name" — ü',
        "api_base": "https://example.org/v1",
        "temperature": "0.3",
        "concurrency": "16",
        "redact": "false",
        "reasoning_effort": "low",
    }
    given["model"] = 'openai/odd-"name"-ü\\x'
    for key, value in given.items():
        save_setting(file, key, value)
    held = load_settings(file)
    assert (held.model, held.temperature, held.concurrency, held.redact) == (given["model"], 0.3, 16, False)
    assert file.stat().st_mode & 0o777 == 0o600


def test_comments_and_other_lines_stay(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('# work\nmodel = "a/b"\n\n# cheap\ntemperature = 1.0\n"timeout" = 30\n')
    save_setting(file, "model", "a/c")
    save_setting(file, "timeout", None)
    assert file.read_text() == '# work\n\n# cheap\ntemperature = 1.0\nmodel = "a/c"\n'


def test_a_value_over_several_lines_is_replaced_whole(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('scorer = "none"\nmodel = """\\\n  a/b"""\n')
    save_setting(file, "model", "a/c")
    assert load_settings(file) == Settings(model="a/c", scorer="none")


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "dotfiles").mkdir()
    file = tmp_path / "config.toml"
    file.symlink_to(tmp_path / "dotfiles" / "hyperalign.toml")
    save_setting(file, "model", "a/b")
    assert file.is_symlink()
    assert load_settings(file).model == "a/b"


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("model", ["", " ", "a/", "/a", "local:", "two words", "a\nb"]),
        ("api_base", ["ftp://x", "example.org", "http://", "https://me:secret@example.org/v1"]),
        ("api_version", [""]),
        ("temperature", ["-1", "2.5", "nan", "inf", "hot"]),
        ("reasoning_effort", ["loud", "LOW"]),
        ("concurrency", ["0", "-1", "2.5", "many"]),
        ("timeout", ["0", "-3", "inf", "soon"]),
        ("scorer", [""]),
        ("store", ["postgresql://me:secret@host/db"]),
        ("redact", ["perhaps"]),
    ],
)
def test_bad_values_are_refused_with_a_remedy_and_nothing_is_written(
    tmp_path: Path, key: str, values: list[str]
) -> None:
    file = tmp_path / "config.toml"
    save_setting(file, "model", "a/b")
    before = file.read_text()
    for value in values:
        with pytest.raises(InputError) as error:
            save_setting(file, key, value)
        assert key in error.value.message
        assert error.value.remedy
        assert "secret" not in str(error.value)
    assert file.read_text() == before
    assert key in KEYS


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("modle = 1", "modle"),
        ('temperature = "0.3"', "temperature"),
        ("concurrency = true", "concurrency"),
        ("concurrency = 2.5", "concurrency"),
        ("[model]\nname = 1", "model"),
        ("model = ", "not TOML"),
        ('headers = "X-Key: hunter2"', "secrets"),
        ('openai_api_key = "hunter2"', "secrets"),
    ],
)
def test_a_damaged_file_is_named_with_its_key_and_a_remedy(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    with pytest.raises(InputError, match=said) as error:
        load_settings(file)
    assert str(file) in error.value.message
    assert error.value.remedy
    assert "hunter2" not in str(error.value)


def test_bytes_that_are_no_text_and_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="UTF-8"):
        load_settings(tmp_path / "a")
    with pytest.raises(StorageError):
        load_settings(tmp_path)


def test_names_of_settings() -> None:
    assert check_setting("API-Base") == "api_base"
    assert variable("api_base") == "HYPERALIGN_API_BASE"
    for secret in ("api-key", "ANTHROPIC_API_KEY", "header", "token"):
        with pytest.raises(InputError, match="secrets"):
            check_setting(secret)
    with pytest.raises(InputError, match="no setting 'colour'"):
        check_setting("colour")


@pytest.mark.parametrize(
    ("given", "said"),
    [({"temperature": -1.0}, "--temperature is -1.0"), ({"api_base": "x"}, "--api-base is not usable")],
)
def test_a_flag_is_called_as_it_was_given(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        check_settings(given)
