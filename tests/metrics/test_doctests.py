"""The examples in the docstrings of the metrics run and give what they say."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil

import pytest

from transferscope import metrics

MODULES = {
    module.name.rpartition(".")[2]: module.name
    for module in pkgutil.walk_packages(metrics.__path__, f"{metrics.__name__}.")
    if not module.ispkg
}
PUBLIC = {
    "averaging": ["averaged_logits", "compared_with_mean", "ensemble_logits"],
    "basin": ["basin"],
    "cka": ["cka", "linear_cka"],
    "criticality": ["module_criticality"],
    "distance": ["l2_distance", "mean_distance", "update_cosine"],
    "error_consistency": ["error_consistency"],
    "freezing": ["freezable"],
    "interpolation": ["barrier", "barrier_interval", "barrier_intervals", "interpolate"],
    "intervals": ["bootstrap_interval", "t_interval"],
    "mistakes": ["mistakes"],
    "path": ["path_losses", "paths"],
    "plane": ["plane"],
    "resampled_auc": ["resampled_auc"],
    "rewinding": ["rewind"],
    "scores": ["auc_per_finding", "per_example_loss", "score"],
    "spectrum": ["conv_singular_values"],
}


class Finder(doctest.DocTestFinder):
    """Finds decorated functions too, which doctest takes for those of the decorator's module."""

    def _from_module(self, module, object):
        return super()._from_module(module, inspect.unwrap(object) if callable(object) else object)


@pytest.mark.parametrize("name", MODULES)
def test_doctests(name):
    module = importlib.import_module(MODULES[name])
    runner = doctest.DocTestRunner()
    for example in Finder().find(module, module.__name__):
        runner.run(example)
    results = runner.summarize(verbose=False)
    assert results.failed == 0
    assert results.attempted or name not in PUBLIC


@pytest.mark.parametrize(
    ("module", "function"), [(m, f) for m, functions in PUBLIC.items() for f in functions]
)
def test_every_public_function_has_an_example(module, function):
    docstring = getattr(importlib.import_module(MODULES[module]), function).__doc__
    assert ">>> " in docstring
