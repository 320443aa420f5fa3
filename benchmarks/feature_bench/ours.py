"""This project: blocks of one store each through Dask, two workers in this process.

    python ours.py DATA views|copies|files FOLDER OUT.json

Pass one reads a store and adds its items up; the items' totals are added up over all stores; pass two computes the 33
columns of the store and keeps them in its worker's memory: as `dense` returns them, the lags of the same values being
views of one array; or each column as an array of its own; or as Parquet files, and nothing in memory.
"""

import sys
from pathlib import Path

import dask
import stores
from columns import ALL, Clock, report
from distributed import Client, LocalCluster, wait


def main() -> None:
    """Time one run from the files to the matrix, and put the checked series aside afterwards."""
    data, mode, folder, out = Path(sys.argv[1]) / "m5", sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4])
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None)
    client = Client(cluster)
    clock = Clock()
    shared = dask.delayed(stores.names)(data)
    read = [dask.delayed(stores.read)(file, shared) for file in sorted(data.glob("sales_*.parquet"))]
    products = dask.delayed(stores.added)(read)
    made = [dask.delayed(stores.matrix)(store, products, shared) for store in read]
    if mode == "copies":
        made = [dask.delayed(stores.copied)(m) for m in made]
    if mode == "files":
        made = [dask.delayed(stores.write)(m, s, folder) for m, s in zip(made, read, strict=True)]
    futures = client.compute(made)
    wait(futures)
    took = clock.stop()
    if mode == "files":
        report(out, took, {}, columns=len(ALL), bytes=sum(client.gather(futures)))
    else:
        again = [dask.delayed(stores.checked)(m, s, shared) for m, s in zip(futures, read, strict=True)]
        samples = client.gather(client.compute(again))
        found = {series: values for sample in samples for series, values in sample.items()}
        report(out, took, found, columns=len(ALL))
    client.close()
    cluster.close()


if __name__ == "__main__":
    main()
