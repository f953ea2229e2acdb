"""The benchmark's customer, whose count is half of what a run is checked by."""

import asyncio
import json

from bench.receiver import Connection, Receipts

from omni_etl.demo.life import events


class Written(asyncio.WriteTransport):
    """Remembers what was answered."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """One answer."""
        self.answers.append(bytes(data))


def test_events_count_once_whatever_is_repeated() -> None:
    """A batch that comes again with its id adds nothing but a repetition."""
    receipts, connection, _ = _connected()
    connection.data_received(_post(b"one", 30))
    connection.data_received(_post(b"two", 20))
    connection.data_received(_post(b"one", 30))
    assert (receipts.events, len(receipts.batches), receipts.repeats) == (50, 2, 1)


def test_a_request_may_come_in_pieces() -> None:
    """It is answered when it is whole, and not before."""
    receipts, connection, written = _connected()
    request = _post(b"one", 100)
    for start in range(0, len(request), 10_000):
        assert written.answers == []
        connection.data_received(request[start : start + 10_000])
    assert receipts.events == 100
    assert len(written.answers) == 1


def test_the_probe_of_a_new_webhook_is_no_event() -> None:
    """SparkPost's, which the API sends before it takes a target."""
    receipts, connection, written = _connected()
    probe = b'[{"msys":{}}]'
    connection.data_received(b"POST /hook HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(probe), probe))
    assert receipts.events == 0
    assert len(written.answers) == 1


def test_it_says_what_came() -> None:
    """A plain GET is answered with the counts."""
    _, connection, written = _connected()
    connection.data_received(_post(b"one", 7))
    connection.data_received(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
    assert json.loads(written.answers[-1].partition(b"\r\n\r\n")[2]) == {"batches": 1, "events": 7, "repeats": 0}


def _connected() -> tuple[Receipts, Connection, Written]:
    receipts, written = Receipts(), Written()
    connection = Connection(receipts)
    connection.connection_made(written)
    return receipts, connection, written


def _post(batch_id: bytes, count: int) -> bytes:
    body = b"[%b]" % b",".join(b'{"msys":{"message_event":%b}}' % line for line in events(count, seed=1, now=1.7e9))
    head = b"POST /hook HTTP/1.1\r\nContent-Length: %d\r\nX-MessageSystems-Batch-ID: %b\r\n\r\n"
    return head % (len(body), batch_id) + body
