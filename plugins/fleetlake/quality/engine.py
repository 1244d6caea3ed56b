"""Great Expectations, loaded once per process, offline, quiet and without a project folder."""

from __future__ import annotations

import gc
import importlib.util
import logging
import os
import sys
import threading
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations.core import ExpectationValidationResult
    from great_expectations.core.batch_definition import BatchDefinition
    from great_expectations.datasource.fluent.interfaces import Batch
    from great_expectations.expectations.expectation import Expectation


_ONE_AT_A_TIME = threading.Lock()
"""Great Expectations keeps context, batch and suite in one place per process: two threads would judge each other's rows."""


@cache
def load() -> BatchDefinition[Any]:
    """Import Great Expectations and set up a context in memory.

    The import costs seconds of CPU in every task process. A third of it goes to ``scipy.stats``, which only
    statistical expectations need, and to the garbage collector walking half-built class trees; both are spared.

    Returns:
        The definition of a batch that is one whole pandas DataFrame.
    """
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    collecting = gc.isenabled()
    gc.disable()
    try:
        _defer("scipy.stats")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import great_expectations as gx
    finally:
        if collecting:
            gc.enable()
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}  # type: ignore[assignment]
    asset = context.data_sources.add_pandas("fleetlake").add_dataframe_asset("batch")
    return asset.add_batch_definition_whole_dataframe("whole")


def validate(
    name: str, expectations: Sequence[Expectation], frame: pd.DataFrame, parameters: Mapping[str, Any]
) -> list[tuple[Expectation, ExpectationValidationResult]]:
    """Let Great Expectations judge a frame.

    Args:
        name: name of the suite.
        expectations: what is expected; each with its own ``meta``, which tells results apart.
        frame: the rows; its index values name failing rows in the result.
        parameters: values of the suite's parameters.

    Returns:
        Each expectation with its result, in any order; the result of one that fails has all failing rows. A check that
        raises has a failed result with ``exception_info`` and nothing else.
    """
    with _ONE_AT_A_TIME:
        batch = load().get_batch({"dataframe": frame})
        results = _run(batch, name, expectations, parameters, {"result_format": "BASIC"})
        failed = {id(item) for item, result in results if not result.success and result.result}
        if failed:
            # Asking for all failing rows doubles the time of a check, so only those that fail are asked.
            again = [item for item, _ in results if id(item) in failed]
            complete = {"result_format": "COMPLETE", "return_unexpected_index_query": False}
            results = [pair for pair in results if id(pair[0]) not in failed]
            results += _run(batch, name, again, parameters, complete)
        return results


def _run(
    batch: Batch, name: str, expectations: Sequence[Expectation], parameters: Mapping[str, Any], form: dict[str, Any]
) -> list[tuple[Expectation, ExpectationValidationResult]]:
    from great_expectations.core import ExpectationSuite

    by_meta = {str(item.meta): item for item in expectations}
    suite = ExpectationSuite(name, expectations=list(expectations))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas dislikes groups in patterns
        result = batch.validate(suite, result_format=form, expectation_parameters=dict(parameters))
    return [(by_meta[str(item.expectation_config.meta)], item) for item in result.results if item.expectation_config]


def _defer(name: str) -> None:
    """Put off the import of a module until something in it is used."""
    if name in sys.modules:
        return
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        return
    loader = importlib.util.LazyLoader(spec.loader)
    spec.loader = loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    loader.exec_module(module)
    parent, _, child = name.rpartition(".")
    setattr(sys.modules[parent], child, module)
