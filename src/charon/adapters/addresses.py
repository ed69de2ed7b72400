"""Addresses of the web as they may be told: without a password."""

from __future__ import annotations

import re

# The second form is what a password with a slash in it makes of an address.
_USER = re.compile(r"//(?:[^/?#]*@|[^/?#]*:[^/?#]*[^/?#\d].*@)", re.DOTALL)


def without_user(url: str) -> str:
    """Return a URL, or what was meant as one, without user and password."""
    return _USER.sub("//", url, count=1)
