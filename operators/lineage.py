"""What OpenLineage is told about a step: the table versions that it read and wrote.

A data set's namespace is the warehouse's URL, its name ``retailer/table``, its version the table's. The OpenLineage
provider calls these methods where it is configured; what goes wrong in them it logs, and the task goes on.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marketday import settings
from marketday.calls import Result

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from openlineage.client.event_v2 import InputDataset, OutputDataset


class Lineage:
    """An operator's lineage: what its step declares to read, and once it has ended, what it read and wrote."""

    step: str
    retailer: str
    result: Result | None = None

    def reads(self) -> list[str]:
        """Return the names of the tables that the step declares to read."""
        from marketday import steps  # noqa: PLC0415  heavy, and only needed where lineage is configured

        return [table.name for table in steps.get(self.step).reads]

    def get_openlineage_facets_on_start(self) -> "OperatorLineage":
        """Return the tables that the step will read; their versions are known once it has ended."""
        from airflow.providers.openlineage.extractors import OperatorLineage  # noqa: PLC0415

        return OperatorLineage(inputs=_inputs(self.retailer, dict.fromkeys(self.reads())))

    def get_openlineage_facets_on_complete(self, task_instance: object) -> "OperatorLineage":  # noqa: ARG002  Airflow's
        """Return the table versions that the step has read and written; a failed step has written none.

        Of a table that it has both read and written, the version that it read is not told.
        """
        if self.result is None:
            return self.get_openlineage_facets_on_start()
        from airflow.providers.openlineage.extractors import OperatorLineage  # noqa: PLC0415

        done = self.result
        read = {table: None if table in done.rows else done.snapshots.get(table) for table in self.reads()}
        return OperatorLineage(inputs=_inputs(self.retailer, read), outputs=_outputs(self.retailer, done))


def _inputs(retailer: str, versions: Mapping[str, int | None]) -> "list[InputDataset]":
    from openlineage.client.event_v2 import InputDataset  # noqa: PLC0415

    return [InputDataset(**_named(retailer, table, version)) for table, version in sorted(versions.items())]


def _outputs(retailer: str, result: Result) -> "list[OutputDataset]":
    from openlineage.client.event_v2 import OutputDataset  # noqa: PLC0415
    from openlineage.client.facet_v2 import output_statistics_output_dataset as statistics  # noqa: PLC0415

    return [
        OutputDataset(
            **_named(retailer, table, result.snapshots[table]),
            outputFacets={"outputStatistics": statistics.OutputStatisticsOutputDatasetFacet(rowCount=rows)},
        )
        for table, rows in sorted(result.rows.items())
    ]


def _named(retailer: str, table: str, version: int | None) -> dict[str, Any]:
    from openlineage.client.facet_v2 import dataset_version_dataset as versions  # noqa: PLC0415

    url = settings.load().warehouse_url
    return {
        "namespace": url if "://" in url else Path(url).absolute().as_uri(),
        "name": f"{retailer}/{table}",
        "facets": {} if version is None else {"version": versions.DatasetVersionDatasetFacet(str(version))},
    }
