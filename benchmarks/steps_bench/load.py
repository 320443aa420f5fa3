"""A load generator: the same request again and again over some connections, as fast as it is answered.

    python load.py URL BODY.json CONNECTIONS SECONDS

Prints ``{"rate": requests per second, "p50": seconds, "p99": seconds, "status": of the answers}``. It speaks just
enough of HTTP/1.1 to cost a fraction of what any server does, so that it is the server that is measured.
"""

import asyncio
import json
import sys
import time
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import uvloop


async def ask(address: SplitResult, request: bytes, until: float, took: list[float], seen: set[int]) -> None:
    """Send the request over one connection until the time is over; ``took`` gets the seconds of each."""
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    while (sent := time.perf_counter()) < until:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        fields = head.lower().split(b"\r\n")
        length = next(int(field[15:]) for field in fields if field.startswith(b"content-length:"))
        await reader.readexactly(length)
        took.append(time.perf_counter() - sent)
        seen.add(int(head.split(b" ", 2)[1]))
    writer.close()


async def measure(url: str, body: bytes, connections: int, seconds: float) -> dict[str, object]:
    """Ask over all connections at once and return what came of it."""
    address = urlsplit(url)
    request = (
        f"POST {address.path} HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    took: list[float] = []
    seen: set[int] = set()
    began = time.perf_counter()
    await asyncio.gather(*(ask(address, request, began + seconds, took, seen) for _ in range(connections)))
    lasted = time.perf_counter() - began
    took.sort()
    p50, p99 = (took[int(len(took) * share)] for share in (0.5, 0.99))
    return {"rate": len(took) / lasted, "p50": p50, "p99": p99, "status": sorted(seen)}


if __name__ == "__main__":
    target, content, streams, duration = sys.argv[1:]
    said = uvloop.run(measure(target, Path(content).read_bytes(), int(streams), float(duration)))
    print(json.dumps(said))
