"""`flo.state.storm`: a hot key. One of many takes an outsized share of a loop's traffic: its worker does the work of all.

Judged by samples (twenty decisions of a loop in a group, evenly spread), in windows of ten seconds: a key must stay hot for
three of them. A loop of few keys is meant to be so.
"""

from __future__ import annotations

from typing import Any

import msgspec

from flo.core.finding import Finding
from flo.flow.digest import LoopDigest
from flo.flow.watchdogs.board import Board
from flo.flow.watchdogs.watchdog import Watchdog

NS_PER_S = 1_000_000_000
WINDOW_NS = 10 * NS_PER_S
WINDOWS = 3

KEYS_MAX = 256
"""Counted of one loop in one window. A key with half of the traffic is among the first 256 different ones."""

KEYS_MIN = 20
SAMPLES_MIN = 200
RELIEF = 0.8


class Window(msgspec.Struct):
    """What one loop did in the window under way."""

    decisions: int = 0
    samples: int = 0
    keys: dict[str, int] = {}


class StormWatchdog(Watchdog):
    """Fed with the decisions that a digest shows. Memory: the loops of one window, 256 keys each at most."""

    type = "flo.state.storm"

    def __init__(self) -> None:
        super().__init__()
        self._began_ns = 0
        self._windows: dict[str, Window] = {}
        self._hot: dict[str, tuple[str, int]] = {}  # loop -> (key, for how many windows)

    def decided(self, loop: LoopDigest) -> None:
        if not self.is_on or loop.loop not in self.loops:
            return
        window = self._windows.get(loop.loop)
        if window is None:
            window = self._windows[loop.loop] = Window()
        window.decisions += sum(loop.exits.values())
        window.samples += len(loop.shown)
        keys = window.keys
        for _, key, _, _ in loop.shown:
            if key in keys:
                keys[key] += 1
            elif len(keys) < KEYS_MAX:
                keys[key] = 1

    def check(self, now_ns: int, board: Board) -> None:
        elapsed_ns = now_ns - self._began_ns
        if elapsed_ns < WINDOW_NS:
            return
        windows, self._windows, self._began_ns = self._windows, {}, now_ns
        before, self._hot = self._hot, {}
        for loop, window in windows.items():
            key = max(window.keys, key=window.keys.__getitem__, default="")
            share = window.keys.get(key, 0) / max(1, window.samples)
            rate_per_s = window.decisions / (elapsed_ns / NS_PER_S)
            ease = RELIEF if board.holds(self.type, loop) else 1.0
            wanted: dict[str, Any] = dict(self.limits)
            if (
                window.samples < SAMPLES_MIN
                or len(window.keys) < KEYS_MIN
                or share < wanted["share"] * ease
                or rate_per_s < wanted["rate"] * ease
            ):
                continue
            was, count = before.get(loop, ("", 0))
            self._hot[loop] = (key, count + 1 if was == key else 1)
            if self._hot[loop][1] >= WINDOWS:
                board.report(
                    Finding(
                        type=self.type,
                        subject=loop,
                        loop=loop,
                        detail=f"key {key!r} takes {share:.0%} of the {rate_per_s:.0f} decisions a second of {loop}",
                        at_ns=now_ns,
                        figures={"key": key, "share": round(share, 3), "rate_per_s": round(rate_per_s, 1)},
                    )
                )
        for posted in list(board.posted()):
            if posted.finding.type == self.type and posted.finding.subject not in self._hot:
                board.clear(self.type, posted.finding.subject)
