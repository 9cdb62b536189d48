"""A provider that costs next to nothing: any POST is answered after a fixed time, always with the same.

For `engine.py`, in a process of its own. It reads no more of a call than where it ends, so that what is measured is the
worker. Loopback only; ends with its parent.
"""

import asyncio
import json
from multiprocessing.connection import Connection

FOUND = {"email": "ada.lovelace@example.com", "confidence": 97, "sources": ["https://example.com/team"]}
BODY = json.dumps({"id": "req_7f3c2a90b1", "result": FOUND, "cost": "1.0000"}).encode()
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(BODY), BODY)
END_OF_HEAD, LENGTH = b"\r\n\r\n", b"content-length:"


class _Answering(asyncio.Protocol):
    def __init__(self, latency: float) -> None:
        self.latency, self.heard = latency, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.heard += data
        while (end := self.heard.find(END_OF_HEAD)) >= 0:
            head = self.heard[:end].lower()
            length = int(head[head.index(LENGTH) + len(LENGTH) :].split(b"\r\n", 1)[0])
            if len(self.heard) < (whole := end + len(END_OF_HEAD) + length):
                return
            self.heard = self.heard[whole:]
            asyncio.get_running_loop().call_later(self.latency, self.transport.write, ANSWER)


def provider(pipe: Connection, latency: float) -> None:
    """Say through the pipe where it listens, then answer every call after `latency` seconds, until the pipe closes."""

    async def serve() -> None:
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        server = await loop.create_server(lambda: _Answering(latency), "127.0.0.1", 0)
        pipe.send(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        loop.add_reader(pipe.fileno(), over.set)
        await over.wait()

    asyncio.run(serve())
