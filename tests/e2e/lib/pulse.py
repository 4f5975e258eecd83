# SPDX-License-Identifier: Apache-2.0
"""How long nothing ran at all: a thread that sleeps 10 ms again and again notes how much later it woke.

What shares a machine with virtual machines waits for a processor for a second now and then. A bound on a latency
allows for that; a program that is late by itself is not excused, as the thread runs beside it.
"""
import threading
import time

SLEEP_S = 0.01
STILL_S = 0.1


class Pulse:
    """still_ms: since it was made. All have one thread, which stays."""
    thread, all_ms = None, 0.0

    def __init__(self):
        if not Pulse.thread:
            Pulse.thread = threading.Thread(target=Pulse._beat, daemon=True)
            Pulse.thread.start()
        self.before_ms = Pulse.all_ms

    @property
    def still_ms(self):
        return Pulse.all_ms - self.before_ms

    @staticmethod
    def _beat():
        while True:
            began = time.monotonic()
            time.sleep(SLEEP_S)
            late_s = time.monotonic() - began - SLEEP_S
            Pulse.all_ms += late_s * 1e3 if late_s > STILL_S else 0
