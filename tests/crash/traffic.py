"""Senders of payments to a FLO that may die under them."""

from __future__ import annotations

import random
import threading
import time

from tests.crash.running_flo import Receiver, RunningFlo
from tests.sim.world import Payment, finished

CARDS = 4
SENDERS = 2


class Traffic:
    """What was sent and what was promised, over all lives of one directory."""

    def __init__(self, seed: int, pause_s: float = 0.0) -> None:
        """`pause_s`: between two requests of a sender. What was sent is checked after every life."""
        self.pause_s = pause_s
        self.dice = random.Random(seed)
        self.acknowledged: set[tuple[str, str]] = set()
        self.unsure: list[bytes] = []
        self.count = 0
        self.lock = threading.Lock()
        self.died_by_itself = 0

    def next_batch(self, receiver: Receiver) -> list[tuple[tuple[str, str], bytes]]:
        with self.lock:
            batch = []
            for _ in range(self.dice.choice((1, 2, 10))):
                self.count += 1
                payment = Payment(
                    f"p{self.count}",
                    f"card-{self.dice.randrange(CARDS)}",
                    self.dice.randrange(1, 100),
                    round(self.count * 20 - self.dice.choice((0, 0, 300, 900)), 3),
                )
                batch.append((("terminal", payment.id), payment.raw()))
            done = [key for key in list(receiver.keys) if "/big/" in key]
            if done and self.dice.random() < 0.5:
                self.count += 1
                id = f"f{self.count}"
                batch.append((("engine", id), finished(id, self.dice.choice(done))))
            return batch

    def run(self, flo: RunningFlo, receiver: Receiver, until_s: float) -> None:
        """Send until FLO dies or the time is over; what got no answer is sent again in the next life."""
        threads = [threading.Thread(target=self._send, args=(flo, receiver, until_s)) for _ in range(SENDERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _send(self, flo: RunningFlo, receiver: Receiver, until_s: float) -> None:
        while flo.alive and time.monotonic() < until_s:
            batch = self.next_batch(receiver)
            if flo.send([raw for _, raw in batch]):
                with self.lock:
                    self.acknowledged.update(id for id, _ in batch)
            else:
                with self.lock:
                    self.unsure += [raw for _, raw in batch]
            time.sleep(self.pause_s)

    def send_again(self, flo: RunningFlo) -> None:
        again, self.unsure = self.unsure, []
        for raw in again:
            if not flo.send([raw]):
                self.unsure.append(raw)
