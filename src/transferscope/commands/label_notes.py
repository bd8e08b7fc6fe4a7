"""What is worth saying of a study's labels before anything is trained on them."""

from __future__ import annotations

from transferscope.config import Study
from transferscope.data.base import describe
from transferscope.data.one_hot import one_hot_note
from transferscope.errors import visible


def label_notes(study: Study) -> list[str]:
    """A line for each data set whose labels look like another kind than they are taken for."""
    named = {name: target.data for name, target in study.targets.items()}
    if study.source is not None and study.source.data is not None:
        named = {study.source.name or "source": study.source.data, **named}
    abouts = {name: describe(data) for name, data in named.items()}
    return [
        f"{visible(name)}: {one_hot_note(about.num_classes)}"
        for name, about in abouts.items()
        if about.one_finding_each
    ]
