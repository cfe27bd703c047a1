"""A key put into a URL can change nothing but itself."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from flo.core.errors import UsageError
from flo.flow.key_url import KeyUnusable, KeyUrl


@given(key=st.text(max_size=60))
@settings(max_examples=300, print_blob=True, deadline=None)
def test_no_key_changes_scheme_host_port_or_the_number_of_segments(key: str) -> None:
    try:
        url = KeyUrl("http://profiles.internal:9000/v1/profiles/{key}/risk?mode=a").render(key)
    except KeyUnusable:
        return
    parts = urlsplit(url)
    assert (parts.scheme, parts.netloc, parts.query, parts.fragment) == (
        "http",
        "profiles.internal:9000",
        "mode=a",
        "",
    )
    segments = parts.path.split("/")
    assert segments[:3] == ["", "v1", "profiles"]
    assert (len(segments), segments[-1]) == (5, "risk")
    assert unquote(segments[3]) == key
    sent = URL(url, encoded=True)
    assert (sent.host, sent.port, sent.raw_path) == ("profiles.internal", 9000, parts.path)


@pytest.mark.parametrize("key", ["", "..", ".", "../admin", "a/../b", "..\\x", "x" * 1_025, "\ud800"])
def test_a_key_that_could_name_something_else_is_refused(key: str) -> None:
    with pytest.raises(KeyUnusable):
        KeyUrl("http://h/profiles/{key}").render(key)


def test_dots_that_meet_dots_of_the_template_are_refused() -> None:
    with pytest.raises(KeyUnusable):
        KeyUrl("http://h/{key}{key}/x").render(".")


@pytest.mark.parametrize(
    "url",
    [
        "http://{key}.internal/",
        "http://h:{key}/",
        "http://h/#{key}",
        "ftp://h/{key}",
        "/profiles/{key}",
        "http://h/{other}",
    ],
)
def test_a_template_that_would_let_a_key_choose_more_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        KeyUrl(url)


def test_a_key_in_the_query_is_one_value() -> None:
    assert KeyUrl("http://h/p?id={key}&x=1").render("a&x=2#f") == "http://h/p?id=a%26x%3D2%23f&x=1"
