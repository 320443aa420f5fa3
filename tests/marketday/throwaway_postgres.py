"""A PostgreSQL server of the tests' own: a fresh cluster in a temporary folder, on loopback."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
"""Where Debian puts the server, which is not on PATH."""


@contextlib.contextmanager
def running() -> Iterator[str]:
    """Run a server until the block ends and give the URL of an empty database; skip the test where there is none."""
    tool = shutil.which("initdb", path=os.pathsep.join([os.environ["PATH"], *map(str, _BINARIES)]))
    if tool is None:
        pytest.skip("PostgreSQL's server is not installed (Debian: apt install postgresql)")
    # The server refuses to run as root; Debian's package comes with a user for it.
    user = "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="marketday-postgres-"))
    if user:
        shutil.chown(folder, user)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    data = str(folder / "data")
    options = f"-h 127.0.0.1 -p {port} -k {folder} -c fsync=off"
    try:
        for command in (
            [tool, "-D", data, "-U", "marketday", "-A", "trust", "-E", "UTF8", "--no-sync"],
            [str(Path(tool).with_name("pg_ctl")), "-D", data, "-w", "-o", options, "-l", str(folder / "log"), "start"],
        ):
            subprocess.run(command, check=True, user=user, cwd=folder, stdout=subprocess.DEVNULL)
        yield f"postgresql://marketday@127.0.0.1:{port}/postgres"
    finally:
        stop = [str(Path(tool).with_name("pg_ctl")), "-D", data, "-m", "immediate", "stop"]
        subprocess.run(stop, check=False, user=user, cwd=folder, stdout=subprocess.DEVNULL)
        shutil.rmtree(folder)
