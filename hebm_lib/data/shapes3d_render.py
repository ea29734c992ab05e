"""``shapes3d-render``: our stand-in for 3D Shapes (Burgess and Kim 2018), drawn on demand, so that nobody needs to download it.

A room with a floor and walls, and one object in its middle. Six factors, as many values of each as in the original, every
combination once: 480,000 images of 64×64 in the original's order (`FACTORS`, the last changes fastest). It is a scene of the
same kind with a camera, a light and sizes of our own; its numbers are not 3D Shapes' numbers.

Rays are cast once for each of the 480 combinations of scale, shape and orientation. What they find is kept as four maps:
how much of the floor's colour, the walls' and the object's each pixel takes, and how much white (the highlight). Any image
is then ``floor · c_floor + wall · c_wall + object · c_object + white``. Light that one coloured thing throws on another is
left out: so a hue changes the pixels of its own thing only.

Maps are whole numbers of 1/4096, colours of 1/255, and their products stay below 2²⁴, where float32 is exact: the same
images on every machine.
"""

import colorsys
import functools
import math

import torch
from torch import Tensor

__all__ = ["FACTORS", "SHAPES", "factor_values", "grid_index", "grid_size", "render_shapes"]

FACTORS = {"floor hue": 10, "wall hue": 10, "object hue": 10, "scale": 8, "shape": 4, "orientation": 15}
"""The factors and how many values each has, in the order of the grid."""
SHAPES = ("cube", "cylinder", "sphere", "capsule")

SIDE, RAYS = 64, 3
"""Side of an image in pixels; rays per pixel in each direction."""
UNIT = 4096
SCALES = tuple(0.75 + 0.5 * i / 7 for i in range(8))
ANGLES = tuple(math.radians(-30 + 60 * i / 14) for i in range(15))
"""Where the camera stands on its circle around the object."""

DISTANCE, HEIGHT, AIM, VIEW = 4.3, 2.75, 0.72, math.radians(44)
"""The camera: its distance from the object's axis, its height, the height that it looks at, its angle of view."""
ROOM, CEILING = 4.6, 5.0
"""Half the side of the square room; the height over which its walls grow darker."""
LIGHT = (-0.45, -0.62, 1.0)
"""Where the light comes from, in the room's coordinates: from the left, above the camera."""
SOFTNESS = 0.14
"""Radius of the lamp, as seen from the floor, for shadows with a soft edge."""
CUBE, CYLINDER, BALL, CAPSULE = 0.62, (0.66, 1.3), 0.76, (0.52, 1.75)
"""Sizes at scale 1: half the cube's side; radius and height; radius; radius and height."""


def grid_size() -> int:
    """480,000: all combinations of the factors."""
    return math.prod(FACTORS.values())


def factor_values(indices: Tensor) -> Tensor:
    """The six factors of images by their number in the grid: ``(n,)`` whole numbers to ``(n, 6)``, each from 0.

    Raises:
        ValueError: for a number outside of the grid.

    Example:
        >>> factor_values(torch.tensor([0, 14, 15, 479_999])).tolist()
        [[0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 14], [0, 0, 0, 0, 1, 0], [9, 9, 9, 7, 3, 14]]
    """
    if len(indices) and not (0 <= int(indices.min()) and int(indices.max()) < grid_size()):
        raise ValueError(
            f"images are numbered 0 … {grid_size() - 1:,}, got {int(indices.min())} … {int(indices.max())}"
        )
    return torch.stack(torch.unravel_index(indices.long(), tuple(FACTORS.values())), 1)


def grid_index(factors: Tensor) -> Tensor:
    """Numbers of images in the grid by their factors, ``(n, 6)`` to ``(n,)``: the inverse of `factor_values`.

    Raises:
        ValueError: for a value that a factor does not have.

    Example:
        >>> grid_index(torch.tensor([[0, 0, 0, 0, 1, 0], [9, 9, 9, 7, 3, 14]])).tolist()
        [15, 479999]
    """
    counts = torch.tensor(list(FACTORS.values()))
    if factors.ndim != 2 or factors.shape[1] != len(FACTORS):
        raise ValueError(f"expected six factors per image, (n, 6), got {tuple(factors.shape)}")
    if bool(((factors < 0) | (factors >= counts)).any()):
        raise ValueError("each factor counts from 0: " + ", ".join(f"{name} to {n - 1}" for name, n in FACTORS.items()))
    strides = torch.cat([counts.flip(0).cumprod(0).flip(0)[1:], torch.ones(1, dtype=torch.int64)])
    return (factors.long() * strides).sum(1)


def render_shapes(indices: Tensor) -> Tensor:
    """Images by their number in the grid, ``(n, 3, 64, 64)`` uint8.

    The first call with a new combination of scale, shape and orientation casts its rays, which takes some hundredths of a
    second; what was cast is kept (16 MB for all 480).

    Args:
        indices: ``(n,)`` whole numbers from 0 to 479,999.

    Raises:
        ValueError: for a number outside of the grid.

    Example:
        >>> render_shapes(torch.tensor([0, 240_000])).shape
        torch.Size([2, 3, 64, 64])
    """
    factors = factor_values(indices)
    geometry = (factors[:, 3] * FACTORS["shape"] + factors[:, 4]) * FACTORS["orientation"] + factors[:, 5]
    colours = hues()[factors[:, :3]]  # (n, things, RGB)
    colours = torch.cat([colours, torch.full((len(indices), 1, 3), 255.0)], 1)
    images = torch.empty(len(indices), SIDE * SIDE, 3, dtype=torch.uint8)
    for start in range(0, len(indices), 512):
        some = slice(start, start + 512)
        used, place = geometry[some].unique(return_inverse=True)
        maps = torch.stack([cast(int(g)) for g in used]).float()
        pixels = torch.bmm(maps[place], colours[some])  # whole numbers below 2²⁴: exact in any order of adding
        images[some] = pixels.add_(UNIT / 2).div_(UNIT).floor_().clamp_(max=255).to(torch.uint8)
    return images.view(-1, SIDE, SIDE, 3).permute(0, 3, 1, 2).contiguous()


@functools.cache
def hues() -> Tensor:
    """The ten colours of a thing, ``(10, 3)``, whole numbers up to 255: hues at equal distances from red on."""
    n = FACTORS["floor hue"]
    return torch.tensor([[round(255 * c) for c in colorsys.hsv_to_rgb(i / n, 0.94, 0.98)] for i in range(n)]).float()


@functools.cache
def cast(geometry: int) -> Tensor:
    """The four maps of one scale, shape and orientation, ``(4096, 4)`` int16: floor, wall, object, white, in 1/4096."""
    rest, orientation = divmod(geometry, FACTORS["orientation"])
    scale, shape = divmod(rest, FACTORS["shape"])
    eye, rays, room_maps = cast_room(orientation)
    size = SCALES[scale]
    # An object stands on the floor around the origin: seen from eye / size it has scale 1.
    depth, normal = HITS[SHAPES[shape]](eye / size, rays)
    hit, light = torch.isfinite(depth), torch.tensor(LIGHT, dtype=torch.float64)
    light = light / light.norm()
    back = -rays / rays.norm(dim=1, keepdim=True)
    lit = (normal @ light).clamp_min(0)
    up = 0.5 + 0.5 * normal[:, 2]
    mirrored = 2 * (normal @ light)[:, None] * normal - light
    white = 0.42 * (mirrored * back).sum(1).clamp_min(0) ** 28 * (lit > 0)
    maps = room_maps.clone()
    maps[:, 0] *= 1 - 0.62 * shadow_on_floor(shape, eye, rays, size)
    maps[hit] = 0
    maps[:, 2] = torch.where(hit, 0.26 + 0.16 * up + 0.56 * lit, 0)
    maps[:, 3] = torch.where(hit, white, 0)
    maps = maps.view(SIDE, RAYS, SIDE, RAYS, 4).mean((1, 3)).view(SIDE * SIDE, 4)
    return (maps * UNIT).round().to(torch.int16)


@functools.cache
def cast_room(orientation: int) -> tuple[Tensor, Tensor, Tensor]:
    """The empty room from one place of the camera: eye ``(3,)``, rays ``(m, 3)`` and maps ``(m, 4)`` of all rays."""
    angle = ANGLES[orientation]
    eye = torch.tensor([DISTANCE * math.sin(angle), -DISTANCE * math.cos(angle), HEIGHT], dtype=torch.float64)
    forward = torch.tensor([0.0, 0.0, AIM], dtype=torch.float64) - eye
    forward = forward / forward.norm()
    right = torch.linalg.cross(forward, torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64))
    right = right / right.norm()
    up = torch.linalg.cross(right, forward)
    n = SIDE * RAYS
    across = ((torch.arange(n, dtype=torch.float64) + 0.5) / n * 2 - 1) * math.tan(VIEW / 2)
    rays = (forward + across[None, :, None] * right - across[:, None, None] * up).reshape(-1, 3)
    down = torch.where(rays[:, 2] < 0, -eye[2] / rays[:, 2], math.inf)
    walls = (torch.sign(rays[:, :2]) * ROOM - eye[:2]) / rays[:, :2]
    to_wall, which = walls.min(1)
    floor = down < to_wall
    place = eye + torch.minimum(down, to_wall)[:, None] * rays
    from_walls = (ROOM - place[:, :2].abs()).amin(1).clamp_min(0)
    on_floor = (0.98 - 0.028 * place[:, :2].norm(dim=1)) * (1 - 0.22 * torch.exp(-from_walls / 0.35))
    # Each wall faces the light in its own way, grows darker upwards, and is darker where it meets floor and next wall.
    axis, side = which, torch.sign(rays.gather(1, which[:, None])[:, 0])
    facing = torch.where(axis == 1, torch.where(side > 0, 0.88, 0.7), torch.where(side > 0, 0.76, 0.62))
    corner = (ROOM - place.gather(1, (1 - axis)[:, None])[:, 0].abs()).clamp_min(0)
    edges = (1 - 0.18 * torch.exp(-place[:, 2].clamp_min(0) / 0.3)) * (1 - 0.14 * torch.exp(-corner / 0.35))
    on_wall = facing * edges * (1 - 0.16 * place[:, 2].clamp_min(0) / CEILING)
    zero = torch.zeros_like(on_wall)
    maps = torch.stack([torch.where(floor, on_floor, zero), torch.where(floor, zero, on_wall), zero, zero], 1)
    return eye, rays, maps


def shadow_on_floor(shape: int, eye: Tensor, rays: Tensor, size: float) -> Tensor:
    """Share of the lamp that the object hides, where rays meet the floor; 0 for others."""
    down = torch.where(rays[:, 2] < 0, -eye[2] / rays[:, 2], 0.0)
    spots = (eye + down[:, None] * rays)[:, :2] / size  # in the units of the object at scale 1
    grid = (spots / REACH).clamp(-1, 1).view(1, 1, -1, 2)
    hidden = torch.nn.functional.grid_sample(shadow_map(shape)[None, None], grid, align_corners=True)
    return torch.where(down > 0, hidden.view(-1), 0.0)


REACH = 3.2
"""The shadow lies within this distance of the object, both at scale 1."""


@functools.cache
def shadow_map(shape: int, cells: int = 129) -> Tensor:
    """Share of the lamp that an object of scale 1 hides from places on the floor within `REACH`, ``(cells, cells)``."""
    axis = torch.linspace(-REACH, REACH, cells, dtype=torch.float64)
    x, y = torch.meshgrid(axis, axis, indexing="xy")
    spots = torch.stack([x.flatten(), y.flatten(), torch.full((cells**2,), 1e-9, dtype=torch.float64)], 1)
    hidden = torch.zeros(cells**2, dtype=torch.float64)
    points = [(i / 3, j / 3) for i in range(-3, 4) for j in range(-3, 4) if i * i + j * j <= 9]
    for i, j in points:
        toward = torch.tensor([LIGHT[0] + SOFTNESS * i, LIGHT[1] + SOFTNESS * j, LIGHT[2]], dtype=torch.float64)
        depth, _ = HITS[SHAPES[shape]](spots, toward.expand_as(spots))
        hidden += torch.isfinite(depth)
    return (hidden / len(points)).view(cells, cells)


# ---- where a ray meets an object of scale 1 that stands on the floor -----------------------------------------------
# Each takes where rays start, (3,) or (n, 3), and where they go, (n, 3); it gives how far, in lengths of the ray and infinite
# for a miss, and the normal there.


def hit_cube(start: Tensor, ray: Tensor) -> tuple[Tensor, Tensor]:
    middle = torch.tensor([0.0, 0.0, CUBE], dtype=torch.float64)
    safe = torch.where(ray.abs() < 1e-12, 1e-12, ray)
    enter = (-torch.sign(safe) * CUBE - (start - middle)) / safe
    leave = (torch.sign(safe) * CUBE - (start - middle)) / safe
    depth, axis = enter.max(1)
    depth = torch.where((depth < leave.amin(1)) & (depth > 0), depth, math.inf)
    normal = torch.zeros_like(ray).scatter_(1, axis[:, None], -torch.sign(safe.gather(1, axis[:, None])))
    return depth, normal


def hit_ball(start: Tensor, ray: Tensor, radius: float = BALL, height: float = BALL) -> tuple[Tensor, Tensor]:
    offset = start - torch.tensor([0.0, 0.0, height], dtype=torch.float64)
    depth = first_root(ray.square().sum(1), (offset * ray).sum(-1), offset.square().sum(-1) - radius**2)
    return depth, (offset + finite(depth) * ray) / radius


def hit_tube(start: Tensor, ray: Tensor, radius: float, low: float, high: float) -> tuple[Tensor, Tensor]:
    """The side of an upright cylinder between two heights."""
    flat, across = start[..., :2], ray[:, :2]
    depth = first_root(across.square().sum(1), (flat * across).sum(-1), flat.square().sum(-1) - radius**2)
    place = start + finite(depth) * ray
    depth = torch.where((place[:, 2] >= low) & (place[:, 2] <= high), depth, math.inf)
    normal = torch.cat([place[:, :2] / radius, torch.zeros_like(place[:, 2:])], 1)
    return depth, normal


def hit_cylinder(start: Tensor, ray: Tensor) -> tuple[Tensor, Tensor]:
    radius, height = CYLINDER
    side = hit_tube(start, ray, radius, 0.0, height)
    depth = (height - start[..., 2]) / torch.where(ray[:, 2].abs() < 1e-12, 1e-12, ray[:, 2])
    place = start + depth[:, None] * ray
    lid = torch.where((place[:, :2].square().sum(1) <= radius**2) & (depth > 0), depth, math.inf)
    return nearest_hit(side, (lid, torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64).expand_as(ray)))


def hit_capsule(start: Tensor, ray: Tensor) -> tuple[Tensor, Tensor]:
    radius, height = CAPSULE
    ends = [hit_ball(start, ray, radius, at) for at in (radius, height - radius)]
    return nearest_hit(nearest_hit(*ends), hit_tube(start, ray, radius, radius, height - radius))


def first_root(a: Tensor, half_b: Tensor, c: Tensor) -> Tensor:
    """The smaller positive root of ``a t² + 2 half_b t + c``; infinite where there is none."""
    under = half_b.square() - a * c
    root = (-half_b - under.clamp_min(0).sqrt()) / a.clamp_min(1e-12)
    return torch.where((under > 0) & (root > 0), root, math.inf)


def finite(depth: Tensor) -> Tensor:
    return torch.where(torch.isfinite(depth), depth, 0.0)[:, None]


def nearest_hit(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    closer = one[0] <= other[0]
    return torch.where(closer, one[0], other[0]), torch.where(closer[:, None], one[1], other[1])


HITS = {"cube": hit_cube, "cylinder": hit_cylinder, "sphere": hit_ball, "capsule": hit_capsule}
