"""One expectation on a table of aggregates, checked by Great Expectations, with its Data Docs.

Great Expectations takes seconds to import, so that happens inside the one function that uses it.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]
NAME = "modality"  # the column that tells rows apart


def failing_rows(rows: Sequence[Row], larger: str, smaller: str, docs: Path) -> list[Row]:
    """Rows in which ``larger`` is below ``smaller``.

    Args:
        rows: the aggregates, at least one, each of another ``modality``.
        larger: the column that must not be below the other.
        smaller: the other column.
        docs: a folder for the Data Docs of this validation.
    """
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx
    import great_expectations.expectations as gxe
    import pandas as pd
    from great_expectations.checkpoint.actions import UpdateDataDocsAction
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    _use_docs(context, docs)
    asset = context.data_sources.add_pandas("report").add_dataframe_asset("coverage")
    suite = context.suites.add(gx.ExpectationSuite(name=f"{larger} at least {smaller}"))
    at_least = gxe.ExpectColumnPairValuesAToBeGreaterThanB  # pyright: ignore[reportPrivateImportUsage]
    suite.add_expectation(at_least(column_A=larger, column_B=smaller, or_equal=True))
    batch = asset.add_batch_definition_whole_dataframe("modalities")
    name = f"{larger}_{smaller}"
    validation = context.validation_definitions.add(
        gx.ValidationDefinition(name=name, data=batch, suite=suite)
    )
    checkpoint = context.checkpoints.add(
        gx.Checkpoint(
            name=name,
            validation_definitions=[validation],
            actions=[UpdateDataDocsAction(name="docs")],
            result_format={
                "result_format": "COMPLETE",
                "unexpected_index_column_names": [NAME],  # so that the page names the rows
            },
        )
    )
    outcome = checkpoint.run(batch_parameters={"dataframe": pd.DataFrame(list(rows))})
    (result,) = outcome.run_results.values()
    failing = result.results[0].result.get("unexpected_index_list") or []
    if bool(failing) == outcome.success:
        raise RuntimeError(f"Great Expectations could not judge {larger}: {result.results[0]}")
    names = {row[NAME] for row in failing}
    return [row for row in rows if row[NAME] in names]


def _use_docs(context: Any, docs: Path) -> None:
    """Build the pages in ``docs`` and nowhere else."""
    docs.mkdir(parents=True, exist_ok=True)
    for site in list(context.get_site_names() or []):
        context.delete_data_docs_site(site)
    context.add_data_docs_site(
        site_name="local",
        site_config={
            "class_name": "SiteBuilder",
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
            "store_backend": {
                "class_name": "TupleFilesystemStoreBackend",
                "base_directory": str(docs.absolute()),
            },
        },
    )
