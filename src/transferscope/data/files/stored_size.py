"""The size of training images from which augmentation takes its crops: a multiple of the size that networks see."""

from __future__ import annotations


def refuse_stored_size(stored_size_px: int | None, image_size_px: int) -> None:
    """Raises ValueError unless the stored size is a multiple of the image size, at least twice as large.

    A multiple, so that shuffled views move the same blocks in the images of both sizes.
    """
    if stored_size_px is None or (stored_size_px > image_size_px and stored_size_px % image_size_px == 0):
        return
    raise ValueError(
        f"stored_size_px is {stored_size_px}; expected a multiple of image_size_px, as {2 * image_size_px}"
    )
