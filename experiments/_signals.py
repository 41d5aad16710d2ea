"""Takes SIGINT, SIGTERM and SIGHUP for a command, before anything large is imported."""

import contextlib
import os
import signal
import socket
import threading

arrived: list[int] = []  # numbers of the signals that have come; a command ends for the first


def take() -> None:
    """Note the signals from now on; a second one ends the process at once. Under nohup no SIGHUP.

    The handler only notes. That work will stop is said by a thread, which also ends it: Python runs
    a handler when a call into compiled code is over, which may be a minute later.
    """
    names = ["SIGINT", "SIGTERM"]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        names.append("SIGHUP")
    numbers = [signal.Signals[name] for name in names]
    here, there = socket.socketpair()
    there.setblocking(False)
    signal.set_wakeup_fd(there.fileno(), warn_on_full_buffer=False)
    for number in numbers:
        signal.signal(number, lambda number, frame: arrived.append(number))

    def answer() -> None:
        came = 0
        with here, there:
            while True:
                for number in here.recv(64):
                    came += number in numbers
                    if came > 1:
                        os._exit(128 + number)
                    if came == 1:
                        name = signal.Signals(number).name
                        said = f"{name}: stops at the next safe place; another one stops at once\n"
                        with contextlib.suppress(OSError):  # the terminal may be gone
                            os.write(2, said.encode())

    threading.Thread(target=answer, daemon=True).start()
