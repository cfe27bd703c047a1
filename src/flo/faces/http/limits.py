"""What one caller of the HTTP API may use, at most."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Each bound, and what it protects. Sizes are bytes after inflation, times are seconds."""

    body_bytes_max: int = 16 << 20
    """One request's body: 10,000 signals of 1.6 kB."""

    batch_count_max: int = 10_000
    """Signals in one batch. A batch is one turn of the event loop: a longer one holds up all others."""

    json_depth_max: int = 64
    """Nesting of one signal or request: parsers run out of stack near a thousand."""

    line_bytes_max: int = 8190
    """The request line."""

    header_bytes_max: int = 8190
    """One header field. Binary-mode events carry their attributes here."""

    headers_max: int = 128

    head_timeout_s: float = 30.0
    """From opening a connection (or its last answer) to a whole request head: the idle are closed."""

    body_timeout_s: float = 30.0
    """From the head to the whole body."""

    list_limit: int = 50
    list_limit_max: int = 1000

    streams_max: int = 64
    """Open event streams. Each costs a connection, and a copy of every event."""

    stream_buffer_bytes_max: int = 256 << 10
    """Unsent bytes of one stream. Past it the client is too slow, and is dropped: it can connect again."""

    heartbeat_s: float = 15.0
    """A comment on a silent stream, under the idle timeout of the usual proxies (60 s)."""
