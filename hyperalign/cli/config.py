"""``hyperalign config``: keep settings in a file, so that flags need not be repeated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import DEFAULT_MODEL, JsonOption
from .terminal import echo

if TYPE_CHECKING:
    from hyperalign.settings import Settings

__all__ = ["app", "default_map"]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Keep settings in a file, so that flags need not be repeated. Flags take precedence over the environment, and "
    "the environment over the file. API keys and headers are read only from the environment.",
)

KeyArgument = Annotated[str, typer.Argument(metavar="KEY", help="Name of a setting, from 'config show'.")]
_DEFAULTS = {"model": DEFAULT_MODEL}


def default_map(command: Any) -> dict[str, Any]:
    """The settings in the user's file, as defaults for the parameters of each command.

    Args:
        command: a command, or a group of commands.

    Raises:
        InputError: the file is damaged, or has an unknown setting.
    """
    from hyperalign.files import config_file

    # Most users have no file, and need not wait for the module that reads it.
    if not config_file().exists():
        return {}
    from hyperalign.settings import load_settings

    held = load_settings(config_file()).model_dump(exclude_none=True)
    return _of_command(command, held)


def _of_command(command: Any, held: dict[str, Any]) -> dict[str, Any]:
    members: dict[str, Any] = getattr(command, "commands", {})
    if members:
        return {name: _of_command(member, held) for name, member in members.items()}
    # By the environment variable, because the flag may differ: --teacher of 'distill' is the model.
    known = {f"HYPERALIGN_{key.upper()}": value for key, value in held.items()}
    return {each.name: known[each.envvar] for each in command.params if getattr(each, "envvar", None) in known}


@app.command("set")
def set_(
    key: KeyArgument,
    value: Annotated[str, typer.Argument(metavar="VALUE", help="The value.")],
) -> None:
    """Save a setting.

    Example: hyperalign config set model anthropic/NAME
    """
    import os

    from hyperalign.files import config_file
    from hyperalign.settings import check_setting, check_settings, save_setting, variable
    from hyperalign.text import plain

    name = check_setting(key)
    given = getattr(check_settings({name: value}, said=str, text=True), name)
    _check_models(name, given)
    save_setting(config_file(), name, value)
    echo(f"{name} is {plain(_written(given))} from now on; it is kept in {config_file()}")
    if os.environ.get(variable(name)):
        echo(f"{variable(name)} is set, and goes before it.", err=True)


@app.command()
def unset(key: KeyArgument) -> None:
    """Remove a setting from the file."""
    from hyperalign.files import config_file
    from hyperalign.settings import check_setting, load_settings, save_setting

    name = check_setting(key)
    if getattr(load_settings(config_file()), name) is None:
        echo(f"{name} was not set.")
        return
    save_setting(config_file(), name, None)
    echo(f"{name} is not set any more.")


@app.command()
def show(as_json: JsonOption = False) -> None:
    """Show each setting and where its value comes from."""
    from hyperalign.files import config_file
    from hyperalign.settings import load_settings
    from hyperalign.text import plain

    from .terminal import print_json

    rows = _rows(load_settings(config_file()))
    if as_json:
        print_json({"file": str(config_file()), "settings": rows})
        return
    for name, row in rows.items():
        echo(f"{name:<17} {plain(_written(row['value'])):<40} {row['from']}")


@app.command()
def path() -> None:
    """Print the path of the settings file, whether it exists or not."""
    from hyperalign.files import config_file

    echo(str(config_file()))


def _rows(held: Settings) -> dict[str, dict[str, Any]]:
    """Each setting with its value and where that comes from. Headers are never among them."""
    import os

    from hyperalign.settings import KEYS, check_settings, variable

    rows: dict[str, dict[str, Any]] = {}
    for name in KEYS:
        said, kept = os.environ.get(variable(name)), getattr(held, name)
        if said:
            value = getattr(check_settings({name: said}, said=variable, text=True), name)
            rows[name] = {"value": value, "from": variable(name)}
        elif kept is not None:
            rows[name] = {"value": kept, "from": "file"}
        else:
            rows[name] = {"value": _DEFAULTS.get(name), "from": "default"}
    return rows


def _written(value: Any) -> str:
    return "-" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _check_models(name: str, value: Any) -> None:
    """Refuse a name that no model can have."""
    from hyperalign.backends.models.connect import check_name
    from hyperalign.errors import InputError

    if name == "model" or (name == "scorer" and value != "none"):
        check_name(value)
    if name == "scorer" and value != "none" and not value.startswith(("local:", "vllm:")):
        raise InputError(
            f"{value!r} gives no log-probabilities of text.", remedy="Give local:NAME, vllm:ADDRESS or none."
        )
