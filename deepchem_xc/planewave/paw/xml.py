"""Reader of PAW-XML files, the format of GPAW's datasets and of ABINIT's JTH tables.

The format is described at https://esl.cecam.org/data/paw-xml; functions of radius are stored there
as coefficients of real spherical harmonics, in Hartree and bohr.
"""

from __future__ import annotations

import math
import os
import zlib
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from deepchem_xc.planewave.pseudo.files import read_count, read_numbers
from deepchem_xc.planewave.pseudo.functionals import functional_label

from .checks import check_dataset, check_ionic_potential, check_total_energy
from .dataset import PartialWave, PAWDataset, ReferenceEnergies
from .document import ROOTS, Document, number_of, text_of

__all__ = ["is_paw_file", "read_paw_xml"]

_SPHERICAL = math.sqrt(4.0 * math.pi)
# Window size by which zlib knows that gzip's header comes first.
_GZIP = 16 + zlib.MAX_WBITS
# Other local potentials, from which that of this method follows only with exchange and correlation
# of the generator.
_OTHER_LOCAL = (
    "kresse_joubert_local_ionic_potential",
    "kresse_joubert_local_ionic_pseudopotential",
    "blochl_local_ionic_potential",
)


def read_paw_xml(path: str | os.PathLike, symbol: str) -> PAWDataset:
    """Read a PAW dataset and check that it is complete and consistent (see `checks`).

    Parameters
    ----------
    path : str or path
        The file, with any name; it may be compressed with gzip.
    symbol : str
        Chemical symbol that it must have.

    Returns
    -------
    PAWDataset

    Raises
    ------
    ValueError
        If the file is damaged, lacks a quantity, is of a kind that is not read, or is for another
        element; the message begins with the file's name.
    FileNotFoundError
        If there is no such file.
    """
    path = Path(path)
    try:
        document = Document.read(path)
        dataset = _dataset(document, symbol, path.name.removesuffix(".gz"))
        check_dataset(dataset)
        if document.element("ae_energy").get("total") is not None:
            check_total_energy(dataset.reference, document.number("ae_energy", "total"))
        if (ionic := document.root.find("blochl_local_ionic_potential")) is not None:
            check_ionic_potential(dataset, document.function(ionic))
    except ValueError as error:
        message = str(error).removeprefix(f"{path}: ")
        raise ValueError(f"{path}: {message}") from error
    return dataset


def is_paw_file(path: str | os.PathLike) -> bool:
    """Whether a file is PAW-XML by its first bytes or, if damaged, by the ending .xml.

    Parameters
    ----------
    path : str or path
        Any file; it may be compressed with gzip.
    """
    path = Path(path)
    if not path.is_file():
        return False
    if path.name.lower().removesuffix(".gz").endswith(".xml"):
        return True
    return any(f"<{root}".encode() in _beginning(path) for root in ROOTS)


def _beginning(path: Path) -> bytes:
    """The first bytes of a file, decompressed, also of one that is cut short; or none."""
    try:
        with path.open("rb") as file:
            found = file.read(4096)
        return zlib.decompressobj(_GZIP).decompress(found) if found[:2] == b"\x1f\x8b" else found
    except (OSError, zlib.error):
        return b""


def _dataset(document: Document, symbol: str, name: str) -> PAWDataset:
    atom = document.element("atom")
    if text_of(atom, "symbol") != symbol:
        raise ValueError(f"it is a dataset of {text_of(atom, 'symbol')}, not of {symbol}")
    _refuse_special_kinds(document)
    shape = document.element("shape_function")
    energies = document.element("ae_energy")

    def density(name: str) -> NDArray:
        return document.function(document.element(name)) / _SPHERICAL

    def optional(name: str) -> NDArray | None:
        return None if document.root.find(name) is None else density(name)

    waves = _waves(document)
    return PAWDataset(
        symbol=symbol,
        name=name,
        functional=_functional(document.element("xc_functional")),
        charge=number_of(atom, "Z"),
        core=number_of(atom, "core"),
        valence=number_of(atom, "valence"),
        grid=document.grid,
        waves=waves,
        shape=text_of(shape, "type"),
        shape_radius=number_of(shape, "rc"),
        core_density=density("ae_core_density"),
        smooth_core_density=density("pseudo_core_density"),
        core_kinetic_density=optional("ae_core_kinetic_energy_density"),
        smooth_core_kinetic_density=optional("pseudo_core_kinetic_energy_density"),
        zero_potential=density("zero_potential"),
        kinetic_differences=_kinetic_differences(document, len(waves)),
        reference=ReferenceEnergies(
            kinetic=number_of(energies, "kinetic"),
            xc=number_of(energies, "xc"),
            electrostatic=number_of(energies, "electrostatic"),
            core_kinetic=document.number("core_energy", "kinetic"),
        ),
    )


def _refuse_special_kinds(document: Document) -> None:
    """Raise for datasets that are complete but mean something else."""
    if document.root.find("core_hole_state") is not None:
        raise ValueError(
            "it is a dataset with a core hole, for spectroscopy; give one with a filled core"
        )
    if document.root.find("zero_potential") is None:
        given = [f"<{name}>" for name in _OTHER_LOCAL if document.root.find(name) is not None]
        raise ValueError(
            "it has no <zero_potential>"
            + (f" but {' and '.join(given)}, which is not read" if given else "")
            + "; GPAW's datasets and recent JTH tables have one"
        )
    shape = document.element("shape_function")
    if text_of(shape, "type").startswith("num"):
        raise ValueError(
            "its compensation charges are given as numbers (shape_function of type "
            f"{text_of(shape, 'type')!r}), which is not read; valid types are gauss, sinc, bessel"
        )


def _waves(document: Document) -> tuple[PartialWave, ...]:
    states = document.element("valence_states").findall("state")
    names = [text_of(state, "id") for state in states]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"its valence states need distinct ids, got {names}")
    functions = [
        document.functions_of_states(kind, names)
        for kind in ("ae_partial_wave", "pseudo_partial_wave", "projector_function")
    ]
    return tuple(
        PartialWave(
            l=read_count(text_of(state, "l"), f"l of the state {name!r}"),
            n=_principal_number(state),
            occupation=0.0 if state.get("f") is None else number_of(state, "f"),
            energy=number_of(state, "e"),
            cutoff=number_of(state, "rc"),
            all_electron=all_electron,
            smooth=smooth,
            projector=projector,
        )
        for state, name, all_electron, smooth, projector in zip(
            states, names, *functions, strict=True
        )
    )


def _principal_number(state: ElementTree.Element) -> int | None:
    """n of a bound state; unbound ones have none, or -1."""
    if state.get("n") is None:
        return None
    n = number_of(state, "n")
    if n != round(n):
        raise ValueError(f"n of the state {text_of(state, 'id')!r} is {n}, not a whole number")
    return round(n) if n > 0 else None


def _kinetic_differences(document: Document, count: int) -> NDArray:
    element = document.element("kinetic_energy_differences")
    values = read_numbers((element.text or "").split(), "<kinetic_energy_differences>")
    if len(values) != count**2:
        raise ValueError(
            f"<kinetic_energy_differences> has {len(values)} values for {count} states, "
            f"not {count**2}"
        )
    return np.reshape(values, (count, count))


def _functional(element: ElementTree.Element) -> str | None:
    """Common name of the functional, the file's own if there is none, None if that is empty.

    A name that is unknown here is kept: it differs from every functional in use, which is then
    warned of. Old files name only the correlation: "PW" is an LDA by its type, or part of a GGA.
    """
    kind, name = element.get("type", "").strip().upper(), text_of(element, "name")
    label = functional_label(name)
    if label == "LDA" and kind not in ("", "LDA"):
        return f"{kind} {name.strip()}"
    return label or name.strip() or None
