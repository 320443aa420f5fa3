"""What pyarrow takes to read the rows of a Parquet file and to write them as another, with its defaults.

python pyarrow_copy.py FILE TARGET OUT.json
"""

import json
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq


def main() -> None:
    """Time one run."""
    file, target, out = (Path(argument) for argument in sys.argv[1:])
    begun = time.perf_counter()
    table = pq.read_table(file)
    pq.write_table(table, target)
    out.write_text(json.dumps({"seconds": time.perf_counter() - begun, "rows": table.num_rows}), encoding="utf-8")


if __name__ == "__main__":
    main()
