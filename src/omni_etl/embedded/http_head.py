"""HTTP heads within a limit: uvicorn's fast parser keeps a request line and headers of any length in memory, before any key is asked for."""

from __future__ import annotations

from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES_MAX: Final = 128 * 1024  # ClickHouse's parameters in a URL are the longest of ours
_REFUSAL: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class BoundedHead(HttpToolsProtocol):
    """For `uvicorn.Config(http=…)`: 431 to a head that does not end, and the connection is closed.

    What came together with a head's beginning does not count, so it may be longer by one read of the socket.
    """

    _is_in_head = False
    _head_bytes = 0

    def data_received(self, data: bytes) -> None:
        """Of one connection."""
        if self._is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self.transport.write(_REFUSAL)
                self.transport.close()
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        """The parser met a first byte."""
        self._is_in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """What follows is the body, and the application's to bound."""
        self._is_in_head = False
        super().on_headers_complete()
