"""Settings in a flat TOML file: which model to call, where it is, and how. Flags and variables override them."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from .errors import InputError
from .files import storage_error, write_whole

__all__ = ["KEYS", "Settings", "check_setting", "check_settings", "flag", "load_settings", "save_setting", "variable"]

_WITH_PASSWORD: Final = re.compile(r"://[^/\s]*@")


def _plain(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("empty, or with control characters")
    return text.strip()


def _model_name(text: str) -> str:
    if re.search(r"\s", text) and not text.startswith(("local:", "adapter:")):
        raise ValueError("a name has no spaces")
    if _WITH_PASSWORD.search(text):
        raise ValueError("a password is not kept in this file")
    scheme, colon, rest = text.partition(":")
    if text.endswith("/") or text.startswith("/") or (colon and scheme in ("local", "vllm", "adapter") and not rest):
        raise ValueError("a part of the name is missing")
    return text


def _address(text: str) -> str:
    # A password would end up in settings, in a run's inputs and in messages; headers are kept out of all of them.
    if urlsplit(text).scheme not in ("http", "https") or not urlsplit(text).hostname or _WITH_PASSWORD.search(text):
        raise ValueError("no plain http(s) address")
    return text.rstrip("/")


def _store_place(text: str) -> str:
    if _WITH_PASSWORD.search(text) and ":" in text.split("://", 1)[1].split("@", 1)[0]:
        raise ValueError("a password is not kept in this file")
    return text


_Text = Annotated[str, AfterValidator(_plain)]


class Settings(BaseModel):
    """All settings; None where one is not set.

    Attributes:
        model: the model to call, as ``--model`` names it.
        api_base: the address of a hosted model's server.
        api_version: the version of its interface, for Azure.
        temperature: the sampling temperature, from 0 to 2.
        reasoning_effort: how much a reasoning model thinks.
        concurrency: concurrent calls.
        timeout: seconds to wait for an answer.
        scorer: the model whose log-probabilities test hypotheses, or ``none``.
        encoder: the model whose embeddings a reward reads, or ``none``.
        store: a SQLite file, or a ``postgresql://`` address without a password.
        redact: whether to redact records.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())

    model: Annotated[_Text, AfterValidator(_model_name)] | None = None
    api_base: Annotated[_Text, AfterValidator(_address)] | None = None
    api_version: _Text | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    concurrency: Annotated[int, Field(ge=1)] | None = None
    timeout: Annotated[float, Field(gt=0)] | None = None
    scorer: Annotated[_Text, AfterValidator(_model_name)] | None = None
    encoder: Annotated[_Text, AfterValidator(_model_name)] | None = None
    store: Annotated[_Text, AfterValidator(_store_place)] | None = None
    redact: bool | None = None


KEYS: Final = tuple(Settings.model_fields)

_REMEDIES: Final = {
    "model": "Give local:NAME, vllm:ADDRESS, or a name that LiteLLM knows, such as anthropic/NAME.",
    "api_base": "Give an http or https address without a password, such as http://127.0.0.1:9000/v1.",
    "api_version": "Give the version that the provider's page names.",
    "temperature": "Give a number from 0 to 2, such as 0.7.",
    "reasoning_effort": "Choose one of: none, minimal, low, medium, high, xhigh, max.",
    "concurrency": "Give a whole number from 1 on.",
    "timeout": "Give seconds to wait for an answer, such as 300.",
    "scorer": "Give local:NAME, vllm:ADDRESS or none.",
    "encoder": "Give local:NAME, an embedding model that LiteLLM knows, such as openai/NAME, or none.",
    "store": "Give a SQLite file, or a postgresql:// address without its password, which PGPASSWORD may hold.",
    "redact": "Give true or false.",
}
_SECRETS: Final = ("key", "token", "header", "secret", "password", "auth")


def variable(key: str) -> str:
    """The name of a setting's environment variable."""
    return f"HYPERALIGN_{key.upper()}"


def check_setting(key: str) -> str:
    """The name of a setting as the file has it; dashes become underscores.

    Raises:
        InputError: there is no such setting, or it is a secret, which no file keeps.
    """
    name = key.strip().lower().replace("-", "_")
    if name in KEYS:
        return name
    if any(part in name for part in _SECRETS):
        raise InputError(
            f"{key!r} is not kept in a file: keys and headers are secrets.",
            remedy="Set the provider's own variable, such as OPENAI_API_KEY, or HYPERALIGN_HEADERS.",
        )
    raise InputError(f"There is no setting {key!r}.", remedy=f"Choose one of: {', '.join(KEYS)}.")


def flag(key: str) -> str:
    """The command-line option of a setting."""
    return f"--{key.replace('_', '-')}"


def check_settings(given: dict[str, Any], *, said: Callable[[str], str] = flag, text: bool = False) -> Settings:
    """Check the names and values of settings.

    Args:
        given: values by name; None where one is not set.
        said: how messages name a setting.
        text: whether the values are text, to be read as numbers and truth values.

    Raises:
        InputError: a name is unknown, or a value is not allowed.
    """
    try:
        return Settings.model_validate_strings(given, strict=False) if text else Settings.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = str(first["loc"][0])
        name = said(key)
        if key not in KEYS:
            try:
                check_setting(key)
            except InputError as unknown:
                raise InputError(f"{name}: {unknown.message}", remedy=unknown.remedy) from error
        # An address or a place may hold a password, so messages do not repeat those two.
        value = "not usable" if key in ("api_base", "store") else json.dumps(given[key], default=str)
        raise InputError(f"{name} is {value}.", remedy=_REMEDIES[key]) from error


def load_settings(file: Path) -> Settings:
    """Read the settings of a file; a missing file has none.

    Raises:
        InputError: the file is not UTF-8 or not TOML, or has an unknown key or a wrong value.
        StorageError: the file can't be read.
    """
    return check_settings(_parsed(_text(file), file), said=lambda key: f"{file}: {key}")


def save_setting(file: Path, key: str, value: str | None) -> Settings:
    """Set or remove one setting; other lines of the file stay as they are, with their comments.

    Args:
        file: the file; made with mode 0600 if missing.
        key: a name in ``KEYS``.
        value: the value as text; None removes the setting.

    Returns:
        The new settings.

    Raises:
        InputError: the value is not allowed, or the file is damaged.
        StorageError: the file can't be read or written.
    """
    text = _text(file)
    held = _parsed(text, file)
    held.pop(key, None)
    if value is not None:
        held[key] = getattr(check_settings({key: value}, said=str, text=True), key)
    after = check_settings(held, said=lambda key: f"{file}: {key}")
    lines = [line for line in text.splitlines() if not re.match(rf"""\s*["']?{key}["']?\s*=""", line)]
    if value is not None:
        lines.append(_line(key, held[key]))
    kept = "".join(f"{line}\n" for line in lines)
    # Lines can't be edited if a value spans several of them or a table follows: then the file is written anew.
    if not _has_settings(kept, held):
        kept = "".join(f"{_line(name, each)}\n" for name, each in held.items())
    # Resolved, since people keep such files elsewhere and link to them.
    write_whole(file.resolve(), kept)
    return after


def _has_settings(text: str, held: dict[str, Any]) -> bool:
    try:
        return tomllib.loads(text) == held
    except tomllib.TOMLDecodeError:
        return False


def _line(key: str, value: Any) -> str:
    # JSON's strings, numbers and truth values are also TOML's; control characters are refused.
    return f"{key} = {json.dumps(value, ensure_ascii=False)}"


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not UTF-8 text.", remedy="Mend it, or delete it.") from error
    except OSError as error:
        raise storage_error(error, file) from error


def _parsed(text: str, file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(
            f"{file} is not TOML: {error}.", remedy='Mend it, or delete it; a line reads: model = "anthropic/NAME"'
        ) from error
