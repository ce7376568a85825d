"""The slow link of the benchmarks."""

import socket
import threading
import time

import pytest

from scripts.benchmarks.slowlink import Lane, SlowLink


def test_bytes_arrive_after_the_delay_and_those_before_them() -> None:
    """A piece is sent at the link's rate once the one before has been sent, and is then under way for the delay."""
    lane = Lane(delay=0.5, rate=100.0)
    assert lane.arrival(100, now=10.0) == pytest.approx(11.5)
    assert lane.arrival(50, now=10.0) == pytest.approx(12.0)
    assert lane.arrival(100, now=20.0) == pytest.approx(21.5)
    assert lane.sent == 250


def test_an_exchange_takes_two_round_trips_and_the_time_of_its_bytes() -> None:
    """What is asked and answered by a new connection arrives whole, and not sooner than a real link would let it."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                assert connection.recv(100) == b"question"
                connection.sendall(bytes(10_000))

        thread = threading.Thread(target=answer)
        thread.start()
        with SlowLink(server.getsockname()[1], delay=0.01, rate=200_000.0) as link:
            begin = time.monotonic()
            with socket.create_connection(("127.0.0.1", link.port)) as client:
                client.sendall(b"question")
                received = 0
                while piece := client.recv(65536):
                    received += len(piece)
            took = time.monotonic() - begin
        thread.join()
    assert received == link.received == 10_000
    assert took >= 4 * 0.01 + 10_000 / 200_000
