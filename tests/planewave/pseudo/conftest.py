"""Pseudopotential files written from analytic functions, so that readers have an exact answer.

The functions are Goedecker, Teter and Hutter's (Hartwigsen, Goedecker, Hutter, Phys. Rev. B 58,
3641 (1998), eqs. 1 and 3) written down here in real space, with the parameters of one potential
with two s and one p projector, plus Gaussians for the core and the valence density.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import gamma, pi, sqrt
from pathlib import Path

import numpy as np
import pytest
from scipy.special import erf

ENTRY = """
    2    2
     0.44000000    2    -6.26928833     0.10000000
    2
     0.43563383    2     8.95174150    -2.70627082
                                        3.49378060
     0.49794218    1     2.43127673
"""


def local_potential(r: np.ndarray, z: float, r_loc: float, c: tuple[float, ...]) -> np.ndarray:
    x = np.maximum(r, 1e-10) / r_loc
    short = sum(c_i * x ** (2 * i) for i, c_i in enumerate(c))
    return -z / (x * r_loc) * erf(x / sqrt(2)) + np.exp(-(x**2) / 2) * short


def projector(r: np.ndarray, l: int, i: int, r_l: float) -> np.ndarray:
    """p_i^l(r), i = 1, 2, ..."""
    power = l + (4 * i - 1) / 2
    front = sqrt(2) / (r_l**power * sqrt(gamma(power)))
    return front * r ** (l + 2 * (i - 1)) * np.exp(-(r**2) / (2 * r_l**2))


@dataclass
class Analytic:
    """A silicon-like potential in real space."""

    valence: float = 4.0
    r_loc: float = 0.44
    c: tuple[float, ...] = (-6.26928833, 0.1)
    radii: tuple[float, float] = (0.43563383, 0.49794218)
    h: dict[int, np.ndarray] = field(
        default_factory=lambda: {
            0: np.array([[8.95174150, -2.70627082], [-2.70627082, 3.49378060]]),
            1: np.array([[2.43127673]]),
        }
    )
    core_width: float = 0.5  # 0.7 electrons in a Gaussian
    core_charge: float = 0.7
    density_width: float = 1.1

    def local(self, r: np.ndarray) -> np.ndarray:
        return local_potential(r, self.valence, self.r_loc, self.c)

    def projectors(self, l: int, r: np.ndarray) -> np.ndarray:
        return np.array([projector(r, l, i + 1, self.radii[l]) for i in range(len(self.h[l]))])

    def core(self, r: np.ndarray) -> np.ndarray:
        return self.core_charge * gaussian(r, self.core_width)

    def density(self, r: np.ndarray) -> np.ndarray:
        return self.valence * gaussian(r, self.density_width)


def gaussian(r: np.ndarray, width: float) -> np.ndarray:
    return np.exp(-(r**2) / (2 * width**2)) / (2 * pi * width**2) ** 1.5


@pytest.fixture
def analytic() -> Analytic:
    return Analytic()


@pytest.fixture
def gth_lines() -> list[str]:
    """The same potential in CP2K's format."""
    return ENTRY.splitlines()


@pytest.fixture
def psp8_text(analytic: Analytic) -> Callable[..., str]:
    """Builder of a psp8 file; keywords change one thing at a time."""

    def build(
        charge: float = 14.0, code: int = 8, ixc: int = 11, extension: int = 1, h: float = 0.01
    ) -> str:
        r = h * np.arange(int(9.0 / h) + 1)
        lines = ["Si synthetic  r_core= 1.0", f"{charge} {analytic.valence} 200101 zatom,zion,pspd"]
        lines.append(f"{code} {ixc} 1 4 {len(r)} 0 pspcod,pspxc,lmax,lloc,mmax,r2well")
        lines += ["9.0 5.0 0.0 rchrg fchrg qchrg", "2 1 0 0 0 nproj"]
        lines.append(f"{extension} 1 extension_switch")

        def block(head: str, *columns: np.ndarray) -> None:
            lines.append(head) if head else None
            for i, row in enumerate(zip(r, *columns)):
                numbers = " ".join(f"{x:.16e}".replace("e", "D") for x in row)
                lines.append(f"{i + 1} {numbers}")

        for l, h_ij in analytic.h.items():
            # psp8 holds diagonal couplings only
            energies, vectors = np.linalg.eigh(h_ij)
            head = f"{l} " + " ".join(f"{e:.16e}".replace("e", "D") for e in energies)
            block(head, *(r * (vectors.T @ analytic.projectors(l, r))))
        block("4", analytic.local(r))
        zero = np.zeros_like(r)
        block("", 4 * pi * analytic.core(r), zero, zero, zero, zero)
        if extension == 1:
            block("", 4 * pi * analytic.density(r), zero, zero)
        return "\n".join([*lines, "<INPUT>", "anything", "</INPUT>", ""])

    return build


@pytest.fixture
def upf_text(analytic: Analytic) -> Callable[..., str]:
    """Builder of a UPF file on a linear or a logarithmic mesh."""

    def build(mesh: str = "linear", core: bool = True, **header: str) -> str:
        if mesh == "linear":
            r = 0.01 * np.arange(1201)
            rab = np.full_like(r, 0.01)
        else:
            r = 1e-5 * np.exp(0.0125 * np.arange(1130))
            rab = 0.0125 * r

        def numbers(values: np.ndarray) -> str:
            rows = np.array_split(values, max(len(values) // 4, 1))
            return "\n".join(" ".join(f"{x:.15E}" for x in row) for row in rows)

        def tag(name: str, values: np.ndarray, attributes: str = "") -> str:
            size = f'type="real" size="{values.size}"'
            return f"<{name} {size} {attributes}>\n{numbers(values.ravel())}\n</{name}>"

        attributes = {
            "element": "Si",
            "pseudo_type": "NC",
            "is_ultrasoft": "F",
            "is_paw": ".false.",
            "is_coulomb": "F",
            "has_so": "F",
            "core_correction": "T",
            "functional": "SLA PW PBX PBC",
            "z_valence": f"   {analytic.valence:.2f}",
            "number_of_proj": "3",
        } | header
        betas, d = [], np.zeros((3, 3))
        for l, h_ij in analytic.h.items():
            start = len(betas)
            d[start : start + len(h_ij), start : start + len(h_ij)] = 2 * h_ij  # Rydberg
            for p in analytic.projectors(l, r):
                angular = f'angular_momentum="{l}" cutoff_radius_index="{len(r)}"'
                betas.append(tag(f"PP_BETA.{len(betas) + 1}", r * p, angular))
        parts = [
            '<UPF version="2.0.1">',
            "<PP_INFO> free text with <brackets & ampersands </PP_INFO>",
            "<PP_HEADER " + " ".join(f'{k}="{v}"' for k, v in attributes.items()) + "/>",
            "<PP_MESH>",
            tag("PP_R", r),
            tag("PP_RAB", rab),
            "</PP_MESH>",
            tag("PP_LOCAL", 2 * analytic.local(r)),
            *([tag("PP_NLCC", analytic.core(r))] if core else []),
            "<PP_NONLOCAL>",
            *betas,
            tag("PP_DIJ", d),
            "</PP_NONLOCAL>",
            tag("PP_RHOATOM", 4 * pi * r**2 * analytic.density(r)),
            "</UPF>",
        ]
        return "\n".join(parts) + "\n"

    return build


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    def write_file(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write_file
