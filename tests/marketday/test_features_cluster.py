"""The same rows, to the last bit, from threads, processes, any number of workers, and after one was killed."""

import datetime as dt
import hashlib
import os
import signal
import threading
import time

import numpy as np
import polars as pl
import pytest
from distributed import LocalCluster
from small_shop import DAY, ORIGIN, facts

from marketday.features.build import features_table, training_matrices
from marketday.features.declare import get
from marketday.features.panel import Facts
from marketday.retailers import Retailer
from marketday.steps.features import READS
from marketday.tables import FEATURES
from marketday.warehouse import conform, content_hash

NAMES = ("lag_1", "mean_28_back_0", "std_7_back_0", "weekday", "event", "product_level_28", "category_total_mean_28")


@pytest.fixture
def shop(simulated: Retailer) -> Retailer:
    """The simulated retailer, a block per location."""
    return simulated.model_copy(update={"block_size": 1})


def lazy(given: dict[str, pl.DataFrame]) -> Facts:
    # Weights, whose sums depend on the order of adding.
    weights = given["sales"].with_columns(pl.col("units") * 0.123)
    return Facts(*({**given, "sales": weights}[table.name].lazy() for table in READS))


def hashes(given: Facts, retailer: Retailer, scheduler: str) -> tuple[str, str]:
    """Return the content hash of the table and one of the training matrices."""
    table = features_table(given, retailer, DAY, ORIGIN, scheduler)
    made = training_matrices(given, retailer, ORIGIN, scheduler, [get(name) for name in NAMES])
    digest = hashlib.sha256()
    for block in (*made.near, *made.far):
        for array in (block.values, block.demand, block.exposure, block.series, block.day, block.ahead, block.recent):
            digest.update(np.ascontiguousarray(array).tobytes())
    for rows in (made.held_out.drop("recent"), made.truth):
        digest.update(rows.write_csv().encode())
    return content_hash(conform(table, FEATURES, DAY), FEATURES), digest.hexdigest()


@pytest.fixture
def expected(shop: Retailer) -> tuple[str, str]:
    return hashes(lazy(facts()), shop, "synchronous")


def test_threads_give_the_same_bits(shop, expected):
    assert hashes(lazy(facts()), shop, "threads") == expected


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_a_cluster_of_any_size_gives_the_same_bits(shop, expected, workers):
    with LocalCluster(n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        assert hashes(lazy(facts()), shop, cluster.scheduler_address) == expected


def test_a_worker_killed_in_mid_run_costs_time_and_nothing_else(shop, expected, tmp_path):
    folder = str(tmp_path)

    def slow(rows: pl.DataFrame) -> pl.DataFrame:
        open(os.path.join(folder, str(os.getpid())), "w").close()  # noqa: PTH118, PTH123  runs in a worker
        time.sleep(0.5)
        return rows

    given = lazy(facts())
    slowed = given._replace(sales=given.sales.map_batches(slow))
    found = []
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        run = threading.Thread(target=lambda: found.append(hashes(slowed, shop, cluster.scheduler_address)))
        run.start()
        while len(busy := list(tmp_path.iterdir())) < 2:
            assert run.is_alive()
            time.sleep(0.01)
        os.kill(int(busy[0].name), signal.SIGKILL)
        run.join(timeout=120)
    assert found == [expected]


def test_every_row_of_the_matrices_is_a_known_day_with_its_demand(shop):
    made = training_matrices(lazy(facts()), shop, ORIGIN, "threads", [get(name) for name in NAMES])
    sold = facts()["sales"].with_columns(demand=(pl.col("units") * 0.123).cast(pl.Float32))
    for block in made.near:
        keys = block.pairs.select("location_id", "product_id")[block.series].with_columns(block.dates())
        rows = keys.with_columns(found=pl.Series(block.demand)).join(sold, on=["location_id", "product_id", "day"])
        assert rows.height == len(block) > 0
        assert rows["found"].equals(rows["demand"], check_names=False)
        assert block.values.flags.f_contiguous
        some = block.where(block.ahead == 1)
        np.testing.assert_array_equal(some.values, block.values)
        assert set(block.ahead) == {1}
    assert made.names["event"] == ["Spring day"]
    for near, far in zip(made.near, made.far, strict=True):
        np.testing.assert_array_equal(near.day, far.day)
        assert far.ahead.min() == 1
        assert far.ahead.max() == shop.horizon
    assert made.held_out["day"].min() == made.held_out_origin + dt.timedelta(days=1)
