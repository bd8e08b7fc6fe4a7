"""The differences of two studies: their files, their claims, and warnings where numbers are not comparable."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from transferscope.analyses.claims import Claim, Finding
from transferscope.analyses.shared.phrases import listed

if TYPE_CHECKING:
    import polars as pl

Change = Literal["same", "changed", "only in A", "only in B", "in neither"]

_NAMES = ("name", "description", "variant")
"""Keys that name a study and don't change what it does."""
NONE = "none"
_PARTS = {
    "source": "Other pre-training, or other pre-trained weights",
    "network": "Another network",
    "training": "Another training recipe",
    "normalization": "Other normalization of the images",
    "instances": "Other given instances",
}
"""Key of the study file -> what is to be said where anything below it differs."""


@dataclass(frozen=True, kw_only=True)
class ReadStudy:
    """A finished study, as its folder has it."""

    label: str
    """A or B."""
    folder: Path
    document: Mapping[str, Any]
    """The study as resolved."""
    findings: Mapping[str, Finding]
    """By the claim's id."""
    tables: Mapping[str, Mapping[str, pl.DataFrame]]
    """analysis -> table -> rows."""
    provenance: Mapping[str, Any]
    over: str = "seed"
    """What its intervals are over: a seed, or a network where these were given."""
    fitted: Callable[[str], str] = str
    """Rewrites sentences about seeds if the study's networks were given."""

    @property
    def name(self) -> str:
        """With its variant, if it is one."""
        variant = self.document.get("variant")
        return f"{self.document['name']} ({variant})" if variant else str(self.document["name"])


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One key of the study files that the two don't have in common."""

    key: str
    a: str
    b: str


@dataclass(frozen=True, kw_only=True)
class ClaimPair:
    """One claim in both studies."""

    claim: Claim
    a: Finding | None
    b: Finding | None
    remark: str
    """Why the two are not directly comparable; empty if they are."""

    @property
    def change(self) -> Change:
        """The change of the verdict from A to B."""
        is_in_a, is_in_b = (_is_measured(finding) for finding in (self.a, self.b))
        if not (is_in_a or is_in_b):
            return "in neither"
        if not (is_in_a and is_in_b):
            return "only in A" if is_in_a else "only in B"
        assert self.a is not None
        assert self.b is not None
        return "same" if self.a.verdict == self.b.verdict else "changed"


def _is_measured(finding: Finding | None) -> bool:
    return finding is not None and finding.is_measured


def differences(a: ReadStudy, b: ReadStudy) -> list[Difference]:
    """Every key with another value, in the order of the study file; one that a file lacks has none there."""
    flat_a, flat_b = (dict(_flat(study.document)) for study in (a, b))
    keys = dict.fromkeys([*flat_a, *flat_b])
    return [
        Difference(key=key, a=_value(flat_a, key), b=_value(flat_b, key))
        for key in keys
        # a file of an earlier version lacks what was added since, and none asks for nothing
        if _value(flat_a, key) != _value(flat_b, key)
    ]


def _value(flat: Mapping[str, str], key: str) -> str:
    return flat.get(key, NONE)


def warnings(a: ReadStudy, b: ReadStudy) -> list[str]:
    """Why numbers of the two should not be laid beside each other as they are; empty where nothing is against it."""
    keys = [difference.key for difference in differences(a, b)]
    found = ["A and B are the same folder."] if a.folder.resolve() == b.folder.resolve() else []
    reduced = [study.label for study in (a, b) if study.document.get("variant")]
    if reduced:
        found.append(f"{listed(reduced)} ran a reduced variant of a study: a preview, not its answer.")
    found += [*_of_data(a, b, keys), *_of_seeds(a, b)]
    found += [
        f"{words} (keys {part} below)."
        for part, words in _PARTS.items()
        if any(key == part or key.startswith(f"{part}.") for key in keys)
    ]
    found += _of_analyses(a, b, keys)
    versions = [study.provenance.get("versions") or {} for study in (a, b)]
    other = [name for name in versions[0] if versions[0][name] != versions[1].get(name, versions[0][name])]
    if other:
        found.append(f"Drawn with other versions of {listed(other)}.")
    return found


def _of_data(a: ReadStudy, b: ReadStudy, keys: Sequence[str]) -> Iterator[str]:
    targets = [set(study.document.get("targets") or {}) for study in (a, b)]
    if targets[0] != targets[1]:
        only = [
            f"only {study.label} has {listed(sorted(own - other))}"
            for study, own, other in ((a, *targets), (b, *reversed(targets)))
            if own - other
        ]
        yield f"Other targets: {'; '.join(only)}. Claims are means over a study's targets."
    changed = [
        name
        for name in sorted(targets[0] & targets[1])
        if any(key.startswith(f"targets.{name}.data") for key in keys)
    ]
    if changed:
        yield f"Other data under the same name: {listed(changed)}."


def _of_seeds(a: ReadStudy, b: ReadStudy) -> Iterator[str]:
    of_a, of_b = (
        study.document.get("seeds" if study.over == "seed" else "instances") or [] for study in (a, b)
    )
    of_one_kind = a.over == b.over
    if len(of_a) != len(of_b):
        numbers = f"{len(of_a)} {a.over}s in A, {len(of_b)}{'' if of_one_kind else f' {b.over}s'} in B"
        yield f"Other n: {numbers}. More {f'{a.over}s' if of_one_kind else 'of them'} give narrower intervals."
    elif a.over == b.over == "seed" and of_a != of_b:
        yield "Other seeds."


def _of_analyses(a: ReadStudy, b: ReadStudy, keys: Sequence[str]) -> Iterator[str]:
    ran = [study.document.get("analyses") or {} for study in (a, b)]
    for study, own, other in ((a, *ran), (b, *reversed(ran))):
        if own.keys() - other.keys():
            yield f"Only {study.label} runs {listed([name for name in own if name not in other])}."
    options = dict.fromkeys(key.split(".")[1] for key in keys if key.startswith("analyses."))
    both = [name for name in options if name in ran[0] and name in ran[1]]
    if both:
        yield f"Other settings of {listed(both)}."


def claim_pairs(a: ReadStudy, b: ReadStudy) -> list[ClaimPair]:
    """Every claim, with what each of the studies says of it."""
    keys = [difference.key for difference in differences(a, b)]
    pairs = []
    claims = {found.claim.id: found.claim for found in (*a.findings.values(), *b.findings.values())}
    for claim in claims.values():
        of_a, of_b = a.findings.get(claim.id), b.findings.get(claim.id)
        pairs.append(
            ClaimPair(claim=claim, a=of_a, b=of_b, remark=_remark(claim, of_a, of_b, keys, (a.over, b.over)))
        )
    return pairs


def _remark(
    claim: Claim, a: Finding | None, b: Finding | None, keys: Sequence[str], over: tuple[str, str]
) -> str:
    if a is None or b is None or not (_is_measured(a) and _is_measured(b)):
        return ""
    remarks = []
    if a.num_seeds != b.num_seeds:
        unit = "" if over[0] == over[1] else f" {over[0]}s"
        remarks.append(f"{a.num_seeds}{unit} and {b.num_seeds} {over[1]}s")
    if a.num_images != b.num_images:
        remarks.append(f"{a.num_images} and {b.num_images} images")
    if a.over != b.over:
        remarks.append("intervals over other things")
    if any(key.startswith(f"analyses.{claim.analysis}") for key in keys):
        remarks.append("other settings")
    return ", ".join(remarks)


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Dotted keys and values in words; lists stay whole."""
    if isinstance(value, Mapping) and value:
        for name, own in value.items():
            if key or name not in _NAMES:
                yield from _flat(own, f"{key}.{name}" if key else str(name))
        return
    yield key, NONE if value is None else str(value)
