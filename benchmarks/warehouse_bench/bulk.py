"""A history through the delivery API into the warehouse.

    python bulk.py HOME FOLDER OUT.json

The service's start is not counted.
"""

import json
import sys
import time
from pathlib import Path

from names import DAY
from service import delivered, loaded, running


def main() -> None:
    """Time one run: receive and check the delivery, then ingest, clean and load it."""
    home, folder, out = (Path(argument) for argument in sys.argv[1:])
    with running(home) as client:
        begun = time.perf_counter()
        delivered(client, DAY, folder, "history")
        received = time.perf_counter()
        rows = loaded(client, DAY)
        ended = time.perf_counter()
    took = {"seconds": ended - begun, "receive": received - begun, "rows": rows["sales"]}
    out.write_text(json.dumps(took), encoding="utf-8")


if __name__ == "__main__":
    main()
