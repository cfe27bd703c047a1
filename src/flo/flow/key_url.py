"""A dependency's URL: a template with `{key}`, into which a key is put so that it can change nothing but
itself.
"""

from __future__ import annotations

import re
from urllib.parse import quote, urlsplit

from flo.core.errors import UsageError

KEY_CHARS_MAX = 1_024
"""Servers refuse longer request lines (8 KiB is the common limit, and a character may become nine)."""

PLACEHOLDER = "{key}"


class KeyUnusable(ValueError):
    """A key that cannot stand in a URL without changing its structure."""


class KeyUrl:
    """`url` with every `{key}` replaced by the percent-encoded key.

    Scheme, host and port are the template's, whatever the key holds. Everything but letters, digits and
    `-_~.` is encoded, `/ ? # % @ :` too. Encoding cannot tame dots (clients and servers resolve `..`, also as
    `%2e%2e` or behind an encoded slash), so a key with a dot segment is refused, and so is an empty one: it
    would name the collection.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f'the URL "{url}" of a dependency is no http:// or https:// URL with a host')
        elsewhere = PLACEHOLDER in parts.netloc or PLACEHOLDER in parts.fragment
        if elsewhere or "{" in url.replace(PLACEHOLDER, ""):
            raise UsageError(f'the URL "{url}" may hold {{key}} in its path or query, nothing else in braces')
        self.url = url
        self._parts = re.split(re.escape(PLACEHOLDER), url)

    def render(self, key: str) -> str:
        """The URL of one key; `KeyUnusable` where the key could change more than itself."""
        if len(self._parts) == 1:
            return self.url
        if not key or len(key) > KEY_CHARS_MAX:
            raise KeyUnusable(f"a key has 1 to {KEY_CHARS_MAX} characters, this one {len(key)}")
        if any(part in (".", "..") for part in re.split(r"[/\\]", key)):
            raise KeyUnusable(f'the key "{key[:40]}" holds a dot segment')
        try:
            encoded = quote(key, safe="")
        except UnicodeEncodeError:
            raise KeyUnusable("the key holds half a surrogate pair") from None
        url = encoded.join(self._parts)
        if any(part in (".", "..") for part in urlsplit(url).path.split("/")):
            raise KeyUnusable(f'the key "{key[:40]}" makes a dot segment')
        return url
