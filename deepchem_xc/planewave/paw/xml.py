"""Reader of PAW-XML files, the format of GPAW's datasets and of ABINIT's JTH tables.

The format is described at https://esl.cecam.org/data/paw-xml; functions of radius are stored there
as coefficients of real spherical harmonics, in Hartree and bohr.
"""

from __future__ import annotations

import gzip
import math
import os
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from .dataset import PartialWave, PAWDataset, ReferenceEnergies
from .radial_grid import RadialGrid

__all__ = ["read_paw_xml"]


def read_paw_xml(path: str | os.PathLike, symbol: str) -> PAWDataset:
    """Read a PAW dataset.

    Parameters
    ----------
    path : str or path
        The file, .xml or without an ending as in GPAW's packages; .gz may follow.
    symbol : str
        Chemical symbol that it must have.

    Returns
    -------
    PAWDataset

    Raises
    ------
    ValueError
        If the file is damaged, lacks a quantity, or is for another element.
    FileNotFoundError
        If there is no such file.
    """
    path = Path(path)
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    root = ElementTree.fromstring(content)
    atom = _child(root, "atom")
    if atom.get("symbol", "").strip() != symbol:
        raise ValueError(f"{path} is a dataset of {atom.get('symbol')}, not of {symbol}")
    grid = _grid(_child(root, "radial_grid"))
    spherical = math.sqrt(4.0 * math.pi)

    def density(name: str) -> NDArray:
        return _numbers(_child(root, name)) / spherical

    def optional(name: str) -> NDArray | None:
        return None if root.find(name) is None else density(name)

    def wave(kind: str, identity: str) -> NDArray:
        for element in root.findall(kind):
            if element.get("state") == identity:
                return _numbers(element)
        raise ValueError(f"{path} has no {kind} of state {identity!r}")

    waves = []
    for state in _child(root, "valence_states").findall("state"):
        identity = state.attrib["id"]
        n = state.get("n")
        waves.append(
            PartialWave(
                l=int(state.attrib["l"]),
                n=None if n is None or int(n) <= 0 else int(n),
                occupation=float(state.get("f", 0.0)),
                energy=float(state.get("e", 0.0)),
                cutoff=float(state.attrib["rc"]),
                all_electron=wave("ae_partial_wave", identity),
                smooth=wave("pseudo_partial_wave", identity),
                projector=wave("projector_function", identity),
            )
        )
    energies = _child(root, "ae_energy").attrib
    shape = _child(root, "shape_function").attrib
    differences = _numbers(_child(root, "kinetic_energy_differences"))
    return PAWDataset(
        symbol=symbol,
        name=path.name,
        functional=_child(root, "xc_functional").get("name"),
        charge=float(atom.attrib["Z"]),
        core=float(atom.attrib["core"]),
        valence=float(atom.attrib["valence"]),
        grid=grid,
        waves=tuple(waves),
        shape=shape["type"],
        shape_radius=float(shape["rc"]),
        core_density=density("ae_core_density"),
        smooth_core_density=density("pseudo_core_density"),
        core_kinetic_density=optional("ae_core_kinetic_energy_density"),
        smooth_core_kinetic_density=optional("pseudo_core_kinetic_energy_density"),
        zero_potential=density("zero_potential"),
        kinetic_differences=differences.reshape(len(waves), len(waves)),
        reference=ReferenceEnergies(
            kinetic=float(energies["kinetic"]),
            xc=float(energies["xc"]),
            electrostatic=float(energies["electrostatic"]),
            core_kinetic=float(_child(root, "core_energy").attrib["kinetic"]),
        ),
    )


def _child(root: ElementTree.Element, name: str) -> ElementTree.Element:
    found = root.find(name)
    if found is None:
        raise ValueError(f"the PAW dataset has no <{name}>")
    return found


def _numbers(element: ElementTree.Element) -> NDArray:
    return np.array((element.text or "").split(), dtype=float)


def _grid(element: ElementTree.Element) -> RadialGrid:
    """Radii of the mesh's equation."""
    i = np.arange(int(element.attrib["istart"]), int(element.attrib["iend"]) + 1)
    equation = element.attrib["eq"].replace(" ", "")
    if equation == "r=a*i/(n-i)":
        n = float(element.attrib["n"])
        a, b = float(element.attrib["a"]) / n, 1.0 / n
    elif equation == "r=a*i/(1-b*i)":
        a, b = float(element.attrib["a"]), float(element.attrib["b"])
    else:
        raise ValueError(f"radial grids {equation!r} are not read")
    r = a * i / (1.0 - b * i)
    return RadialGrid(r, (b * r + a) ** 2 / a)
