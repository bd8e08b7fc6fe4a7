"""What one should know of a study's data before anything is trained on them."""

from __future__ import annotations

from transferscope.core.config import Study
from transferscope.core.datasets import describe
from transferscope.core.errors import visible
from transferscope.data.files.one_hot import one_hot_note


def label_notes(study: Study) -> list[str]:
    """Lines for each data set: labels that look like another kind, classes without test images, files passed over."""
    named = {name: target.data for name, target in study.targets.items()}
    if study.source is not None and study.source.data is not None:
        named = {study.source.name or "source": study.source.data, **named}
    abouts = {name: describe(data) for name, data in named.items()}
    return [
        f"{visible(name)}: {visible(note)}"
        for name, about in abouts.items()
        for note in (*([one_hot_note(about.num_classes)] if about.one_finding_each else []), *about.notes)
    ]
