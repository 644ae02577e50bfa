"""Renders pictures of a body: one ray per pixel, by Newton's method within bounds; then light."""

import math

import numpy as np
from numpy.typing import NDArray

from fruits.sample.bodies import MAP, Array, Body, Index

SIDE = 100  # pixels
_TILT = 12.0  # the camera looks down by these degrees
_COARSE = 20  # cells across a picture; their depths have bounds before rays are cast
_STEPS = 14  # maximum steps of a ray: most hit after three; the others nearly touch an edge

_KEY = (-0.45, 0.52, 0.73)  # direction to the softbox: upper left, in front of the body
_UNIT = (np.arange(SIDE, dtype=np.float32) + 0.5) * (2 / SIDE) - 1


def _lit(normal: Array, albedo: Array, gloss: Array | float, fuzz: float) -> Array:
    """Return colours (3, n) from 0 to 1 of surface points with these normals (3, n, view axes)."""
    x, y, z = normal
    z = np.maximum(z, 0)
    key = np.maximum(x * (0.85 * _KEY[0]) + y * (0.85 * _KEY[1]) + z * (0.85 * _KEY[2]) + 0.15, 0)
    amount = (0.1 + 0.06 * y + 1.05 * key) * (0.5 + 0.5 * z)
    mirror_x, mirror_y = np.abs(2 * z * x - _KEY[0]), np.abs(2 * z * y - _KEY[1])
    glow = np.maximum(1 - mirror_x * mirror_x - mirror_y * mirror_y, 0) ** 3
    box = np.clip(1.6 - mirror_x / 0.11, 0, 1) * np.clip(1.6 - mirror_y / 0.15, 0, 1)
    shine = gloss * z * (0.12 * glow + 0.45 * gloss * box)
    if fuzz:
        shine += fuzz * 0.35 * (1 - z) ** 2 * (key + 0.2)
    colour: Array = np.sqrt(np.minimum(albedo * amount + shine, 1))
    return colour


def _span(points: Array, view: Array) -> tuple[Array, Array]:
    """Return the largest and smallest depth (n,) at which rays at `view` (2, side, side) can hit.

    Points (3, m) of the surface bound the body in coarse cells; for a ray outside, the largest
    depth is less than the smallest.
    """
    left, top, right, bottom = *view[:, 0, 0], *view[:, -1, -1]
    across = (points[0] - left) * (_COARSE / (right - left))
    down = (points[1] - top) * (_COARSE / (bottom - top))
    cells = tuple(np.clip(i.astype(np.intp), 0, _COARSE - 1) + 1 for i in (down, across))
    spans = []
    for sign in (1, -1):
        grid = np.full((_COARSE + 2, _COARSE + 2), -9, np.float32)
        np.maximum.at(grid, cells, sign * points[2] + np.float32(0.02))
        grid = np.maximum(np.maximum(grid[:-2], grid[1:-1]), grid[2:])
        grid = np.maximum(np.maximum(grid[:, :-2], grid[:, 1:-1]), grid[:, 2:])
        wide = grid.repeat(SIDE // _COARSE, axis=0).repeat(SIDE // _COARSE, axis=1)
        spans.append(sign * wide.ravel())
    return spans[0], spans[1]


def _cast(body: Body, turn: Array, view: Array, pixel: float) -> tuple[Array, Index, Array]:
    """Follow the rays at `view` (2, side, side) to `body`; return depth, texel and miss (n,).

    A miss is the smallest distance of a ray from the body: about 0 if it hits.
    """
    inv = 1 / body.scale
    vx, vy, vz = (float(v) for v in turn[2] * inv)
    bend, tall = body.bend * float(inv[0]), float(body.scale[2])
    steep = math.sqrt(vx * vx + vy * vy + vz * vz)
    close = 0.2 * pixel * float(inv.min())
    high, low = _span(turn @ body.hull, view)
    top = high.max()
    depths, texels, misses = high.copy(), np.zeros(len(high), np.intp), np.full_like(high, 9)
    # The state of the unfinished rays: number, origin in coordinates in which the body is nearly a
    # unit sphere, depth, bounds (outside, inside), end, smallest miss so far and its texel.
    live: Index = np.flatnonzero(high > low)
    seen, low, depth = view.reshape(2, -1)[:, live], low[live], high[live]
    px, py, pz = ((seen[0] * turn[0, i] + seen[1] * turn[1, i]) * inv[i] for i in range(3))
    near, far = depth, low
    best = np.full_like(depth, 9)
    texel: Index = np.zeros(len(live), np.intp)
    for step in range(_STEPS):
        x, y, z = px + depth * vx, py + depth * vy, pz + depth * vz
        dx: Array | float = vx
        if bend:
            along = z * tall
            x -= bend * along * along
            dx = vx - (2 * bend * float(turn[2, 2])) * along
        norm = np.sqrt(x * x + y * y + z * z)
        to_map = (MAP / 2) / (norm + np.abs(z))
        index = (y * to_map + MAP / 2).astype(np.intp) * MAP
        index += (x * to_map + MAP / 2).astype(np.intp)
        index += (z < 0) * (MAP * MAP)
        miss = norm - body.radius.take(index, mode="clip")
        slope = (x * dx + y * vy + z * vz) / norm
        side = np.copysign(np.float32(99), miss)  # keeps one of the bounds, moves the other
        near = np.minimum(near, depth + (99 - side))
        far = np.maximum(far, depth - (99 + side))
        if not step:
            near[miss < 0] = top  # the bound of the cell is inside: start in front of the body
        else:
            gap = np.abs(miss)
            closer = np.flatnonzero(gap < best)
            best[closer], texel[closer] = gap[closer], index[closer]
            done = (gap < close) | (near - far < close) | (step == _STEPS - 1)
            over = np.flatnonzero(done)
            gone = live[over]
            depths[gone], texels[gone] = depth[over], texel[over]
            misses[gone] = np.where(far > low, 0, best)[over]
            keep = np.flatnonzero(~done)
            live, texel = live.take(keep), texel.take(keep)
            px, py, pz, depth, near, far, low, best, miss, slope = (
                state.take(keep) for state in (px, py, pz, depth, near, far, low, best, miss, slope)
            )
        # A ray that nearly touches must not jump over a bump, so its first steps are shorter.
        depth = depth - miss / np.maximum(slope, steep * (0.75 if step < 5 else 0.4))
        depth = np.where((depth > near) | (depth < far), (near + far) / 2, depth)
    return depths, texels, misses * body.stretch.take(texels, mode="clip")


def render(body: Body, turn: Array) -> NDArray[np.uint8]:
    """Draw a picture (SIDE, SIDE, 3) of `body`, turned by `turn` (3, 3), body to view axes."""
    seen = turn @ np.concatenate([body.hull, body.rods[:, :3].T, body.rods[:, 3:6].T], axis=1)
    low, high = seen.min(axis=1), seen.max(axis=1)
    half = float((high - low)[:2].max()) * 0.505
    pixel = 2 * half / SIDE
    view = np.empty((2, SIDE, SIDE), np.float32)
    view[0] = (low[0] + high[0]) / 2 + half * _UNIT
    view[1] = (low[1] + high[1]) / 2 - half * _UNIT[:, None]
    depth, texel, miss = _cast(body, turn, view, pixel)
    cover = np.clip(1.2 - miss / pixel, 0, 1)
    depth[cover == 0] = -9
    hit = np.flatnonzero(cover)
    skin = body.skin.take(texel[hit], axis=1, mode="clip")
    x, y, z = skin[:3]
    normal = np.stack([x * turn[i, 0] + y * turn[i, 1] + z * turn[i, 2] for i in range(3)])
    picture = np.ones((3, SIDE * SIDE), np.float32)
    picture[:, hit] += (_lit(normal, skin[3:6], skin[6], body.fuzz) - 1) * cover[hit]
    canvas, front = picture.reshape(3, SIDE, SIDE), depth.reshape(SIDE, SIDE)
    for rod in body.rods:
        _draw_rod(canvas, front, view, pixel, turn, rod)
    return np.ascontiguousarray((canvas * 255 + 0.5).astype(np.uint8).transpose(1, 2, 0))


def _draw_rod(
    picture: Array, front: Array, view: Array, pixel: float, turn: Array, rod: Array
) -> None:
    """Draw a piece of a stem into `picture` (3, n, n) where no depth in `front` (n, n) hides it."""
    start, end = turn @ rod[:3], turn @ rod[3:6]
    reach = float(rod[6:8].max()) + pixel
    low, high = np.minimum(start, end) - reach, np.maximum(start, end) + reach
    cols = slice(*np.searchsorted(view[0, 0], [low[0], high[0]]))
    rows = slice(*np.searchsorted(-view[1, :, 0], [-high[1], -low[1]]))
    picture, front, view = picture[:, rows, cols], front[rows, cols], view[:, rows, cols]
    way = end - start
    x, y = view[0] - start[0], view[1] - start[1]
    t = np.clip((x * way[0] + y * way[1]) / (way[0] ** 2 + way[1] ** 2 + 1e-6), 0, 1)
    x, y = x - t * way[0], y - t * way[1]
    thick = rod[6] + t * (rod[7] - rod[6])
    off = np.sqrt(x * x + y * y)
    up = np.sqrt(np.maximum(thick * thick - off * off, 0))
    depth = start[2] + t * way[2] + up
    cover = np.clip((thick - off) / pixel + 0.5, 0, 1) * (depth > front)
    normal = np.stack([x, y, up]) / np.maximum(thick, off)
    picture += (_lit(normal, rod[8:, None, None], 0.1, 0) - picture) * cover
    np.copyto(front, depth, where=cover > 0.5)


def _about(axis: int, degrees: float) -> Array:
    """Return the rotation (3, 3) about an axis."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turn = np.eye(3, dtype=np.float32)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    turn[i, i], turn[i, j], turn[j, i], turn[j, j] = c, -s, s, c
    return turn


def turned(lying: float, angle: float) -> Array:
    """Return the rotation (3, 3) from body axes to view axes (x right, y up, z to the camera)."""
    turn = _about(0, _TILT) @ _about(1, angle) @ _about(2, lying) @ _about(0, -90)
    return turn.astype(np.float32)
