"""A PAW-XML file as a document: its elements, attributes, numbers and radial functions."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from deepchem_xc.planewave.pseudo.files import read_count, read_number, read_numbers, read_text

from .meshes import mesh_of_equation
from .radial_grid import RadialGrid

__all__ = ["Document"]

#: Names of the format's outermost element, in its versions 0.6 and 0.7.
ROOTS = ("paw_setup", "paw_dataset")


@dataclass(frozen=True, eq=False)
class Document:
    """Content of a PAW-XML file.

    Errors are ValueErrors that say what is missing or wrong; the caller adds the file's name.

    Parameters
    ----------
    root : Element
        The outermost element.
    grid : RadialGrid
        The longest mesh.
    lengths : dict
        Number of points of each mesh by its id; all meshes are beginnings of the longest.
    """

    root: ElementTree.Element
    grid: RadialGrid
    lengths: dict[str, int]

    @classmethod
    def read(cls, path: str | os.PathLike) -> Document:
        """Read a file; it may be compressed with gzip.

        Raises
        ------
        ValueError
            If it is not PAW-XML, is cut short, or has meshes that do not fit together.
        FileNotFoundError
            If there is no such file.
        """
        try:
            root = ElementTree.fromstring(read_text(path))
        except ElementTree.ParseError as error:
            raise ValueError(f"it is not XML, or is damaged or cut short ({error})") from error
        if root.tag not in ROOTS:
            raise ValueError(
                f"its outermost element is <{root.tag}>, and that of a PAW dataset is "
                f"{' or '.join(f'<{name}>' for name in ROOTS)}"
            )
        return cls(root, *_meshes(root.findall("radial_grid")))

    def element(self, name: str) -> ElementTree.Element:
        """The first element of a name.

        Raises
        ------
        ValueError
            If there is none.
        """
        found = self.root.find(name)
        if found is None:
            raise ValueError(f"it has no <{name}>")
        return found

    def number(self, name: str, attribute: str) -> float:
        """A numeric attribute of an element.

        Raises
        ------
        ValueError
            If element or attribute are missing, or it is not a finite number.
        """
        return number_of(self.element(name), attribute)

    def function(self, element: ElementTree.Element) -> NDArray:
        """Values of a radial function on the longest mesh, (nr,); zero beyond its own.

        Raises
        ------
        ValueError
            If its mesh is unknown, or the number of values is not that of its mesh.
        """
        what = _named(element)
        mesh = element.get("grid")
        if mesh is None and len(self.lengths) == 1:
            length = len(self.grid)
        elif mesh in self.lengths:
            length = self.lengths[mesh]
        else:
            raise ValueError(
                f"{what} refers to the mesh {mesh!r}; those of the file are "
                f"{', '.join(map(repr, self.lengths))}"
            )
        values = read_numbers((element.text or "").split(), what)
        if len(values) != length:
            raise ValueError(f"{what} has {len(values)} values on a mesh of {length} points")
        return np.pad(values, (0, len(self.grid) - length))

    def functions_of_states(self, name: str, states: Iterable[str]) -> list[NDArray]:
        """Radial functions of one kind, one for each state's id, each (nr,).

        Raises
        ------
        ValueError
            If a state has none, or more than one.
        """
        elements = self.root.findall(name)
        found = []
        for state in states:
            fitting = [e for e in elements if e.get("state", "").strip() == state]
            if len(fitting) != 1:
                raise ValueError(f"it has {len(fitting)} <{name}> of the state {state!r}, not 1")
            found.append(self.function(fitting[0]))
        return found


def number_of(element: ElementTree.Element, attribute: str) -> float:
    """A finite numeric attribute; ValueError if it is missing or anything else."""
    return read_number(text_of(element, attribute), f"{attribute} of {_named(element)}")


def text_of(element: ElementTree.Element, attribute: str) -> str:
    """An attribute without surrounding blanks; ValueError if it is missing."""
    found = element.get(attribute)
    if found is None:
        raise ValueError(f"{_named(element)} has no attribute {attribute!r}")
    return found.strip()


def _named(element: ElementTree.Element) -> str:
    state = element.get("state")
    return f"<{element.tag}>" if state is None else f"<{element.tag} state={state.strip()!r}>"


def _meshes(elements: list[ElementTree.Element]) -> tuple[RadialGrid, dict[str, int]]:
    """The longest mesh, and the number of points of each.

    Raises
    ------
    ValueError
        If there is none, two have the same id, or one is not a beginning of the longest: functions
        of different meshes cannot be multiplied point by point.
    """
    if not elements:
        raise ValueError("it has no <radial_grid>")
    meshes = {}
    for element in elements:
        name = element.get("id", "")
        if name in meshes:
            raise ValueError(f"two meshes have the id {name!r}")
        meshes[name] = _mesh(element)
    longest = max(meshes.values(), key=len)
    for name, mesh in meshes.items():
        if not np.allclose(mesh.r, longest.r[: len(mesh)], rtol=1e-9, atol=0.0):
            raise ValueError(
                f"the mesh {name!r} has other radii than the longest one; only files whose meshes "
                "are beginnings of one another are read"
            )
    return longest, {name: len(mesh) for name, mesh in meshes.items()}


def _mesh(element: ElementTree.Element) -> RadialGrid:
    equation = text_of(element, "eq").replace(" ", "")
    first, last = (read_count(text_of(element, end), end) for end in ("istart", "iend"))
    mesh = mesh_of_equation(equation, first, last, lambda name: number_of(element, name))
    for name, values in (("values", mesh.r), ("derivatives", mesh.dr)):
        listed = element.find(name)
        if listed is None:
            continue
        numbers = read_numbers((listed.text or "").split(), f"<{name}> of the mesh")
        # Files print seven digits or more.
        if numbers.shape != values.shape or not np.allclose(numbers, values, rtol=1e-6, atol=1e-9):
            raise ValueError(f"the <{name}> of a mesh are not those of its equation {equation!r}")
    return mesh
