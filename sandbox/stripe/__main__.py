"""`python -m sandbox.stripe --port N [--keep FILE] [--with-parent]`: serve until stopped; port 0 takes a free one."""

import argparse
import asyncio
import contextlib
import logging
import os
import socket
import sys
from pathlib import Path

import uvicorn

from sandbox.stripe.app import stripe
from sandbox.stripe.keeping import Unreadable


async def _stop_with_parent(server: uvicorn.Server) -> None:
    parent = os.getppid()
    while os.getppid() == parent:
        await asyncio.sleep(1)
    server.should_exit = True


async def _serve(server: uvicorn.Server, listening: socket.socket, *, with_parent: bool) -> None:
    watch = asyncio.create_task(_stop_with_parent(server)) if with_parent else None
    await server.serve(sockets=[listening])
    if watch:
        watch.cancel()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="sandbox.stripe",
        description="A local Stripe, on loopback only. No real money.",
    )
    parser.add_argument("--port", type=int, required=True, help="0 takes a free one")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="read all that is known from FILE, and keep it there")
    parser.add_argument(
        "--with-parent",
        action="store_true",
        help="stop when the parent process is gone",
    )
    options = parser.parse_args()
    try:
        listening = socket.create_server(("127.0.0.1", options.port), backlog=512)
    except OSError as error:
        sys.exit(f"Port {options.port} cannot be used: {os.strerror(error.errno or 0)}. Choose another with --port.")
    # asyncio sees to this only where the protocol is named; without it each answer waits 40 ms for an acknowledgement.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    base = f"http://127.0.0.1:{listening.getsockname()[1]}"
    try:
        app = stripe(base, options.keep)
    except (OSError, Unreadable) as reason:
        sys.exit(str(reason))
    print(base, flush=True)
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        lifespan="on",
        timeout_graceful_shutdown=1,
    )
    # An answer that is lost on the way, as ordered, is no error of the server's.
    logging.getLogger("uvicorn.error").addFilter(lambda record: "without completing" not in record.getMessage())
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(uvicorn.Server(config), listening, with_parent=options.with_parent))


if __name__ == "__main__":
    main()
