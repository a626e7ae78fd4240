"""Several packets on their way at once, those of one DiaObject one after the other.

What is common to transports that have an answer for each packet (VTP, webhook).  A chain is the packets of one object
in their order; each lane takes the next chain that nobody has, and sees it through.

When is the peer to blame, and when the packet?  Who cannot be connected to is down: the sending stops at once.  A
packet that gets no usable answer has failed, and the others go on; but after `FAILURES` failures in a row, across
lanes and calls, nobody believes any more that it is the packets.  Each of them has its outcome by then, so a packet
that breaks its receiver never comes to be the first of every attempt.  After that, one lane goes ahead alone until
there is an answer.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue

from l1db.alert.transports import Outcome, Packet, UnreachableError

FAILURES = 3


class Lanes:
    """``n`` lanes to one peer.

    Parameters
    ----------
    n
        How many packets may be on their way at once.
    peer
        What to call it in an error.
    attempt
        Sends one packet on a lane, 0 to n - 1, and says what became of it; raises UnreachableError if there is no
        connection to be had.  Called in several threads, each with a lane of its own.
    """

    def __init__(self, n: int, peer: str, attempt: Callable[[int, Packet], Outcome]) -> None:
        self._n = n
        self._peer = peer
        self._attempt = attempt
        self._failures = 0
        self._counting = threading.Lock()
        self._interrupted = threading.Event()

    def send(self, packets: Sequence[Packet]) -> Iterator[Outcome]:
        """As `Sender.send`.  Closed early, it waits for what is on its way."""
        chains = _chains(packets)
        answers: SimpleQueue[Outcome | BaseException | None] = SimpleQueue()
        stop = self._interrupted
        stop.clear()

        def take() -> list[Packet] | None:
            try:
                return chains.popleft()
            except IndexError:
                return None

        def run(lane: int) -> None:
            try:
                for chain in iter(take, None):
                    for packet in chain:
                        if stop.is_set():
                            return
                        outcome = self._attempt(lane, packet)
                        in_a_row = self._count(outcome)
                        answers.put(outcome)
                        if in_a_row >= FAILURES:
                            stop.set()
                            answers.put(UnreachableError(f"{self._peer}: {outcome.detail}"))
            except BaseException as error:
                stop.set()
                answers.put(error)
            finally:
                answers.put(None)

        n = 1 if self._failures >= FAILURES else min(self._n, len(chains))
        threads = [threading.Thread(target=run, args=(lane,), name=f"{self._peer} {lane}") for lane in range(n)]
        for thread in threads:
            thread.start()
        running = len(threads)
        trouble: BaseException | None = None
        try:
            while running:
                answer = answers.get()
                if answer is None:
                    running -= 1
                elif isinstance(answer, BaseException):
                    trouble = trouble or answer
                else:
                    yield answer
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        if trouble is not None:
            raise trouble

    def interrupt(self) -> None:
        """As `Sender.interrupt`."""
        self._interrupted.set()

    def _count(self, outcome: Outcome) -> int:
        """Failures in a row so far, counted where they happen: whoever asks for outcomes may be slow."""
        with self._counting:
            self._failures = self._failures + 1 if outcome.state == "failed" else 0
            return self._failures


def _chains(packets: Sequence[Packet]) -> deque[list[Packet]]:
    chains: dict[tuple[str, int], list[Packet]] = {}
    for packet in packets:
        if packet.dia_object_id is not None:
            key = ("dia_object", packet.dia_object_id)
        elif packet.ss_object_id is not None:
            key = ("ss_object", packet.ss_object_id)
        else:
            key = ("alert", packet.alert_id)
        chains.setdefault(key, []).append(packet)
    return deque(chains.values())
