"""Data sets that people have, in miniature and in their official layout, by the options that docs/data.md gives."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from transferscope.core.datasets import dataset_module
from transferscope.core.datasets import describe as described
from transferscope.data.sets import table

SIDE = 16


def write(path: Path, number: int, *, grey: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (SIDE, SIDE) if grey else (SIDE, SIDE, 3)
    Image.fromarray(np.random.default_rng(number).integers(0, 256, shape, np.uint8)).save(path)


def test_nih_chest_x_ray_14(tmp_path: Path) -> None:
    header = (
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
        "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
    )
    findings = ["No Finding", "Cardiomegaly|Effusion", "Effusion", "Cardiomegaly"]
    lines, test = [header], []
    for number in range(16):
        name = f"{number // 2 + 1:08d}_{number % 2:03d}.png"
        write(tmp_path / f"images_{number // 8 + 1:03d}" / "images" / name, number, grey=True)
        finding = findings[number % 4]
        lines.append(f"{name},{finding},{number % 2},{number // 2 + 1},57,M,PA,2682,2749,0.143,0.143,")
        test += [name] if number >= 12 else []
    (tmp_path / "Data_Entry_2017.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "test_list.txt").write_text("\n".join(test))
    options = table.Options(
        path=tmp_path / "Data_Entry_2017.csv",
        file_pattern="images_*/images/{Image Index}",
        label_separator="|",
        no_label="No Finding",
        test_list=tmp_path / "test_list.txt",
        image_size_px=SIDE,
    )
    about, data = described(options), table.load(options)
    assert about.class_names == ("Cardiomegaly", "Effusion")
    assert (len(data.train), len(data.test)) == (12, 4)
    where = data.test.ids.index("group 7: images_002/images/00000007_001.png")
    assert data.test.labels[where].tolist() == [1, 1]
    plain = np.random.default_rng(13).integers(0, 256, (SIDE, SIDE), np.uint8)
    assert (data.test.images[where].numpy() == plain).all()
    assert table.cluster_of(data.test.ids[where]) == "7"


def test_mimic_cxr_jpg(tmp_path: Path) -> None:
    split = ["dicom_id,study_id,subject_id,split"]
    labels = ["subject_id,study_id,Atelectasis,Cardiomegaly,No Finding"]
    values = ["1.0,,", ",1.0,", "0.0,-1.0,", ",,1.0"]
    for number in range(12):
        subject, study, part = (
            f"1000{number:04d}",
            f"5{number:07d}",
            ("train", "test", "validate")[number // 4],
        )
        for view in ("a", "b"):
            dicom = f"{view}{number:03d}-0f"
            write(
                tmp_path / "files" / f"p{subject[:2]}" / f"p{subject}" / f"s{study}" / f"{dicom}.jpg", number
            )
            split.append(f"{dicom},{study},{subject},{part}")
        labels.append(f"{subject},{study},{values[number % 4]}")
    paths = [tmp_path / f"mimic-cxr-2.0.0-{name}.csv.gz" for name in ("split", "chexpert")]
    for path, lines in zip(paths, (split, labels), strict=True):
        path.write_bytes(gzip.compress("\n".join(lines).encode()))
    options = table.Options(
        path=paths[0],
        join=(paths[1],),
        file_pattern="files/p{subject_id:.2}/p{subject_id}/s{study_id}/{dicom_id}.jpg",
        label_columns=("Atelectasis", "Cardiomegaly"),
        uncertain_labels="present",
        missing_labels="absent",
        keep_duplicates=True,
        image_size_px=SIDE,
    )
    about, data = described(options), table.load(options)
    assert (len(data.train), len(data.test)) == (8, 8)
    found = dict(zip(data.train.ids, data.train.labels.tolist(), strict=True))
    assert found["group 10000002: files/p10/p10000002/s50000002/b002-0f.jpg"] == [0, 1]
    assert found["group 10000003: files/p10/p10000003/s50000003/a003-0f.jpg"] == [0, 0]
    assert any("validate (8 rows)" in note for note in about.notes)


def test_isic_2019(tmp_path: Path) -> None:
    truth, metadata = ["image,MEL,NV,BCC,UNK"], ["image,age_approx,anatom_site_general,lesion_id,sex"]
    for number in range(30):
        name = f"ISIC_{number:07d}"
        write(tmp_path / "ISIC_2019_Training_Input" / f"{name}.jpg", number)
        truth.append(f"{name},{','.join(str(float(column == number % 3)) for column in range(4))}")
        metadata.append(f"{name},55.0,anterior torso,BCN_{number // 2:07d},female")
    for name, lines in (("GroundTruth", truth), ("Metadata", metadata)):
        (tmp_path / f"ISIC_2019_Training_{name}.csv").write_text("\n".join(lines) + "\n")
    options = table.Options(
        path=tmp_path / "ISIC_2019_Training_GroundTruth.csv",
        join=(tmp_path / "ISIC_2019_Training_Metadata.csv",),
        file_pattern="ISIC_2019_Training_Input/{image}.jpg",
        label_columns=("MEL", "NV", "BCC"),
        one_hot=True,
        image_size_px=SIDE,
    )
    about, data = described(options), table.load(options)
    assert (about.class_names, about.metric) == (("MEL", "NV", "BCC"), "accuracy")
    assert 4 <= len(data.test) <= 8
    for split in (data.train, data.test):
        for id_, label in zip(split.ids, split.labels.tolist(), strict=True):
            assert label == int(id_[-11:-4]) % 3
    lesions = [set(map(table.cluster_of, split.ids)) for split in (data.train, data.test)]
    assert not lesions[0] & lesions[1]


def test_eurosat_rgb(tmp_path: Path) -> None:
    for place, name in enumerate(("AnnualCrop", "Forest", "SeaLake")):
        for number in range(1, 11):
            write(tmp_path / "EuroSAT_RGB" / name / f"{name}_{number}.jpg", 100 * place + number)
    module = dataset_module("imagefolder")
    options = module.Options(root=tmp_path / "EuroSAT_RGB", image_size_px=SIDE)
    about = described(options)
    assert about.class_names == ("AnnualCrop", "Forest", "SeaLake")
    assert np.bincount(module.load(options).test.labels).tolist() == [2, 2, 2]
    assert any("20 % of each class" in note for note in about.notes)


def test_eurosat_with_13_bands(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    rng = np.random.default_rng(0)
    made = {}
    for name in ("AnnualCrop", "Forest"):
        (tmp_path / "EuroSAT_MS" / name).mkdir(parents=True)
        for number in range(1, 6):
            bands = rng.integers(0, 9000, (SIDE, SIDE, 13)).astype(np.uint16)
            made[f"{name}/{name}_{number}.tif"] = bands
            path = tmp_path / "EuroSAT_MS" / name / f"{name}_{number}.tif"
            tifffile.imwrite(path, bands, photometric="minisblack", planarconfig="contig")
    module = dataset_module("imagefolder")
    options = module.Options(
        root=tmp_path / "EuroSAT_MS", image_size_px=SIDE, channels=13, grey_range=(0, 10000)
    )
    data = module.load(options)
    assert described(options).channels == 13
    assert (len(data.train), len(data.test)) == (8, 2)
    for id_, image in zip(data.test.ids, data.test.images, strict=True):
        plain = np.rint(made[id_].astype(float) / 10000 * 255)
        assert (image.permute(1, 2, 0).numpy() == plain).all()
