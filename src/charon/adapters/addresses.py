"""Remove credentials from URLs that appear in messages."""

from __future__ import annotations

import re

# The second alternative matches a password that contains a slash.
_CREDENTIALS = re.compile(r"//(?:[^/?#]*@|[^/?#]*:[^/?#]*[^/?#\d].*@)", re.DOTALL)


def without_credentials(url: str) -> str:
    """Return a URL without user and password; the URL may be malformed."""
    return _CREDENTIALS.sub("//", url, count=1)
