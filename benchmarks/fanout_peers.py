"""python-socketio as it comes: a room an instrument, an emit a tick, on uvicorn with its own defaults.

Run as `python -m benchmarks.fanout_peers PORT BEATS_A_SECOND INSTRUMENT...`.
"""

import asyncio
import sys
import time
from typing import Any

import socketio
import uvicorn

from domain.time import rfc3339


async def main(port: int, beats_a_second: float, instruments: list[str]) -> None:
    """Serve until killed; every instrument ticks `beats_a_second`."""
    server = socketio.AsyncServer(async_mode="asgi")

    @server.on("subscribe")
    async def subscribe(sid: str, message: dict[str, Any]) -> None:
        for instrument in message["instruments"]:
            await server.enter_room(sid, instrument)

    app = socketio.ASGIApp(server)
    config = uvicorn.Config(app, port=port, log_level="warning", access_log=False)
    serving = asyncio.create_task(uvicorn.Server(config).serve())
    beat = 0
    while not serving.done():
        began = time.monotonic()
        beat += 1
        for number, instrument in enumerate(instruments):
            tick = {
                "instrument": instrument,
                "ltp": 100.05 + beat + number,
                "volume": beat,
                "timestamp": rfc3339(time.time_ns()),
            }
            await server.emit("tick", tick, room=instrument)
        await asyncio.sleep(max(0.0, 1 / beats_a_second - (time.monotonic() - began)))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]))
