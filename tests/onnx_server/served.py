"""A model server as a process of its own, on a socket it inherits: `python -m tests.onnx_server.served FD MODEL`.

What `gateway.runtime` does for a model process, without a supervisor. SIGTERM drains.
"""

import asyncio
import signal
import socket
import sys
from pathlib import Path

import uvloop

from gateway.onnx_server.http import start_model
from tests.onnx_server.graphs import server_of


async def serve(descriptor: int, path: Path) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    application = await start_model(server_of(path), socket.socket(fileno=descriptor))
    await stop.wait()
    await application.drain()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), Path(sys.argv[2])))
