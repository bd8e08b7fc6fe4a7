"""Search the learning rates of P-T, RI-T and the controls for a study file, fairly: same grid, same number of tries.

A quarter of each target's training images is held out; the test images are never looked at. For each rate of
one grid that all kinds share, networks are trained on the rest, with seeds that the study does not use, and
scored on what was held out. Rates are written into the study file by its authors, by hand.

    python tools/search_learning_rates.py src/transferscope/studies/demo.yaml
    python tools/search_learning_rates.py src/transferscope/studies/demo.yaml \
        --kinds layer_statistics permuted_weights --targets rendered_digits symbols
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from pathlib import Path

import torch

from transferscope.config import Study
from transferscope.data.base import ImageSplit, describe, load
from transferscope.models.init import control_init, pretrained_init, random_init
from transferscope.runs import CONTROLS, KINDS, pretraining_run, target_run
from transferscope.study_file import load_study
from transferscope.train.loop import train

HELD_OUT = 4
"""One image of so many is held out."""
SEEDS = (1001, 1002, 1003)
CPU = torch.device("cpu")


def main() -> None:
    """Print the mean held-out score by target, kind and rate, and the best rates."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", type=Path)
    parser.add_argument("--rates", type=float, nargs="+", default=[0.02, 0.05, 0.1, 0.2, 0.4])
    parser.add_argument("--kinds", nargs="+", choices=(*KINDS, *CONTROLS), default=list(KINDS))
    parser.add_argument("--targets", nargs="+", help="all of the study's by default")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    study = load_study(arguments.study, overrides=arguments.overrides)
    targets = arguments.targets or list(study.targets)
    if unknown := set(targets) - set(study.targets):
        parser.error(
            f"the study has no target {', '.join(sorted(unknown))}; it has {', '.join(study.targets)}"
        )
    pretrained, source_score = _pretrain(study)
    print(f"source: {source_score:.3f}", flush=True)
    jobs = [
        (study, pretrained, target, kind, rate, seed)
        for target in targets
        for kind in arguments.kinds
        for rate in arguments.rates
        for seed in SEEDS
    ]
    context = multiprocessing.get_context("spawn")
    with context.Pool(arguments.workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        scores = pool.map(_held_out_score, jobs, chunksize=4)
    _print(
        targets, arguments.kinds, arguments.rates, dict(zip((job[2:] for job in jobs), scores, strict=True))
    )


def _pretrain(study: Study) -> tuple[dict[str, torch.Tensor], float]:
    torch.set_num_threads(1)
    run = pretraining_run(study)
    about, data = describe(run.data), load(run.data)
    model = random_init(run.network, about.num_classes, about.channels, run.init_seed, about.image_size_px)
    trained = train(
        model, data.train, data.test, run.recipe, normalization=run.normalization, seed=run.seed, device=CPU
    )
    print(trained.history)
    return trained.checkpoints[run.recipe.epochs], trained.history["test_metric"][-1]


def _held_out_score(job) -> float:
    study, pretrained, target, kind, rate, seed = job
    run = target_run(study, kind, target, seed)
    about, data = describe(run.data), load(run.data)
    held_out = torch.arange(len(data.train)) % HELD_OUT == 0
    network = (run.network, about.num_classes, about.channels, seed)
    if kind == "ri_t":
        model = random_init(*network, about.image_size_px)
    elif kind == "p_t":
        model = pretrained_init(*network, pretrained, about.image_size_px)
    else:
        model = control_init(kind, *network, pretrained, about.image_size_px)
    recipe = run.recipe.model_copy(update={"learning_rate": rate, "keep_epochs": ()})
    trained = train(
        model,
        _part(data.train, ~held_out),
        _part(data.train, held_out),
        recipe,
        normalization=run.normalization,
        seed=seed,
        device=CPU,
    )
    return trained.history["test_metric"][-1]


def _part(split: ImageSplit, where: torch.Tensor) -> ImageSplit:
    ids = tuple(name for name, kept in zip(split.ids, where.tolist(), strict=True) if kept)
    return ImageSplit(images=split.images[where], labels=split.labels[where], ids=ids)


def _print(targets: list[str], kinds: list[str], rates: list[float], scores: dict[tuple, float]) -> None:
    best: dict[str, dict[str, float]] = {}
    for kind in kinds:
        print(f"\n{kind}: mean held-out score over {len(SEEDS)} seeds, by rate")
        print(f"{'target':24}" + "".join(f"{rate:>8g}" for rate in rates))
        totals = dict.fromkeys(rates, 0.0)
        for target in targets:
            means = {
                rate: sum(scores[target, kind, rate, seed] for seed in SEEDS) / len(SEEDS) for rate in rates
            }
            best.setdefault(target, {})[kind] = max(means, key=lambda rate: means[rate])
            for rate in rates:
                totals[rate] += means[rate] / len(targets)
            print(f"{target:24}" + "".join(f"{means[rate]:8.3f}" for rate in rates))
        print(f"{'mean over targets':24}" + "".join(f"{totals[rate]:8.3f}" for rate in rates))
        best.setdefault("all targets", {})[kind] = max(totals, key=lambda rate: totals[rate])
    print("\nbest:", json.dumps(best))


if __name__ == "__main__":
    main()
