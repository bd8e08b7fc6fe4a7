"""What is measured on one instance, as the rows of the tables of module criticality."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from transferscope.analyses.contract import CellData, Row, Split, Subject
from transferscope.analyses.shared.image_groups import groups_of

if TYPE_CHECKING:
    import polars as pl
    import torch
    from torch import Tensor, nn

    from transferscope.analyses.criticality.analysis import Settings
    from transferscope.metrics.criticality.criticality import Criticality
    from transferscope.metrics.evaluation.evaluate import Data
    from transferscope.metrics.evaluation.repeated_passes import RepeatedPasses

INIT, FRESH = "init", "fresh draw"
"""What modules are put back to; the second is also the role of the random initialization of another seed."""
SUMMARY = ("train_rise_loss", "train_drop", "test_drop", "test_drop_low", "test_drop_high", "n_test")
"""Columns of rewinding that the first table repeats."""


@dataclass(frozen=True, kw_only=True)
class Instance:
    """One trained network with the kept epochs of its training."""

    by_epoch: Mapping[int, Subject]
    """The init at 0, the final network last."""
    fresh: Subject | None
    """A random initialization of another seed."""
    data: CellData
    settings: Settings
    generator: torch.Generator

    @property
    def last(self) -> int:
        """The epoch of the final network."""
        return max(self.by_epoch)

    @cached_property
    def model(self) -> nn.Module:
        return self.by_epoch[self.last].model()

    @cached_property
    def module_columns(self) -> dict[str, Row]:
        """The columns that name a module, by its name, from the bottom up."""
        from transferscope.models.modules.find import HEAD

        return {
            name: {"module": name, "depth": depth, "is_head": name == HEAD}
            for depth, name in enumerate(self.prefixes)
        }

    @cached_property
    def prefixes(self) -> dict[str, tuple[str, ...]]:
        """Prefixes of the tensors of each module, from the bottom up."""
        from transferscope.models.modules.find import prefixes_of

        return prefixes_of(self.by_epoch[self.last].modules)

    @cached_property
    def train(self) -> RepeatedPasses:
        return self._passes(self.data.train)

    @cached_property
    def test(self) -> RepeatedPasses:
        return self._passes(self.data.test)

    @cached_property
    def over_epochs(self) -> RepeatedPasses:
        """The test images that epochs are compared on."""
        count = self.settings.num_images_over_epochs
        return self.test if count is None else self._passes(self.data.test.first(count))

    def maps(self) -> Criticality:
        """The maps of all modules and their mu."""
        from transferscope.metrics.criticality.criticality import module_criticality

        settings = self.settings
        few = [_examples(split.first(settings.num_images)) for split in (self.data.train, self.data.test)]
        return module_criticality(
            self.model,
            self.by_epoch[0].state,
            self.by_epoch[self.last].state,
            few[0],
            test=few[1],
            alphas=settings.alphas,
            sigmas=settings.sigmas,
            relative_sigmas=settings.relative_sigmas,
            draws=settings.draws,
            relative_tolerance=settings.relative_tolerance,
            modules=self.prefixes,
            generator=self.generator,
        )

    def cells(self, maps: Criticality) -> Iterator[Row]:
        """The rows of the maps."""
        for row in _rows(maps.cells):
            yield {
                **self.module_columns[row["module"]],
                **row,
                "n": len(maps.final[row["split"]].losses),
            }

    def network(self, maps: Criticality) -> Row:
        """The row of the network as a whole."""
        train, test = maps.final["train"], maps.final["test"]
        return {
            "mu": maps.network,
            "status": maps.status,
            "epsilon": maps.epsilon,
            "train_loss": train.loss,
            "train_metric": train.metric,
            "test_metric": test.metric,
            "n_train": len(train.losses),
            "n_test": len(test.losses),
        }

    def modules(self, maps: Criticality, rewinding: Iterable[Row]) -> Iterator[Row]:
        """The row of each module: mu, and what putting it back to the init costs."""
        to_init = {(row["module"], row["together"]): row for row in rewinding if row["to"] == INIT}
        for row in _rows(maps.modules):
            name = row["module"]
            alone = to_init[name, False]
            yield {
                **self.module_columns[name],
                **{key: row[key] for key in ("mu", "mu_at_final", "status", "distance", "num_parameters")},
                "epsilon": maps.epsilon,
                **{key: alone[key] for key in SUMMARY},
                "test_drop_cumulative": to_init[name, True]["test_drop"],
                "test_metric": alone["final_test_metric"],
            }

    def rewinding(self) -> Iterator[Row]:
        """One module, and all up to it, put back to the init and to a fresh draw."""
        for together, (on_train, on_test) in self.rewound.items():
            for train, test in zip(_rows(on_train), _rows(on_test), strict=True):
                yield {
                    **self.module_columns[test["module"]],
                    "to": test["to"],
                    "together": together,
                    "train_metric": train["metric"],
                    "train_drop": train["drop_metric"],
                    "train_rise_loss": train["rise_loss"],
                    "n_train": train["n"],
                    **_test_drop(test),
                    "final_test_metric": test["final_metric"],
                }

    @cached_property
    def rewound(self) -> dict[bool, tuple[pl.DataFrame, pl.DataFrame]]:
        """What rewinding costs on training and on test images: one module alone, and all up to it together."""
        states = {INIT: self.by_epoch[0].state}
        if self.fresh is not None:
            states[FRESH] = self.fresh.state
        return {
            together: (
                self._rewound(self.train, states, cumulative=together, draws=0),
                self._rewound(self.test, states, cumulative=together, groups=groups_of(self.data.test)),
            )
            for together in (False, True)
        }

    def images(self) -> Iterator[Row]:
        """The drop of each module that alone is put back to the init, without each group of test images."""
        for row in _rows(self.rewound[False][1].filter(to=INIT)):
            for group, drop in enumerate(row["drop_without"]):
                yield {**self.module_columns[row["module"]], "without_group": group, "test_drop": drop}

    def sets(self) -> Iterator[Row]:
        """Which modules below the head can be left at their initial values together."""
        from transferscope.metrics.criticality.freezing import freezable

        found = freezable(
            self.train,
            self.test,
            self.by_epoch[0].state,
            self.by_epoch[self.last].state,
            candidates=[name for name, columns in self.module_columns.items() if not columns["is_head"]],
            acceptable_drop=self.settings.acceptable_drop,
            modules=self.prefixes,
            draws=self.settings.bootstrap_draws,
            generator=self.generator,
        )
        for row in _rows(found):
            yield {
                **row,
                "acceptable_drop": self.settings.acceptable_drop,
                "n_train": len(self.data.train.labels),
                "n_test": len(self.data.test.labels),
            }

    def path(self) -> Iterator[Row]:
        """One module of the final network put back to an earlier epoch."""
        earlier = {str(epoch): subject.state for epoch, subject in self.by_epoch.items() if epoch < self.last}
        for row in _rows(self._rewound(self.over_epochs, earlier)):
            yield {**self.module_columns[row["module"]], "epoch": int(row["to"]), **_test_drop(row)}

    @cached_property
    def course(self) -> dict[int, pl.DataFrame]:
        """What rewinding one module of the network of each epoch to the init costs."""
        init, split = {INIT: self.by_epoch[0].state}, self.data.test
        count = self.settings.num_images_over_epochs
        groups = groups_of(split if count is None else split.first(count))
        return {
            epoch: self._rewound(self.over_epochs, init, epoch=epoch, groups=groups)
            for epoch in self.by_epoch
            if epoch > 0
        }

    def training(self) -> Iterator[Row]:
        """One module of the network of each epoch put back to the init."""
        for epoch, table in self.course.items():
            for row in _rows(table):
                columns = self.module_columns[row["module"]]
                yield {**columns, "epoch": epoch, "epochs": self.last, **_test_drop(row)}

    def training_images(self) -> Iterator[Row]:
        """The mean of these drops over the modules below the head, without each group of test images."""
        for epoch, table in self.course.items():
            body = [
                row["drop_without"]
                for row in _rows(table)
                if not self.module_columns[row["module"]]["is_head"]
            ]
            for group, drops in enumerate(zip(*body, strict=True)):
                columns = {"is_head": False, "epoch": epoch, "epochs": self.last, "without_group": group}
                yield {**columns, "test_drop": sum(drops) / len(drops)}

    def _passes(self, split: Split) -> RepeatedPasses:
        from transferscope.metrics.evaluation.repeated_passes import RepeatedPasses

        return RepeatedPasses(self.model, _examples(split))

    def _rewound(
        self,
        passes: RepeatedPasses,
        states: Mapping[str, Any],
        *,
        epoch: int | None = None,
        cumulative: bool = False,
        draws: int | None = None,
        groups: Tensor | None = None,
    ) -> pl.DataFrame:
        """The network of an epoch, the final one by default, with modules put back."""
        from transferscope.metrics.criticality.rewinding import rewind_to

        return rewind_to(
            passes,
            states,
            self.by_epoch[self.last if epoch is None else epoch].state,
            cumulative=cumulative,
            modules=self.prefixes,
            draws=self.settings.bootstrap_draws if draws is None else draws,
            generator=self.generator,
            groups=groups,
        )


def _examples(split: Split) -> Data:
    return split.inputs, split.labels


def _rows(table: pl.DataFrame) -> Iterable[Row]:
    return table.iter_rows(named=True)


def _test_drop(row: Row) -> Row:
    return {
        "test_metric": row["metric"],
        "test_drop": row["drop_metric"],
        "test_drop_low": row["drop_low"],
        "test_drop_high": row["drop_high"],
        "n_test": row["n"],
    }
