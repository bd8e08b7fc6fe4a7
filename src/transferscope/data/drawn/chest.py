"""A drawn chest: body, lungs, ribs, heart and spine, with five findings, as a radiograph would show them.

Brightness is density: air is dark, bone and fluid are bright. Coordinates are the image's, x to the right
and y downward, from -1 to 1; as on a film, the patient's left is on the right. Shapes: n images, and where
the two lungs are told apart, an axis of 2 sides; u is x counted outward from the midline on each side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from transferscope.data.drawn.coordinates import pixel_grid
from transferscope.data.drawn.random_numbers import normal, uniform
from transferscope.data.drawn.texture import octave_noise

LEAST_SEVERITY = 0.25
"""A finding that is there is drawn with a severity from this to 1."""


@dataclass(frozen=True, kw_only=True)
class Thorax:
    """Where things are; each (n, 1 or 2, size, size) or (n, 1, 1, 1)."""

    x: Tensor
    y: Tensor
    u: Tensor
    """x counted outward from the midline, one for each side."""
    half_width: Tensor
    diaphragm: Tensor
    """y of the diaphragm's dome under each lung, at each u."""
    lungs: Tensor
    """0 to 1: how much of each pixel is one of the two lungs."""


def draw_chests(labels: Tensor, size_px: int, generator: torch.Generator) -> Tensor:
    """Pictures of chests with the findings of `labels`.

    Args:
        labels: (n, 5) of 0 and 1: Cardiomegaly, Edema, Consolidation, Atelectasis, Pleural Effusion.
        size_px: side of the images.
        generator: draws everything that the labels leave open.

    Returns:
        (n, 1, size_px, size_px), float64, about 0 to 1.
    """
    count = len(labels)
    severity = labels * uniform(LEAST_SEVERITY, 1, tuple(labels.shape), generator)
    heart, edema, consolidation, atelectasis, effusion = severity[:, :, None, None, None].unbind(dim=1)
    collapsed = atelectasis * _sides(count, 0.2, generator)
    thorax = _thorax(count, size_px, collapsed, generator)
    film = _soft_tissue_and_bone(thorax, generator)
    film = film + _edema(thorax, edema, generator)
    film = film + _consolidation(thorax, consolidation, generator)
    film = film + _atelectasis(thorax, collapsed, generator)
    film = _heart(film, thorax, heart, generator)
    film = _effusion(film, thorax, effusion * _sides(count, 0.3, generator), generator)
    return _expose(film, generator)


def _each(low: float, high: float, count: int, generator: torch.Generator, sides: int = 1) -> Tensor:
    """One number an image (and side), as (n, sides, 1, 1)."""
    return uniform(low, high, (count, sides, 1, 1), generator)


def _sides(count: int, both_share: float, generator: torch.Generator) -> Tensor:
    """(n, 2, 1, 1) of 0 and 1: one of the two sides, or both."""
    right = torch.randint(2, (count, 1, 1, 1), generator=generator)
    both = torch.rand(count, 1, 1, 1, generator=generator) < both_share
    return (torch.cat((right, 1 - right), dim=1) + both).clamp_(max=1).double()


def _inside(depth: Tensor, softness: float = 0.04) -> Tensor:
    """0 to 1: a soft edge where `depth` goes through 0."""
    return torch.sigmoid(depth / softness)


def _thorax(count: int, size_px: int, collapsed: Tensor, generator: torch.Generator) -> Thorax:
    x, y = pixel_grid(size_px)
    angle = _each(-0.08, 0.08, count, generator)
    zoom = _each(0.92, 1.1, count, generator)
    x, y = (
        (torch.cos(angle) * x + torch.sin(angle) * y) * zoom + _each(-0.08, 0.08, count, generator),
        (torch.cos(angle) * y - torch.sin(angle) * x) * zoom + _each(-0.08, 0.08, count, generator),
    )
    half_width = _each(0.64, 0.8, count, generator)
    u = x * torch.tensor([-1.0, 1.0]).view(1, 2, 1, 1)
    # The liver lifts the diaphragm of the patient's right; a collapsed lung draws its side up.
    level = _each(0.42, 0.62, count, generator) + torch.tensor([-0.03, 0.03]).view(1, 2, 1, 1)
    level = level + _each(-0.05, 0.05, count, generator, sides=2) - 0.28 * collapsed
    diaphragm = level + 1.5 * (u - 0.34).square()
    centre, radius = 0.53 * half_width, 0.41 * half_width
    rim = ((u - centre).abs() / radius).pow(2.4) + ((y + 0.05).abs() / 0.8).pow(2.4)
    lungs = _inside(1 - rim, 0.12) * _inside(diaphragm - y)
    return Thorax(x=x, y=y, u=u, half_width=half_width, diaphragm=diaphragm, lungs=lungs)


def _soft_tissue_and_bone(thorax: Thorax, generator: torch.Generator) -> Tensor:
    """Everything but the heart and the findings: (n, 1, size, size)."""
    count, size_px = len(thorax.x), thorax.x.shape[-1]
    x, y, width = thorax.x, thorax.y, thorax.half_width
    shoulders = -0.9 + 0.38 * x.abs().pow(2)
    arms = 0.6 * _inside(-0.35 - y, 0.12)
    body = _inside(width + 0.2 + arms - x.abs()) * _inside(y - shoulders)
    neck = _inside(0.24 - x.abs(), 0.06) * _inside(-0.5 - y)
    film = 0.58 * torch.maximum(body, neck)
    air = thorax.lungs.sum(dim=1, keepdim=True)
    film = film - _each(0.36, 0.46, count, generator) * air
    # The windpipe is a dark stripe in the bright middle, down to where it forks.
    film = film + 0.1 * _inside(0.15 - x.abs()) - 0.07 * _inside(0.04 - x.abs(), 0.02) * _inside(-0.3 - y)
    film = film + 0.05 * _inside(0.08 - x.abs(), 0.02) * (1 + 0.5 * torch.sin(24 * y))
    film = film + _ribs(thorax, generator)
    clavicle = (y + 0.56 + 0.22 * x.abs()).abs()
    film = film + 0.1 * _inside(0.035 - clavicle, 0.012) * _inside(0.75 - x.abs()) * _inside(x.abs() - 0.1)
    # Vessels around the hila, and overlying soft tissue: what findings are mistaken for.
    near_hilum = torch.exp(-((thorax.u - 0.24).square() + (y + 0.02).square()) / 0.05).sum(
        dim=1, keepdim=True
    )
    film = film + near_hilum * air * (0.1 + 0.3 * octave_noise(count, 1, size_px, generator))
    breast = (thorax.u - 0.45).square() + (y - _each(0.25, 0.45, count, generator)).square()
    tissue = _inside(0.32 - breast.sqrt()).sum(dim=1, keepdim=True)
    return film + _each(0, 0.12, count, generator) * tissue * body


def _ribs(thorax: Thorax, generator: torch.Generator) -> Tensor:
    count, u = len(thorax.x), thorax.x.abs()
    ribs_per_unit = _each(3.6, 4.6, count, generator)
    phase = ribs_per_unit * (thorax.y - 0.45 * u + 0.8 * u.square()) + _each(0, 1, count, generator)
    bands = _inside(torch.cos(2 * math.pi * phase) - 0.45, 0.25)
    inside = (
        _inside(thorax.half_width + 0.04 - u) * _inside(u - 0.1) * _inside(0.82 - (thorax.y + 0.07).abs())
    )
    return _each(0.05, 0.11, count, generator) * bands * inside


def _heart(film: Tensor, thorax: Thorax, severity: Tensor, generator: torch.Generator) -> Tensor:
    """The heart's shadow; its width over the thorax's is .36 to .5 where it is not enlarged."""
    count = len(film)
    ratio = _each(0.36, 0.5, count, generator) + 0.05 * (severity > 0) + 0.12 * severity
    across = ratio * thorax.half_width
    down = 0.75 * across + _each(0.06, 0.12, count, generator)
    x = thorax.x - 0.36 * across - _each(-0.03, 0.03, count, generator)
    y = thorax.y - 0.3
    # An egg that leans to the patient's left, and the great vessels that lead up from it.
    along, over = 0.86 * x + 0.5 * y, 0.86 * y - 0.5 * x
    rim = (along / (1.08 * across)).square() + (over / (down * (1 + 0.35 * along))).square()
    vessels = 0.19 + 0.14 * thorax.y + 0.03 * torch.sin(9 * thorax.y) - (x + 0.04).abs()
    upper = _inside(thorax.y + 0.45) * _inside(0.3 - thorax.y)
    shadow = torch.maximum(_inside(1 - rim, 0.12), _inside(vessels, 0.03) * upper)
    return torch.lerp(film, torch.maximum(film, torch.tensor(0.64)), shadow)


def _edema(thorax: Thorax, severity: Tensor, generator: torch.Generator) -> Tensor:
    """Haze spreading from both hila, with fine markings."""
    count, size_px = len(thorax.x), thorax.x.shape[-1]
    wings = torch.exp(-(thorax.u - 0.26).square() / 0.06 - (thorax.y - 0.02).square() / 0.16)
    haze = (wings * thorax.lungs).sum(dim=1, keepdim=True)
    markings = 0.05 * normal((count, 1, size_px, size_px), generator)
    present = (severity > 0).double()
    return haze * (0.05 * present + 0.17 * severity) + haze * markings * present


def _consolidation(thorax: Thorax, severity: Tensor, generator: torch.Generator) -> Tensor:
    """A ragged dense patch in one lung, seldom in both."""
    count, size_px = len(thorax.x), thorax.x.shape[-1]
    du = (thorax.u - _each(0.24, 0.55, count, generator)) / _each(0.15, 0.3, count, generator)
    dy = (thorax.y - _each(-0.5, 0.35, count, generator)) / _each(0.15, 0.3, count, generator)
    ragged = 1 - du.square() - dy.square() + 2 * octave_noise(count, 1, size_px, generator)
    patch = _inside(ragged, 0.25) * thorax.lungs * _sides(count, 0.15, generator)
    return patch.sum(dim=1, keepdim=True) * (0.14 * (severity > 0) + 0.22 * severity)


def _atelectasis(thorax: Thorax, collapsed: Tensor, generator: torch.Generator) -> Tensor:
    """A plate-like band above the diaphragm that the collapse has drawn up."""
    count = len(thorax.x)
    slope = _each(-0.5, 0.5, count, generator, sides=2)
    above = thorax.diaphragm - thorax.y - _each(0.1, 0.35, count, generator, sides=2)
    band = _inside(0.03 - (above - slope * (thorax.u - 0.4)).abs(), 0.015)
    extent = torch.exp(-(thorax.u - 0.4).square() / 0.05)
    return (band * extent * thorax.lungs * (0.1 * (collapsed > 0) + 0.2 * collapsed)).sum(dim=1, keepdim=True)


def _effusion(film: Tensor, thorax: Thorax, severity: Tensor, generator: torch.Generator) -> Tensor:
    """Fluid over the diaphragm, with a surface that rises toward the side."""
    count = len(film)
    outward = (thorax.u / thorax.half_width).clamp(0, 1)
    depth = 0.12 + severity * _each(0.2, 0.4, count, generator, sides=2)
    surface = thorax.diaphragm.amin(dim=(2, 3), keepdim=True) + 0.12 - depth * (0.3 + 1.3 * outward.square())
    within = _inside(thorax.half_width * 0.95 - thorax.u) * _inside(thorax.u - 0.05)
    fluid = (_inside(thorax.y - surface) * within * (severity > 0)).amax(dim=1, keepdim=True)
    return torch.lerp(film, torch.maximum(film, torch.tensor(0.62)), 0.9 * fluid)


def _expose(film: Tensor, generator: torch.Generator) -> Tensor:
    """The picture that the detector gives: unevenness, exposure, contrast and noise."""
    count, size_px = len(film), film.shape[-1]
    film = film + 0.15 * octave_noise(count, 1, size_px, generator)
    film = film.clamp(0, 1).pow(torch.exp(_each(-0.35, 0.35, count, generator)))
    film = film * _each(0.75, 1.15, count, generator) + _each(0, 0.08, count, generator)
    noise = normal(film.shape, generator)
    return film + noise * _each(0.015, 0.04, count, generator)
