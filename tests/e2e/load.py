"""Clients that ask for a page without pause, and count what they didn't get. None tries anything twice."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from attrs import define, field

from e2e.clients import receive
from e2e.waiting import DEADLINE


@define(eq=False)
class Load:
    """What the clients saw so far. `answered` counts by client."""

    port: int
    path: str
    answered: list[int] = field(factory=list)
    failures: list[str] = field(factory=list)
    over: threading.Event = field(factory=threading.Event)

    def fresh(self, number: int) -> None:
        """A connection for each request."""
        request = f"GET {self.path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode()
        while not self.over.is_set():
            with socket.create_connection(("127.0.0.1", self.port), DEADLINE) as connection:
                connection.sendall(request)
                answer = receive_all(connection)
            head, _, body = answer.partition(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200 "), answer[:80]
            assert f"Content-Length: {len(body)}\r\n".encode() in head + b"\r\n"
            self.answered[number] += 1

    def kept(self, number: int) -> None:
        """A connection for as long as the server keeps it, as installers do."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        while not self.over.is_set():
            connection.request("GET", self.path)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200
            self.answered[number] += 1
        connection.close()

    def run(self, number: int) -> None:
        """One client."""
        try:
            (self.kept if number % 2 else self.fresh)(number)
        except Exception as error:
            self.failures.append(repr(error))


def receive_all(connection: socket.socket) -> bytes:
    """All that comes until the connection ends."""
    data = b""
    while more := receive(connection):
        data += more
    return data


@contextmanager
def load(port: int, path: str, clients: int) -> Iterator[Load]:
    """So many clients, half of them with kept connections; they have all ended when this has."""
    running = Load(port, path, [0] * clients)
    threads = [threading.Thread(target=running.run, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield running
    finally:
        running.over.set()
        for thread in threads:
            thread.join()
