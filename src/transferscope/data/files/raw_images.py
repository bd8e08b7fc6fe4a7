"""Images that Pillow doesn't read here: DICOM, TIFF and NumPy files, as arrays of their values."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from transferscope.core.errors import BadInput
from transferscope.data.files.squares import MAX_PIXELS, TooManyPixels

MAX_CHANNELS = 64
SUFFIXES = ("", ".dcm", ".dicom", ".ima", ".npy", ".tif", ".tiff")
"""Only files with these endings are read so; DICOM files often have none."""
DICOM_KINDS = ("MONOCHROME1", "MONOCHROME2", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
"""The values of PhotometricInterpretation that are read."""


@dataclass(frozen=True)
class RawImage:
    """The values of an image."""

    values: np.ndarray
    """(h, w) or (h, w, channels): uint8, uint16, other whole numbers, or floats; finite."""
    window: tuple[float, float] | None = None
    """The values that become black and white, if the file states them."""

    @property
    def kind(self) -> str | None:
        """The kind of its values; see `grey_levels`. None for 8 bits."""
        kinds = {"uint8": None, "uint16": "16 bits"}
        return kinds.get(self.values.dtype.name, "F" if self.values.dtype.kind == "f" else "I")


def raw_format(head: bytes) -> str | None:
    """Which of the formats the first 132 bytes of a file are of: DICOM, TIFF, NumPy or None."""
    if head[128:132] == b"DICM":
        return "DICOM"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "TIFF"
    return "NumPy" if head.startswith(b"\x93NUMPY") else None


def read_raw(content: str | IO[bytes], kind: str, channels: int) -> RawImage:
    """Read a file.

    Args:
        content: path, or the open file.
        kind: as `raw_format` gives it.
        channels: how many are wanted; the axis of channels is the one of this length.

    Raises:
        BadInput: the library for this format isn't installed.
        TooManyPixels: more than `MAX_PIXELS`.
        ValueError: the file can't be read, or holds what can't be shown without a choice.
    """
    file = io.BytesIO(Path(content).read_bytes()) if isinstance(content, str) else content
    file.seek(0)
    read = {"DICOM": _dicom, "TIFF": _tiff, "NumPy": _numpy}[kind]
    image = read(file, channels)
    if image.values.dtype.kind == "f" and not np.isfinite(image.values).all():
        raise ValueError("it has values that are NaN or infinite")
    return image


def _refuse_large(height: int, width: int) -> None:
    if height * width > MAX_PIXELS:
        raise TooManyPixels(f"more than {MAX_PIXELS:,}")


def _dicom(file: IO[bytes], channels: int) -> RawImage:
    """Values after rescaling; MONOCHROME1, in which low values are bright, is inverted with its window."""
    pydicom = _library("pydicom", "dicom", "DICOM")
    data = pydicom.dcmread(file)
    _refuse_large(int(data.get("Rows", 0)), int(data.get("Columns", 0)))
    photometric = str(data.get("PhotometricInterpretation", ""))
    if photometric not in DICOM_KINDS:
        raise ValueError(
            f"its PhotometricInterpretation is {photometric or 'missing'}; read are {', '.join(DICOM_KINDS)}"
        )
    if int(data.get("NumberOfFrames", 1) or 1) > 1:
        raise ValueError(f"it holds {data.NumberOfFrames} frames; save each that counts in a file of its own")
    values = np.asarray(pydicom.pixels.pixel_array(data, raw=False))  # False: YBR becomes RGB
    if values.ndim == 3:
        return RawImage(_with_channels(values, channels))
    slope, intercept = float(data.get("RescaleSlope", 1)), float(data.get("RescaleIntercept", 0))
    if "ModalityLUTSequence" in data or str(data.get("VOILUTFunction", "LINEAR")) not in (
        "LINEAR",
        "LINEAR_EXACT",
    ):
        raise ValueError(
            "it has a table of grey values or a sigmoid window; export it with the values applied"
        )
    if (slope, intercept) != (1, 0):
        values = values * slope + intercept
        if np.array_equal(values, np.rint(values)):
            values = values.astype(np.int32)
    elif values.dtype != np.uint8:
        values = values.astype(np.int32)
    window = _window(data)
    if photometric == "MONOCHROME1":
        low, high = _stored_range(data, slope, intercept)
        values = (low + high - values).astype(values.dtype)
        window = None if window is None else (low + high - window[1], low + high - window[0])
    return RawImage(values, window)


def _stored_range(data: Any, slope: float, intercept: float) -> tuple[float, float]:
    """The lowest and highest value that the file's bits can store, rescaled."""
    bits, signed = int(data.BitsStored), int(data.PixelRepresentation) == 1
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return low * slope + intercept, high * slope + intercept


def _window(data: Any) -> tuple[float, float] | None:
    """Black and white of the first window of the file, by DICOM PS3.3 C.11.2.1.2."""
    center, width = data.get("WindowCenter"), data.get("WindowWidth")
    if center is None or width is None:
        return None
    center, width = (
        float(one if isinstance(one, (int, float)) else np.ravel(one)[0]) for one in (center, width)
    )
    if str(data.get("VOILUTFunction", "LINEAR")) == "LINEAR_EXACT":
        return (center - width / 2, center + width / 2) if width > 0 else None
    return (center - 0.5 - (width - 1) / 2, center - 0.5 + (width - 1) / 2) if width > 1 else None


def _tiff(file: IO[bytes], channels: int) -> RawImage:
    tifffile = _library("tifffile", "tiff", "TIFF")
    with tifffile.TiffFile(file) as opened:
        if len(opened.series) != 1:
            raise ValueError(f"it holds {len(opened.series)} images of different kinds; expected one")
        series, page = opened.series[0], opened.pages[0]
        shape = [length for axis, length in zip(series.axes, series.shape, strict=True) if axis in "YX"]
        _refuse_large(*shape[-2:])
        if series.nbytes > MAX_PIXELS * MAX_CHANNELS:
            raise TooManyPixels(f"{series.nbytes:,} bytes")
        photometric = page.photometric.name
        if photometric not in ("MINISBLACK", "MINISWHITE", "RGB", "YCBCR"):
            raise ValueError(f"its colours are {photometric}; read are grey values, RGB and YCBCR")
        orientation = page.tags.get("Orientation")
        if orientation is not None and orientation.value != 1:
            raise ValueError("it is turned by its tag Orientation; save it upright")
        if page.extrasamples and channels in (1, 3):
            raise ValueError("it has an alpha channel, or more channels than colours; save it without")
        values = series.asarray()
    if photometric == "MINISWHITE":
        if values.dtype.kind != "u":
            raise ValueError(
                f"its low values are bright (MINISWHITE), and its values are {values.dtype}; invert them"
            )
        values = np.iinfo(values.dtype).max - values
    return RawImage(_with_channels(values, channels))


def _numpy(file: IO[bytes], channels: int) -> RawImage:
    values = np.load(file, allow_pickle=False)
    if values.dtype.kind not in "uif":
        raise ValueError(f"its values are {values.dtype}; expected numbers")
    return RawImage(_with_channels(values, channels))


def _with_channels(values: np.ndarray, channels: int) -> np.ndarray:
    """(h, w) for one channel, or else (h, w, channels).

    Grey values may be shown in three channels; the axis of the channels is the first or the last.
    """
    squeezed = values.squeeze() if values.ndim > 2 else values
    if squeezed.ndim == 2 and channels in (1, 3):
        _refuse_large(*squeezed.shape)
        return squeezed
    fits = squeezed.ndim == 3 and [axis for axis in (0, 2) if squeezed.shape[axis] == channels]
    if not fits:
        raise ValueError(
            f"its shape is {values.shape}; expected {channels} channels, as (height, width, {channels}) or "
            f"({channels}, height, width). `channels` sets the number"
        )
    if len(fits) == 2:
        raise ValueError(f"its shape is {values.shape}: the first or the last axis may be the channels")
    moved = squeezed if fits[0] == 2 else squeezed.transpose(1, 2, 0)
    _refuse_large(*moved.shape[:2])
    return np.ascontiguousarray(moved)


def _library(name: str, extra: str, noun: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError:
        raise BadInput(
            f"{noun} files need the library {name}: pip install 'transferscope[{extra}]'."
        ) from None
