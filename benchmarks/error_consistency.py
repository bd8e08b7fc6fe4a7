"""Cohen's kappa of the errors of all pairs of 6 models on 10,000 images, against lm-sim."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch

from benchmarks.measure import Candidate, Case, Result, Size, compare_all, largest_difference
from benchmarks.peers import has, name_of, note_missing, peer
from transferscope.metrics.agreement.error_consistency import error_consistency
from transferscope.metrics.agreement.mistakes import mistakes

JOB = "error_consistency"
NUM_MODELS, NUM_CLASSES = 6, 10
MODULE = "lmsim.metrics"


def run(size: Size, rounds: int) -> Result:
    return note_missing([MODULE], compare_all(JOB, cases(size), size, rounds))


def cases(size: Size) -> Iterator[Case]:
    n = 10_000 if size == "full" else 200
    source = torch.Generator().manual_seed(0)
    labels = torch.randint(NUM_CLASSES, (n,), generator=source)
    predictions = {}
    for model in range(NUM_MODELS):
        guesses = torch.randint(NUM_CLASSES, (n,), generator=source)
        predictions[str(model)] = torch.where(torch.rand(n, generator=source) < 0.7, labels, guesses)
    pairs = list(itertools.combinations(predictions, 2))
    # what lm-sim takes: a row of probabilities an image
    one_hot = {name: list(torch.eye(NUM_CLASSES)[own].numpy()) for name, own in predictions.items()}
    truth = labels.tolist()

    def theirs() -> torch.Tensor:
        lmsim = peer(MODULE)
        return torch.tensor([lmsim.EC().compute_k(one_hot[a], one_hot[b], truth) for a, b in pairs])

    def table() -> torch.Tensor:
        found = mistakes(predictions, labels, bootstrap=0).filter(scope="all")
        return torch.tensor(found["kappa"].to_list(), dtype=torch.float64)

    yield Case(
        name=f"{len(pairs)} pairs, {n:,} images",
        ours=[
            Candidate(
                name="error_consistency",
                run=lambda: torch.tensor(
                    error_consistency(predictions, labels)["kappa"].to_list(), dtype=torch.float64
                ),
            ),
            Candidate(name="mistakes (by class and difficulty)", run=table),
        ],
        peers=[Candidate(name=name_of(MODULE), run=theirs, module=MODULE)] if has(MODULE) else [],
        agree=lambda found: largest_difference(found, "error_consistency", 1e-6),
    )
