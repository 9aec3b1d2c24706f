"""Signed links that open one person's page, the sessions that they start, and the tokens of its forms.

A link names its person, and nothing that could be guessed does: the address of a page holds a keyed hash. All follow
from one secret, so that nothing need be kept: a new secret ends every link and every session.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hyperalign.errors import MissingExtraError, StorageError, UserIdError
from hyperalign.files import data_folder, narrow, storage_error, write_whole
from hyperalign.records import check_user

try:
    from itsdangerous import BadData, URLSafeTimedSerializer
except ImportError as missing:  # pragma: no cover - the extra is installed where this is tested
    raise MissingExtraError("A person's page", "gateway") from missing

__all__ = ["LINK_AGE", "SESSION_AGE", "Links", "Session", "load_secret"]

LINK_AGE: Final = 7 * 24 * 3600
"""Seconds for which a link can be opened."""
SESSION_AGE: Final = 12 * 3600
"""Seconds for which an opened page stays open; its forms are good as long."""

_SECRET_BYTES: Final = 32
_HANDLE_BYTES: Final = 18
_SIGNER: Final[dict[str, Any]] = {"key_derivation": "hmac", "digest_method": hashlib.sha256}


def load_secret(folder: Path | None = None) -> bytes:
    """The secret that signs links, made at its first use and kept with mode 0600.

    Args:
        folder: where; the data folder if None.

    Raises:
        StorageError: the folder is not writable, or the file holds no secret.
    """
    path = (folder or data_folder()) / "page.secret"
    if not path.exists():
        made = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        write_whole(made, secrets.token_bytes(_SECRET_BYTES))
        try:
            # Linked when it is whole: of two processes that start at once, the first one's counts for both.
            path.hardlink_to(made)
        except FileExistsError:
            pass
        except OSError as error:
            raise storage_error(error, path) from error
        finally:
            made.unlink()
    narrow(path)
    try:
        found = path.read_bytes()
    except OSError as error:
        raise storage_error(error, path) from error
    if len(found) < _SECRET_BYTES:
        raise StorageError(f"{path} is cut short.", remedy="Delete it: a new one is made, which ends all links.")
    return found


@dataclass(frozen=True, slots=True)
class Session:
    """An opened page.

    Attributes:
        user: whose.
        name: tells it from other sessions of the same person.
    """

    user: str
    name: str


class Links:
    """Makes and reads links, sessions and the tokens of forms.

    Args:
        secret: at least 32 bytes; see ``load_secret``.
        link_age: seconds for which links that are made can be opened.
        session_age: seconds for which an opened page stays open.
    """

    def __init__(self, secret: bytes, *, link_age: int = LINK_AGE, session_age: int = SESSION_AGE) -> None:
        self._secret = secret
        self.link_age = link_age
        self.session_age = session_age

    def token(self, user: str) -> str:
        """The token of a link to a person's page.

        Raises:
            UserIdError: that is no user id.
        """
        # Until when is said by the link itself: who made it decides, not who serves the page.
        return str(self._serializer("link").dumps([check_user(user), int(time.time()) + self.link_age]))

    def link(self, user: str, base: str) -> str:
        """A link to a person's page.

        Args:
            user: the person.
            base: the address where the page is served, such as ``http://127.0.0.1:8020``.
        """
        return f"{base.rstrip('/')}/open/{self.token(user)}"

    def read_link(self, token: str) -> str | None:
        """The person whose page a link opens; None for any other text, and after its time."""
        found = self._load("link", token, None)
        if not (isinstance(found, list) and len(found) == 2 and isinstance(found[0], str) and time.time() < found[1]):
            return None
        try:
            return check_user(found[0])
        except UserIdError:
            return None

    def handle(self, user: str) -> str:
        """The part of a page's address that stands for a person: a keyed hash, which nobody can guess."""
        found = hmac.new(self._secret, b"handle\0" + user.encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(found[:_HANDLE_BYTES]).decode()

    def open_session(self, user: str) -> str:
        """The value of the cookie of a new session."""
        return str(self._serializer("session").dumps([user, secrets.token_urlsafe(12)]))

    def read_session(self, cookie: str, handle: str) -> Session | None:
        """The session of a cookie, if it is of the person whom an address stands for.

        Args:
            cookie: as the browser sent it.
            handle: of the address.
        """
        found = self._load("session", cookie, self.session_age)
        if not (isinstance(found, list) and len(found) == 2 and all(isinstance(part, str) for part in found)):
            return None
        session = Session(*found)
        return session if hmac.compare_digest(self.handle(session.user).encode(), handle.encode()) else None

    def seal(self, session: Session, purpose: str, content: Any = None) -> str:
        """What a form carries and must bring back as it is; good for this session alone.

        Args:
            session: whose form it is.
            purpose: what it is for; it is no good for anything else.
            content: what it holds, as JSON-able data.
        """
        return str(self._serializer(f"form/{purpose}").dumps([session.user, session.name, content]))

    def unseal(self, session: Session, purpose: str, token: str) -> tuple[bool, Any]:
        """Whether a form's token is of this session, and what it holds."""
        found = self._load(f"form/{purpose}", token, self.session_age)
        if isinstance(found, list) and len(found) == 3 and found[:2] == [session.user, session.name]:
            return True, found[2]
        return False, None

    def _serializer(self, salt: str) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(self._secret, salt=f"hyperalign/{salt}", signer_kwargs=_SIGNER)

    def _load(self, salt: str, token: str, age: int | None) -> Any:
        try:
            return self._serializer(salt).loads(token, max_age=age)
        except BadData:
            return None
