"""`python -m sandbox.providers --port N [--seed S] [--with-parent]`: serve until stopped; port 0 takes a free one."""

import argparse
import asyncio
import contextlib
import logging
import os
import socket
import sys

import uvicorn

from sandbox.providers.app import providers


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
        prog="sandbox.providers",
        description="Providers with a temper, on loopback only.",
    )
    parser.add_argument("--port", type=int, required=True, help="0 takes a free one")
    parser.add_argument("--seed", default="oxygen", help="the same seed gives the same answers")
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
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else an answer waits 40 ms for an acknowledgement
    print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
    config = uvicorn.Config(
        providers(options.seed),
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
    )
    # An answer that is lost on the way, as scripted, or cut off at the end is no error of the server's.
    usual = ("without completing", "graceful shutdown exceeded")
    logging.getLogger("uvicorn.error").addFilter(lambda record: not any(text in record.getMessage() for text in usual))
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(uvicorn.Server(config), listening, with_parent=options.with_parent))


if __name__ == "__main__":
    main()
