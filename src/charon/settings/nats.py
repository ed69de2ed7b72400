"""Address and credentials of a nats-server."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import Field

from charon.errors import UsageError
from charon.settings.base import Settings

_DEFAULT_PORT = 4222


class NatsAddress(Settings):
    """Address of a nats-server with its credentials: a token, or a user and a password.

    Parameters
    ----------
    host, port
        Where the server listens.
    token, user, password
        Credentials; an empty string means not used.
    """

    port: int = Field(default=_DEFAULT_PORT, ge=1, le=65535)
    host: str = "127.0.0.1"
    token: str = Field(default="", repr=False)
    user: str = ""
    password: str = Field(default="", repr=False)

    @classmethod
    def from_url(cls, url: str, user: str = "", password: str = "") -> NatsAddress:
        """Return the address for a URL such as ``nats://host:4222``.

        Raises
        ------
        UsageError
            If the URL is invalid or contains credentials.
        """
        parts = urlsplit(url if "//" in url else f"nats://{url}")
        try:
            port = parts.port or _DEFAULT_PORT
        except ValueError:
            port = 0
        if parts.scheme != "nats" or not parts.hostname or not port or parts.path.strip("/"):
            shown = parts._replace(netloc="...").geturl()
            raise UsageError(f"{shown}: invalid address of a nats-server (expected nats://host:port)")
        if parts.username or parts.password:
            raise UsageError(f"nats://{parts.hostname}:{port}: remove user and password from the address")
        return cls(port=port, host=parts.hostname, user=user, password=password)

    @property
    def url(self) -> str:
        """URL without credentials, for messages."""
        return f"nats://{self.host}:{self.port}"
