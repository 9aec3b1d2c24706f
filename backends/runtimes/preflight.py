"""What would stop a model's first call, said before a file is fetched: no key, a part that is missing, no space.

Nothing is fetched, started or asked here.
"""

from __future__ import annotations

import importlib.util

from hyperalign.errors import InputError, MissingExtraError, MissingKeyError, UnknownModelError

from .catalogue import LocalModel, resolve
from .download import check_fetch, is_verified
from .lm import LM
from .target import Target

__all__ = ["check_local", "check_name", "check_ready", "check_scorer"]


def check_ready(lm: LM) -> None:
    """Check that a model could be asked.

    Raises:
        MissingKeyError: a hosted model's key is not set.
        UnknownModelError: LiteLLM knows no such provider.
        MissingExtraError: a ``local:`` model, and what runs it is not installed.
        DownloadError: its file is not here, and must not be fetched.
        StorageError: there is no space for its file.
    """
    target = lm.target
    if target.server is not None:
        check_local(target.server.model, "xllamacpp", "A 'local:' model")
    else:
        target.options()


def check_scorer(name: str) -> None:
    """Check that a scorer could be opened, as far as this machine can tell.

    Raises:
        UnknownModelError: no such model, or one of a kind that gives no log-probabilities of text.
        MissingExtraError: a ``local:`` model without the part that reads it.
        DownloadError: its file is not here, and must not be fetched.
        StorageError: there is no space for its file.
    """
    scheme, _, rest = name.strip().partition(":")
    if scheme == "local":
        check_local(resolve(rest), "cyllama", "Scoring with a GGUF file")
    elif scheme != "vllm":
        raise UnknownModelError(
            f"'{name}' gives no log-probabilities of text.",
            remedy="A scorer is 'local:<name>' or 'vllm:<address>'; without one, hypotheses are tested by choice.",
        )


def check_local(model: LocalModel, module: str, what: str) -> None:
    """Check that a local model could be loaded by a module, once its file is here.

    Args:
        model: of the catalogue, or a file of the user's own.
        module: the name of what loads it, which the extra ``local`` brings.
        what: what it is for, for the message.

    Raises:
        MissingExtraError: the module is not installed.
        DownloadError: the file is not here, and must not be fetched.
        StorageError: there is no space for it.
    """
    if importlib.util.find_spec(module) is None:
        raise MissingExtraError(what, "local")
    if model.entry is not None and not is_verified(model.entry):
        check_fetch(model.entry)


def check_name(name: str) -> None:
    """Check that a name could be a model's: nothing is asked, and its key need not be set.

    Raises:
        InputError: it could not.
    """
    scheme, _, rest = name.partition(":")
    try:
        if scheme == "local":
            resolve(rest)
        elif scheme not in ("vllm", "adapter"):
            # An address of its own would hide what LiteLLM makes of the name.
            Target(name, name, "hosted", timeout=1.0).options()
    except MissingKeyError:
        return
    except UnknownModelError as error:
        raise InputError(error.message, remedy=error.remedy) from error
