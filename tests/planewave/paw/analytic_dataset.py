"""A PAW dataset of analytic functions, written as a PAW-XML file, so that any clone can test it.

Smooth partial waves are r^l exp(-a r^2); all-electron ones are these plus r^l c (1 - (r/R)^2)^4
inside the radius R. Core densities, the zero potential and projectors are made of the same kind of
bump. The element is called beryllium for its four electrons, and has nothing else of it.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import beta

from deepchem_xc.planewave.paw.meshes import mesh_of_equation

Function = Callable[[NDArray], NDArray]

RADIUS = 1.5
CHARGE, CORE, VALENCE = 4.0, 2.0, 2.0
# l, exponent a of the smooth wave, height c of the bump; the first is the bound state.
CHANNELS = ((0, 0.35, 1.4), (0, 0.9, -0.8), (1, 0.45, 1.1), (1, 1.1, -0.6), (2, 0.7, 0.9))
NAMES = ("Be-2s", "Be-s1", "Be-2p", "Be-p1", "Be-d1")
# Kinetic energy differences: any symmetric matrix that does not mix l.
KINETIC = np.array(
    [
        [0.9, -0.3, 0.0, 0.0, 0.0],
        [-0.3, 0.5, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.7, 0.2, 0.0],
        [0.0, 0.0, 0.2, -0.4, 0.0],
        [0.0, 0.0, 0.0, 0.0, 0.3],
    ]
)
ENERGIES = {"kinetic": 14.5, "xc": -2.7, "electrostatic": -26.2, "total": -14.4}
CORE_KINETIC = 12.75
# Parameters of meshes by their equations, and the number of points; all reach beyond 8 bohr.
MESHES: dict[str, tuple[dict[str, float], int]] = {
    "r=a*i/(1-b*i)": ({"a": 0.0008, "b": 0.00045}, 2001),
    "r=a*i/(n-i)": ({"a": 0.5, "n": 900.0}, 880),
    "r=d*i": ({"d": 0.004}, 2501),
    "r=a*(exp(d*i)-1)": ({"a": 0.02, "d": 0.0045}, 1501),
    "r=(i/n+a)^5/a-a^4": ({"a": 0.3, "n": 1500.0}, 1501),
}


def bump(r: NDArray, power: int) -> NDArray:
    """(1 - (r / R)^2)^power inside R, and zero outside."""
    return np.maximum(1.0 - (np.asarray(r) / RADIUS) ** 2, 0.0) ** power


def _integral(power: int) -> float:
    """int r^2 bump dr."""
    return 0.5 * RADIUS**3 * float(beta(1.5, power + 1.0))


def smooth_wave(channel: int) -> Function:
    l, exponent, _ = CHANNELS[channel]
    return lambda r: _norm(channel) * r**l * np.exp(-exponent * r**2)


def wave(channel: int) -> Function:
    l, exponent, height = CHANNELS[channel]
    return lambda r: _norm(channel) * r**l * (np.exp(-exponent * r**2) + height * bump(r, 4))


@cache
def _norm(channel: int) -> float:
    """1 / norm of a bound all-electron wave; unbound ones are left as they are."""
    if channel > 0:
        return 1.0
    l, exponent, height = CHANNELS[channel]
    r, weights = quadrature(0.0, RADIUS, 10.0)
    values = r**l * (np.exp(-exponent * r**2) + height * bump(r, 4))
    return float((weights * r**2 * values**2).sum()) ** -0.5


def quadrature(*ends: float, count: int = 28) -> tuple[NDArray, NDArray]:
    """Gauss-Legendre points and weights in the intervals between the ends."""
    x, w = np.polynomial.legendre.leggauss(count)
    parts = [(0.5 * (b - a) * (x + 1.0) + a, 0.5 * (b - a) * w) for a, b in zip(ends, ends[1:])]
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


def smooth_core(r: NDArray) -> NDArray:
    """Coefficient of Y_00."""
    return 0.11 * np.exp(-1.2 * r**2)


def core(r: NDArray) -> NDArray:
    """Coefficient of Y_00; it holds `CORE` electrons."""
    tail = 0.11 * 0.25 * np.sqrt(np.pi / 1.2**3)
    height = (CORE / np.sqrt(4.0 * np.pi) - tail) / _integral(12)
    return smooth_core(r) + height * bump(r, 12)


def zero_potential(r: NDArray) -> NDArray:
    """Coefficient of Y_00."""
    return -1.3 * bump(r, 3)


@dataclass(frozen=True)
class AnalyticFile:
    """The content of the file; tests change one thing at a time.

    `elements` replaces whole elements by their names: a text, or None to leave them out. Partial
    waves and projectors may be on a mesh of their own, the first `short` points.
    """

    equation: str = "r=a*i/(1-b*i)"
    count: int | None = None
    shape: str = "gauss"
    shape_radius: float = 0.45
    short: int | None = None
    root: str = "paw_dataset"
    functions: Mapping[str, NDArray] = field(default_factory=dict)
    elements: Mapping[str, str | None] = field(default_factory=dict)

    @cached_property
    def r(self) -> NDArray:
        return self._grid.r

    @cached_property
    def _grid(self):
        parameters, count = MESHES[self.equation]
        last = (count if self.count is None else self.count) - 1
        return mesh_of_equation(self.equation, 0, last, parameters.__getitem__)

    def projectors(self) -> NDArray:
        """Dual to the smooth waves in the mesh's own sums."""
        l = np.array([c[0] for c in CHANNELS])
        base = np.array(
            [self.r**k * bump(self.r, 3) * np.exp(-a * self.r**2) for k, a, _ in CHANNELS]
        )
        smooth = np.array([smooth_wave(j)(self.r) for j in range(len(CHANNELS))])
        overlap = self._grid.integrate(base[:, None] * smooth[None])
        overlap = np.where(l[:, None] == l, overlap, 0.0)
        return np.linalg.solve(overlap, base)

    def text(self) -> str:
        """Content of the file."""
        changes = {name: text or "" for name, text in self.elements.items()}
        parts = [
            f'<?xml version="1.0"?>\n<{self.root} version="0.7">',
            *(self.parts() | changes).values(),
        ]
        return "\n".join([*parts, f"</{self.root}>", ""])

    def parts(self) -> dict[str, str]:
        """Elements by their names; those of one name together."""
        parameters, _ = MESHES[self.equation]
        written = " ".join(f'{name}="{value!r}"' for name, value in parameters.items())
        energies = " ".join(f'{name}="{value}"' for name, value in ENERGIES.items())
        bound = ['n="2" f="2" ', "", "", "", ""]
        states = [
            f'<state {b}l="{l}" rc="{RADIUS}" e="{0.1 * j - 0.2}" id="{name}"/>'
            for j, (b, (l, _, _), name) in enumerate(zip(bound, CHANNELS, NAMES))
        ]
        parts = {
            "atom": f'<atom symbol="Be" Z="{CHARGE}" core="{CORE}" valence="{VALENCE}"/>',
            "xc_functional": '<xc_functional type="GGA" name="PBE"/>',
            "ae_energy": f"<ae_energy {energies}/>",
            "core_energy": f'<core_energy kinetic="{CORE_KINETIC}"/>',
            "valence_states": "<valence_states>" + "".join(states) + "</valence_states>",
            "radial_grid": "".join(
                f'<radial_grid eq="{self.equation}" {written} istart="0" iend="{n - 1}" '
                f'id="{mesh}"/>'
                for mesh, n in (("long", len(self.r)), ("short", self.short or len(self.r)))
            ),
            "shape_function": f'<shape_function type="{self.shape}" rc="{self.shape_radius}"/>',
        }
        values = {
            "ae_core_density": core(self.r),
            "pseudo_core_density": smooth_core(self.r),
            "zero_potential": zero_potential(self.r),
        }
        for name, numbers in values.items():
            parts[name] = self._function(name, numbers)
        for kind, functions in (
            ("ae_partial_wave", [wave(j)(self.r) for j in range(len(NAMES))]),
            ("pseudo_partial_wave", [smooth_wave(j)(self.r) for j in range(len(NAMES))]),
            ("projector_function", list(self.projectors())),
        ):
            parts[kind] = "".join(
                self._function(kind, values[: self.short], f' state="{name}"', "short")
                for name, values in zip(NAMES, functions)
            )
        numbers = " ".join(repr(float(x)) for x in KINETIC.ravel())
        parts["kinetic_energy_differences"] = (
            f"<kinetic_energy_differences>{numbers}</kinetic_energy_differences>"
        )
        return parts

    def _function(
        self, name: str, values: NDArray, attributes: str = "", mesh: str = "long"
    ) -> str:
        values = self.functions.get(name, values)
        numbers = " ".join(repr(float(x)) for x in values)
        return f'<{name} grid="{mesh}"{attributes}>{numbers}</{name}>'

    def write(self, path: Path) -> Path:
        """Write the file, packed if its name ends in .gz."""
        content = self.text().encode()
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
        return path

    def but(self, **changes: object) -> AnalyticFile:
        """The same with changes."""
        return replace(self, **changes)
