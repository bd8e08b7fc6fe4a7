"""Tables without a group of test images, against the analysis of the images that are left."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl
import pytest
import torch
from fake_subjects import FakeData, FakeSubject, findings_data, single_label

from transferscope.analyses.contract import IMAGES, analysis_module, analysis_names

N, CLUSTERS = 70, 45
ROLES = {
    "feature_reuse": ("p_t", "ri_t", "p_t_unshuffled", "ri_t_unshuffled"),
    "mistakes": ("P-T 0", "P-T 1", "RI-T 0", "RI-T 1", "RI-T 2"),
    "checkpoints": ("p_t", "init", "source"),
    "low_level_statistics": (
        *("p_t", "ri_t", "layer_statistics", "permuted_weights"),
        *("p_t_shuffled", "ri_t_shuffled", "layer_statistics_shuffled"),
    ),
}
"""The analyses that read logits, with the roles of a cell; those that evaluate networks have tests of their own."""


def made_up(data: FakeData, roles: tuple[str, ...]) -> dict[str, FakeSubject]:
    generator = torch.Generator().manual_seed(0)
    labels = data.test.labels
    truth = (
        labels if labels.ndim == 2 else torch.nn.functional.one_hot(labels, len(data.description.class_names))
    )
    return {
        role: FakeSubject(
            test_logits=0.5 * (place + 1) * (2 * truth - 1)
            + 2 * torch.randn(truth.shape, generator=generator),
            train_metrics=[0.2, 0.5],
            epoch=2,
            state={"stem.w": torch.ones(3), "head.w": torch.ones(2)},
            test_metrics=[0.1, 0.3, 0.45],
        )
        for place, role in enumerate(roles)
    }


def measured(name: str, subjects: dict[str, FakeSubject], data: FakeData) -> dict[str, list[dict[str, Any]]]:
    module = analysis_module(name)
    return module.measure(subjects, data, module.Settings(bootstrap_draws=100), torch.Generator())


@pytest.mark.parametrize("data", [single_label(N, 3, 0), findings_data(N, 2, 0)], ids=["single", "multi"])
@pytest.mark.parametrize("name", ROLES)
def test_the_numbers_without_a_group_are_those_of_the_other_images(name: str, data: FakeData) -> None:
    clusters = tuple(f"patient {i % CLUSTERS}" for i in range(N))
    data = replace(data, test=replace(data.test, clusters=clusters), test_images_uint8=None)
    subjects = made_up(data, ROLES[name])
    tables = measured(name, subjects, data)
    for group in (0, 7, 19):
        kept = torch.tensor([i % CLUSTERS % 20 != group for i in range(N)])
        fewer = replace(
            data.test,
            inputs=data.test.inputs[kept],
            labels=data.test.labels[kept],
            ids=tuple(id_ for id_, is_kept in zip(data.test.ids, kept, strict=True) if is_kept),
            clusters=None,
        )
        left = {role: replace(own, test_logits=own.test_logits[kept]) for role, own in subjects.items()}
        expected = measured(name, left, replace(data, test=fewer))
        for table in [table for table in tables if table.endswith(IMAGES)]:
            found = frame(tables[table]).filter(without_group=group).drop("without_group")
            whole = frame(expected[table.removesuffix(IMAGES)])
            keys = [
                name for name in found.columns if found[name].dtype in (pl.String, pl.Int64) and name != "n"
            ]
            both = found.join(whole, on=keys, suffix="_expected", nulls_equal=True) if keys else found
            if not keys:
                both = found.join(whole, how="cross", suffix="_expected")
            assert 0 < len(both) == len(found), table
            for column in set(found.columns) - set(keys):
                assert both[column].to_list() == pytest.approx(
                    both[f"{column}_expected"].to_list(), abs=1e-12, nan_ok=True
                ), (table, column)


def frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, infer_schema_length=None)


def test_each_such_table_has_the_columns_of_another() -> None:
    names = [
        table for name in analysis_names() for table in analysis_module(name).TABLES if table.endswith(IMAGES)
    ]
    assert len(names) >= 7
    for name in analysis_names():
        tables = analysis_module(name).TABLES
        for table in (table for table in tables if table.endswith(IMAGES)):
            columns = {column.name for column in tables[table]} - {"without_group"}
            assert columns <= {column.name for column in tables[table.removesuffix(IMAGES)]}, table
