"""Reading what a `${file:PATH}` refers to."""

from __future__ import annotations

from pathlib import Path

from flo.core.secret import SecretUnavailable

SECRET_BYTES_MAX = 64 * 1024


def read_secret_file(path: str) -> str:
    """The secret in a file, without the line break editors leave at its end. Its content is never echoed.

    The path may lead anywhere, since secrets are mounted outside bundles; a relative one starts at the
    working directory. Raises `SecretUnavailable`.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(SECRET_BYTES_MAX + 1)
        text = content.decode()
    except OSError as error:
        raise SecretUnavailable(f"the secret file {path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise SecretUnavailable(f"the secret file {path} does not hold UTF-8 text") from None
    if len(content) > SECRET_BYTES_MAX:
        raise SecretUnavailable(f"the secret file {path} has more than {SECRET_BYTES_MAX >> 10} KiB")
    return text.removesuffix("\n").removesuffix("\r")
