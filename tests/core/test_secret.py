import copy
import json
import pickle

import msgspec
import pytest

from flo.core.secret import Secret, SecretUnavailable, revealed

CANARY = "hunter2-canary"


def test_a_secret_prints_as_stars_everywhere() -> None:
    secret = Secret("https://user:${env:PASSWORD}@host/")
    assert [str(secret), repr(secret), f"{secret}", f"{secret!r}"] == [
        "****",
        "Secret(****)",
        "****",
        "Secret(****)",
    ]


def test_a_secret_is_revealed_from_the_environment_and_from_files() -> None:
    environ = {"PASSWORD": CANARY}
    assert Secret("https://user:${env:PASSWORD}@host/").reveal(environ) == f"https://user:{CANARY}@host/"
    assert Secret("${file:/run/token}").reveal({}, {"/run/token": "abc"}.__getitem__) == "abc"


def test_what_a_secret_refers_to_is_revealed_once_and_not_again() -> None:
    assert Secret("${env:A}").reveal({"A": "${env:B}", "B": "no"}) == "${env:B}"


def test_a_secret_that_is_not_there_says_which_and_what_to_do() -> None:
    with pytest.raises(SecretUnavailable, match="PASSWORD is not set"):
        Secret("${env:PASSWORD}").reveal({})
    with pytest.raises(SecretUnavailable, match="/run/token"):
        Secret("${file:/run/token}").reveal({})


@pytest.mark.parametrize(
    "written", ["", CANARY, "${env:}", "${env:1A}", f"${{evn:{CANARY}}}", "${file: }", "${env:A"]
)
def test_what_is_no_reference_is_refused_without_an_echo(written: str) -> None:
    with pytest.raises(ValueError) as raised:
        Secret(written)
    assert CANARY not in str(raised.value)


def test_a_secret_is_never_pickled_nor_encoded() -> None:
    secret = Secret("${env:A}")
    with pytest.raises(TypeError, match="never pickled"):
        pickle.dumps({"password": secret})
    with pytest.raises(TypeError):
        json.dumps(secret)
    with pytest.raises(TypeError):
        msgspec.json.encode(secret)


def test_secrets_compare_by_reference_and_match_by_value() -> None:
    secret = Secret("${env:A}")
    assert secret == Secret("${env:A}")
    assert secret != Secret("${env:B}")
    assert secret != "${env:A}"
    assert hash(secret) == hash(Secret("${env:A}"))
    assert copy.deepcopy(secret) is secret
    assert copy.copy(secret) is secret
    assert secret.matches("x", {"A": "x"})
    assert not secret.matches("y", {"A": "x"})
    assert secret.references == ("env:A",)


def test_the_secrets_in_an_engines_settings_are_revealed_at_any_depth() -> None:
    settings = {
        "url": "http://h",
        "headers": {"A": Secret("Bearer ${env:T}")},
        "list": [Secret("${env:T}"), 1],
    }
    assert revealed(settings, {"T": CANARY}) == {
        "url": "http://h",
        "headers": {"A": f"Bearer {CANARY}"},
        "list": [CANARY, 1],
    }
