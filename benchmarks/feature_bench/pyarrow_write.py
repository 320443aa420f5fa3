"""What pyarrow takes to write a matrix of 33 columns and 6.06 million rows as one file from one process.

    python pyarrow_write.py MATRIX_FOLDER FOLDER OUT.json

The matrix is read back from what the project's workers wrote; only the writing is timed.
"""

import sys
from pathlib import Path

import pyarrow.parquet as pq
from columns import Clock, report


def main() -> None:
    """Time one run with pyarrow's defaults."""
    matrix, folder, out = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
    table = pq.read_table(matrix)
    file = folder / "matrix.parquet"
    clock = Clock()
    pq.write_table(table, file)
    report(out, clock.stop(), {}, columns=table.num_columns, bytes=file.stat().st_size)


if __name__ == "__main__":
    main()
