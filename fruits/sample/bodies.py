"""The body of one variety: its radius, normals and colours, computed once.

They are stored in two stereographic maps (stem half and blossom half), so that finding the values
of a direction needs no trigonometry.
"""

import itertools
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fruits.sample.species import DARK, Kind

MAP = 224  # texels across one half of a body: about one per pixel at the poles, two at the rim

Array = NDArray[np.float32]
Index = NDArray[np.intp]


def light(code: int) -> Array:
    """Convert 0xRRGGBB to linear light, (3, 1)."""
    channels = np.array([[code >> 16], [code >> 8 & 255], [code & 255]], np.float32)
    light: Array = np.square(channels / np.float32(255))
    return light


def _rise(x: Array, low: float, high: float) -> Array:
    """Rise smoothly from 0 at `low` to 1 at `high`."""
    t: Array = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _directions() -> Array:
    """Return the unit vectors of all texels (3, n): the stem half, then the blossom half."""
    u = (np.arange(MAP, dtype=np.float32) + 0.5) * (2 / MAP) - 1
    y, x = np.meshgrid(u, u, indexing="ij")
    s = 1 + x * x + y * y
    half = np.stack([2 * x / s, 2 * y / s, 2 / s - 1]).reshape(3, -1)
    return np.concatenate([half, half * np.array([[1], [1], [-1]], np.float32)], axis=1)


def _lattice(count: int, jitter: float, rng: np.random.Generator) -> Array:
    """Return unit vectors (3, count) with nearly regular distances."""
    i = np.arange(count)
    z = 1 - (2 * i + 1) / count
    turn = i * math.pi * (3 - math.sqrt(5))
    points = np.stack([np.cos(turn), np.sin(turn), z])
    points[:2] *= np.sqrt(1 - z * z)
    points += rng.normal(scale=jitter / math.sqrt(count), size=points.shape)
    points /= np.linalg.norm(points, axis=0)
    return points.astype(np.float32)


class Body:
    """The surface of a variety, computed for every direction from its centre.

    Attributes:
        radius: (texels,), of a body divided by its scale.
        stretch: (texels,), the factor by which the scale changes lengths.
        skin: (7, texels): normal, colour in linear light, gloss.
        hull: (3, n), some points of the surface, which determine the frame of a picture.
        rods: (n, 11), the pieces of the stem: both ends, the thickness at both, the colour.

    The argument `spread` is how much a variety may differ from its species.
    """

    def __init__(self, kind: Kind, rng: np.random.Generator, spread: float) -> None:
        self._rng = rng
        self._d = _directions()
        x, y, z = self._d
        self._theta, self._phi = np.arccos(z), np.arctan2(y, x)
        self.fuzz, self.bend = kind.fuzz, kind.bend
        self.scale: Array = np.array(kind.scale, np.float32)
        self.scale *= np.exp(rng.normal(scale=0.6 * spread, size=3))
        self._skin_at = self._d * self.scale[:, None]  # noise here is equally fine everywhere
        self._shade = np.ones_like(z)
        self._gloss = np.full_like(z, kind.gloss)
        self._shape(kind)
        self._colour(kind)
        if kind.cells[0]:
            self._cells(*kind.cells)
        self._ends(kind)
        self._albedo *= np.exp(rng.normal(scale=spread, size=(3, 1))).astype(np.float32)
        self._finish()
        self.rods = np.array(list(self._stem(*kind.stem, kind.leaves)), np.float32).reshape(-1, 11)

    def _noise(self, points: Array, frequency: float) -> Array:
        """Return smooth noise of unit variance at `points` (3, n): a sum of random plane waves."""
        waves = self._rng.normal(size=(16, 3))
        waves *= frequency * self._rng.uniform(0.6, 1.4, (16, 1))
        waves /= np.linalg.norm(waves / frequency, axis=1, keepdims=True)
        total: Array = np.zeros_like(points[0])
        # No matrix product: its last bits may change with the number of threads.
        for a, b, c in waves.tolist():
            phase = self._rng.uniform(0, 2 * math.pi)
            total += np.cos(points[0] * a + points[1] * b + points[2] * c + phase)
        total *= math.sqrt(2 / 16)
        return total

    def _shape(self, kind: Kind) -> None:
        angles = np.cos(np.linspace(0, np.pi, len(kind.radii)))
        fit = np.polynomial.chebyshev.chebfit(angles, kind.radii, len(angles) - 1)
        r = np.polynomial.chebyshev.chebval(self._d[2], fit.astype(np.float32))
        r = r * (1 + kind.lumps * self._noise(self._d, 2))
        for depth, pole in zip(kind.dimple, (self._theta, np.pi - self._theta), strict=True):
            hollow = np.exp(-((pole / 0.32) ** 2))
            r -= depth * hollow
            self._shade -= 0.9 * max(depth, 0) * hollow
        count, depth, sharp = kind.ribs
        if count:
            swing = count * self._phi + 0.25 * self._noise(self._d, 1.5)
            groove = np.exp(sharp * (np.cos(swing) - 1)) * np.sqrt(np.sin(self._theta))
            r -= depth * groove
            self._shade -= 1.5 * depth * groove
        if kind.pits:
            r += kind.pits * self._noise(self._skin_at, 70)
        self.radius: Array = r.astype(np.float32)

    def _paint(self, code: int, weight: Array) -> None:
        self._albedo += (light(code) - self._albedo) * weight

    def _colour(self, kind: Kind) -> None:
        d = self._d
        # Noise on this ring follows the meridians, like the streaks of an apple.
        ring = np.stack([np.cos(self._phi), np.sin(self._phi), 0.3 * d[2]])
        self._albedo = np.repeat(light(kind.base), d.shape[1], axis=1)
        self._paint(kind.top, _rise(d[2] + 0.2 * self._noise(d, 2), -0.6, 0.8))
        for style, code, share in kind.marks:
            if style == "blush":
                side = 0.8 * d[0] + 0.3 * d[1] + 0.5 * d[2] + 0.35 * self._noise(d, 2.5)
                side += 0.12 * self._noise(ring, 9)
                weight = 0.9 * _rise(side, 0.6 - 2 * share, 1.5 - 2 * share)
            elif style == "streaks":
                fine = self._noise(ring, 7) + 0.4 * self._noise(d, 14)
                weight = share * _rise(fine, -0.3, 1)
            elif style == "stripes":
                swing = share * self._phi + 0.5 * self._noise(d, 4) + 0.5 * self._noise(d, 16)
                weight = _rise(np.cos(swing) + 0.2 * self._noise(d, 20), -0.4, 0.3)
            else:
                weight = share * _rise(self._noise(self._skin_at, 40), 1.6, 2.2)
            self._paint(code, weight)
        self._albedo *= 1 + 0.06 * self._noise(d, 5) + 0.03 * self._noise(d, 25)

    def _cells(self, style: str, count: int, code: int) -> None:
        jitter = {"net": 0.6, "scales": 0.15}.get(style, 0.25)
        centres = _lattice(count, jitter, self._rng)
        size = 2 / math.sqrt(count)  # half the distance between neighbours, in radians
        ball = 1.25 * size if style == "berries" else 0.0
        heights = 1 - 0.4 * ball + 0.05 * self._rng.normal(size=count)
        best, second = np.full_like(self.radius, -9), np.full_like(self.radius, -9)
        cell = np.zeros(len(best), np.int32)
        for number, (a, b, c) in enumerate(centres.T.tolist()):
            value = self._d[0] * a + self._d[1] * b + self._d[2] * c
            if ball:  # how far this ball reaches in each direction
                value *= float(heights[number])
                square = value * value + float(ball**2 - heights[number] ** 2)
                value += np.sqrt(np.maximum(square, 0)) - 9 * (square < 0)
            np.copyto(cell, number, where=value > best)
            np.maximum(second, np.minimum(best, value), out=second)
            np.maximum(best, value, out=best)
        cosine = (self._d * centres.take(cell, axis=1)).sum(axis=0)
        first = np.arccos(np.minimum(cosine, 1)) / size
        if style == "berries":
            self.radius *= np.maximum(best, 0.5 - 0.5 * ball)
            self._shade *= 1 - 0.6 * _rise(first, 0.5, 1.3)
            self._albedo *= self._rng.uniform(0.75, 1.3, count).astype(np.float32)[cell]
        elif style == "seeds":
            self.radius -= 0.03 * (1 - _rise(first, 0.15, 0.6))
            self._shade -= 0.35 * (1 - _rise(first, 0.3, 0.7))
            self._paint(code, 1 - _rise(first, 0.18, 0.32))
        else:
            border = np.arccos(second) / size - first
            if style == "scales":
                eye = 1 - _rise(first, 0, 0.5)
                self.radius += size * (0.6 * size * _rise(border, 0, 0.9) + 0.05 * eye)
                self._paint(code, np.maximum(1 - _rise(border, 0.05, 0.5), 0.6 * eye))
            else:
                line = 1 - _rise(border + 0.15 * self._noise(self._d, 12), 0.15, 0.5)
                self.radius += 0.012 * line
                self._paint(code, 0.85 * line)

    def _ends(self, kind: Kind) -> None:
        code, size, points = kind.crown
        if points:  # sepals and their shadow
            edge = size * (0.4 + 0.6 * np.abs(np.cos(points / 2 * self._phi)) ** 1.5)
            away = self._theta / (edge + 0.1 * size * self._noise(self._d, 4))
            leaf = 1 - _rise(away, 0.85, 1)
            self._shade *= 1 - 0.45 * (1 - _rise(away, 0.9, 1.35)) * (1 - leaf)
            self.radius += 0.05 * leaf
            self._gloss *= 1 - 0.8 * leaf
            self._paint(code, leaf)
        elif size:
            away = self._theta / size + 0.1 * self._noise(self._d, 4)
            self._paint(code, 1 - _rise(away, 0.3, 1.3))
        if kind.tip:
            away = (np.pi - self._theta) / kind.tip + 0.2 * self._noise(self._d, 9)
            self._paint(DARK, 1 - _rise(away, 0.6, 1.4))

    def _finish(self) -> None:
        surface = self._d * self.radius * self.scale[:, None]
        surface[0] += self.bend * surface[2] ** 2
        self.hull = surface[:, ::41]
        self.stretch: Array = 1 / np.linalg.norm(self._d / self.scale[:, None], axis=0)
        maps = surface.reshape(3, 2, MAP, MAP)
        normal = np.cross(np.gradient(maps, axis=3), np.gradient(maps, axis=2), axis=0)
        normal[:, 1] *= -1  # the map of the blossom half is mirrored
        normal /= np.linalg.norm(normal, axis=0) + 1e-12
        colour = np.clip(self._albedo * np.clip(self._shade, 0.12, 1), 0, 1)
        self.skin: Array = np.concatenate(
            [normal.reshape(3, -1), colour, self._gloss[None]], dtype=np.float32
        )

    def _stem(self, code: int, length: float, thick: float, leaves: int) -> Iterator[list[float]]:
        foot = float(self.radius[MAP * (MAP + 1) // 2] * self.scale[2]) - 0.08
        pieces, taper = (3, 0.3) if leaves == 1 else (2, -0.95)
        for leaf in range(leaves if length else 0):
            lean, turn = self._rng.normal(scale=0.2), leaf * 2.4
            if leaves > 1:
                lean = 0.75 * leaf / leaves
            colour = (light(code)[:, 0] * self._rng.uniform(0.8, 1.2)).tolist()
            joints = []
            for t in np.linspace(0, 1, pieces + 1).tolist():
                z = foot + t * length * (1 - 0.4 * leaf / leaves)
                x, y = (lean * length * t**1.5 * f(turn) for f in (math.cos, math.sin))
                joints.append(([x + self.bend * z * z, y, z], thick * (1 + taper * t)))
            for (start, wide), (end, narrow) in itertools.pairwise(joints):
                yield [*start, *end, wide, narrow, *colour]
