"""The paper's two studies, as they are shipped, through the command on a few images in the official layout."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from PIL import Image

from transferscope import cli
from transferscope.analyses.contract import all_claims, analysis_module
from transferscope.report.page.render import identifier

CLAIMS = all_claims()

WNIDS = ("n01440764", "n01443537", "n01484850")
CLASSES = ("aircraft_carrier", "alarm_clock", "ant")
DOMAINS = ("real", "clipart", "quickdraw")
OBSERVATIONS = (
    *("No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema"),
    *("Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other"),
    *("Fracture", "Support Devices"),
)
NUM_PATIENTS = 40

SMALLER = {
    "network": "{name: fixup_resnet, depths: [1, 1], widths: [4, 4]}",
    "source.data.image_size_px": 32,
    "source.pretraining.epochs": 2,
    "source.pretraining.batch_size": 8,
    "source.pretraining.keep_epochs": [1],
    "training.epochs": 1,
    "training.batch_size": 8,
    "training.rate_search.held_out": 0.25,
    "seeds": [0, 1],
    "analyses.feature_reuse.block_sizes_px": [4],
    "analyses.feature_similarity.permutations": 2,
    "analyses.barriers.alphas": [0, 0.5, 1],
    "analyses.barriers.basin_points": 2,
    "analyses.barriers.basin_draws": 2,
    "analyses.barriers.plane_size": 2,
    "analyses.criticality.alphas": [0, 1],
    "analyses.criticality.sigmas": [0, 0.1],
    "analyses.criticality.relative_sigmas": [0, 1],
    "analyses.criticality.draws": 1,
    "analyses.criticality.seeds": [0],
    "analyses.criticality.num_images": 16,
    "analyses.criticality.num_images_over_epochs": 16,
    "analyses.criticality.bootstrap_draws": 100,
    "analyses.barriers.bootstrap_draws": 100,
    "analyses.feature_reuse.bootstrap_draws": 100,
    "analyses.mistakes.bootstrap_draws": 100,
    "analyses.checkpoints.pretrain_epochs": [0, 1, 2],
}
"""What makes the studies so small that they run in seconds; nothing else is changed."""
DOMAINNET = {
    f"targets.{domain}.data.{key}": value
    for domain in DOMAINS
    for key, value in {"image_size_px": 32, "max_train_size": 16}.items()
} | {"analyses.criticality.targets": "[real]"}
CHEXPERT = {
    "training.ri_t_epochs": 2,
    "targets.chexpert.data.image_size_px": 32,
    "targets.chexpert.data.train_size": 32,
    "targets.chexpert.data.test_size": 30,
}


def draw(path: Path, pattern: int, seed: int, *, grey: bool = False) -> None:
    """A photograph of a class: stripes of its own width, and noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.Generator(np.random.PCG64(seed)).integers(0, 120, (36, 44, 3))
    stripes = 120 * (np.arange(44) // (2 + 3 * pattern) % 2)
    pixels = (noise + stripes[None, :, None]).astype(np.uint8)
    Image.fromarray(pixels[..., 0] if grey else pixels).save(path, format="JPEG")


def make_imagenet(root: Path) -> None:
    """train/<wnid>/<wnid>_<number>.JPEG and val/<wnid>/ILSVRC2012_val_<number>.JPEG."""
    for label, wnid in enumerate(WNIDS):
        for number in range(8):
            draw(root / f"train/{wnid}/{wnid}_{number}.JPEG", label, 100 * label + number)
        for number in range(4):
            name = f"ILSVRC2012_val_{4 * label + number + 1:08d}.JPEG"
            draw(root / f"val/{wnid}/{name}", label, 1000 + 100 * label + number)


def make_domainnet(root: Path) -> None:
    """<domain>/<class>/<domain>_<class>_<image>.jpg, and the lists <domain>_train.txt and <domain>_test.txt."""
    for offset, domain in enumerate(DOMAINS):
        for split, count in (("train", 8), ("test", 5)):
            lines = []
            for label, name in enumerate(CLASSES):
                for number in range(count):
                    path = f"{domain}/{name}/{domain}_{label:03d}_{number + (split == 'test') * 100:06d}.jpg"
                    draw(root / path, label, 10_000 * (offset + 1) + 100 * label + number + len(split))
                    lines.append(f"{path} {label}\n")
            (root / f"{domain}_{split}.txt").write_text("".join(lines))


def make_chexpert(root: Path) -> None:
    """train/patient<number>/study1/view<number>_frontal.jpg or _lateral.jpg, and train.csv."""
    rng = np.random.Generator(np.random.PCG64(0))
    lines = ["Path,Sex,Age,Frontal/Lateral,AP/PA," + ",".join(OBSERVATIONS)]
    for patient in range(1, NUM_PATIENTS + 1):
        findings = rng.choice(["1.0", "0.0", "-1.0", ""], size=len(OBSERVATIONS)).tolist()
        for view, kind in ((1, "frontal"), (2, "frontal"), (3, "lateral")):
            path = f"train/patient{patient:05d}/study1/view{view}_{kind}.jpg"
            draw(root / path, int(findings[2] == "1.0"), 20_000 + 10 * patient + view, grey=True)
            place = f"AP,{','.join(findings)}" if kind == "frontal" else f",{','.join(findings)}"
            lines.append(f"CheXpert-v1.0-small/{path},Female,60,{kind.capitalize()},{place}")
    (root / "train.csv").write_text("\n".join(lines) + "\n")


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The exit code of a call of the command line, in this process."""
    monkeypatch.setattr(sys, "argv", ["transferscope", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


@pytest.mark.parametrize(("template", "own"), [("paper-domainnet", DOMAINNET), ("paper-chexpert", CHEXPERT)])
@pytest.mark.usefixtures("empty_figures")
def test_a_paper_study_runs_on_a_few_images(
    template: str,
    own: dict[str, object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    make_imagenet(Path("data/imagenet"))
    if template == "paper-domainnet":
        make_domainnet(Path("data/domainnet"))
    else:
        make_chexpert(Path("data/CheXpert-v1.0-small"))
    assert command(monkeypatch, "init", "study.yaml", "--template", template) == 0
    overrides = [part for key, value in {**SMALLER, **own}.items() for part in ("--set", f"{key}={value}")]
    code = command(
        monkeypatch, "run", "study.yaml", "--out", "out", "--workers", "1", "--device", "cpu", *overrides
    )
    printed = capsys.readouterr().out
    assert code == 0, printed
    assert " 0 failed, 0 not run" in printed
    check_results(Path("out"), list(yaml.safe_load(Path("study.yaml").read_text())["analyses"]))


def check_results(out: Path, analyses: list[str]) -> None:
    """A report with a section for each analysis, no table empty, and a verdict or a reason for each claim."""
    report = (out / "report.html").read_text()
    sections = ["answer", "claims", "provenance"]
    sections += [identifier("analysis", name) for name in (*analyses, "learning_rates")]
    assert [section for section in sections if f'<section id="{section}"' not in report] == []
    assert "Part of this is missing." not in report
    for name in (*analyses, "learning_rates"):
        for table in analysis_module(name).TABLES:
            assert not pl.read_parquet(out / "tables" / f"{table}.parquet").is_empty(), table
    findings = json.loads((out / "findings.json").read_text())["findings"]
    assert [finding["id"] for finding in findings] == [claim.id for claim in CLAIMS]
    for finding in findings:
        assert finding["verdict"] in ("holds", "does not hold", "undecided")
        assert finding["verdict"] != "undecided" or finding["note"], finding["id"]
