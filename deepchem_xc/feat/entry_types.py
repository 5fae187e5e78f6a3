"""Kinds of entries: their calculations, the shape of their labels, their values.

A kind answers four questions: which calculations it needs (`calculations`), whether their energies
are enough (`from_energies`), what shape the label has (`label_shape`), and what the value is
(`value`). New kinds are added to `ENTRY_TYPES`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from ase.units import Hartree
from torch import Tensor

from deepchem_xc.eos.scales import WIDE_VOLUME_SCALES
from deepchem_xc.feat.calculation import Calculation
from deepchem_xc.feat.dft_system import DFTSystem
from deepchem_xc.losses import observables
from deepchem_xc.planewave.properties.volume_series import VolumeSeries


class Entry(Protocol):
    """The part of an entry that its kind reads."""

    @property
    def entry_type(self) -> str:
        """A key of `ENTRY_TYPES`."""

    @property
    def systems(self) -> Sequence[DFTSystem]:
        """The structures."""

    @property
    def scales(self) -> tuple[float, ...] | None:
        """Volumes in units of the structure's, in the order of the label."""

    @property
    def series(self) -> VolumeSeries:
        """The first system at all volumes, ascending."""


@dataclass(frozen=True)
class EntryType:
    """One kind of entry.

    Attributes
    ----------
    name : str
        Name that users write after ``e_type:``.
    unit : str
        Unit of the label; see also `unit_of`.
    from_energies : bool
        Whether the value follows from the energies of the calculations, eV. Otherwise it is a
        property of the first system's ground state.
    value : callable
        ``value(entry, energies)``, or ``value(result)``: a tensor of the label's shape.
    label_shape : callable
        ``label_shape(entry)``: a shape in which None stands for any number of points.
    volumes : bool
        Whether the system is computed at several volumes.
    systems : (int, int or None)
        Smallest and largest number of systems.
    """

    name: str
    unit: str
    from_energies: bool
    value: Callable[..., Tensor]
    label_shape: Callable[[Entry], tuple[int | None, ...]]
    volumes: bool = False
    systems: tuple[int, int | None] = (1, 1)

    def unit_of(self, entry: Entry) -> str:
        """Unit of an entry's label: the modulus of a layer is a force per length."""
        layer = self.name == "bulk_modulus" and entry.series.dimension == 2
        return "N/m" if layer else self.unit

    @property
    def is_scalar(self) -> bool:
        """Whether the label is one number."""
        return self.label_shape is _scalar

    def calculations(self, entry: Entry) -> list[Calculation[Any, Any]]:
        """The calculations of an entry."""
        if self.volumes:
            return list(entry.systems[0].series_calculations(entry.series))
        return [system.calculation() for system in entry.systems]

    def scales(self, given: Sequence[float] | None) -> tuple[float, ...] | None:
        """Volumes of an entry, as given, or the default; None if it has just one."""
        if not self.volumes:
            if given is not None:
                raise ValueError(f"scales: an entry of type {self.name} has none; leave them out")
            return None
        return tuple(WIDE_VOLUME_SCALES if given is None else given)


def _numbers(entry: Entry) -> list[int]:
    """How many times each computed cell occurs."""
    return [system.no * system.cells for system in entry.systems]


def _energy(entry: Entry, energies: Tensor) -> Tensor:
    return observables.energy_difference(energies, _numbers(entry))


def _eos(entry: Entry, energies: Tensor) -> Tensor:
    """Relative energies in the order of the label, which need not be that of the volumes."""
    order = sorted(range(len(energies)), key=lambda i: _given_scales(entry)[i])
    places = torch.tensor(order, device=energies.device).argsort()
    return observables.relative_energies(energies[places]) * entry.systems[0].cells


def _given_scales(entry: Entry) -> tuple[float, ...]:
    assert entry.scales is not None  # checked when the entry was made
    return entry.scales


def _lattice_constant(entry: Entry, energies: Tensor) -> Tensor:
    return observables.lattice_constant(energies, entry.series)


def _bulk_modulus(entry: Entry, energies: Tensor) -> Tensor:
    return observables.bulk_modulus(energies, entry.series)


def _cohesive(entry: Entry, energies: Tensor) -> Tensor:
    return observables.cohesive_energy(energies, _numbers(entry), len(entry.systems[0].atoms))


def _of_result(function: Callable[[Any], Tensor]) -> Callable[..., Tensor]:
    return lambda entry, result: function(result)


def _forces(entry: Entry, result: Any) -> Tensor:
    """Forces on the atoms of the given cell."""
    return observables.forces(result)[list(entry.systems[0].sites)]


def _moment(entry: Entry, result: Any) -> Tensor:
    """Moment of the given cell."""
    return observables.magnetic_moment(result) * entry.systems[0].cells


def _scalar(entry: Entry) -> tuple[int | None, ...]:
    return (1,)


def _curve(entry: Entry) -> tuple[int | None, ...]:
    return (len(_given_scales(entry)),)


def _atoms(entry: Entry) -> tuple[int | None, ...]:
    return (len(entry.systems[0].sites), 3)


def _tensor(entry: Entry) -> tuple[int | None, ...]:
    return (3, 3)


def _grid(entry: Entry) -> tuple[int | None, ...]:
    return (None, None, None, None)


def _matrix(entry: Entry) -> tuple[int | None, ...]:
    norbital = entry.systems[0].molecule.norbital
    return (norbital, norbital)


def _points(entry: Entry) -> tuple[int | None, ...]:
    return (entry.systems[0].npoint,)


def _hartree(entry: Entry, energies: Tensor) -> Tensor:
    """Later systems minus the first, as DeepChem has it: minus the energy of a single one."""
    difference = _energy(entry, energies) / Hartree
    return difference if len(entry.systems) > 1 else -difference


_KINDS = (
    EntryType("energy", "eV", True, _energy, _scalar, systems=(1, None)),
    EntryType("eos", "eV", True, _eos, _curve, volumes=True),
    EntryType("lattice_constant", "Angstrom", True, _lattice_constant, _scalar, volumes=True),
    EntryType("bulk_modulus", "GPa", True, _bulk_modulus, _scalar, volumes=True),
    EntryType("cohesive_energy", "eV/atom", True, _cohesive, _scalar, systems=(2, None)),
    EntryType("forces", "eV/Angstrom", False, _forces, _atoms),
    EntryType("stress", "GPa", False, _of_result(observables.stress), _tensor),
    EntryType("density", "1/Angstrom^3", False, _of_result(observables.density), _grid),
    EntryType("band_gap", "eV", False, _of_result(observables.band_gap), _scalar),
    EntryType("magnetic_moment", "mu_B", False, _moment, _scalar),
)
_MOLECULAR = (
    EntryType("ae", "Hartree", True, _hartree, _scalar, systems=(1, None)),
    EntryType("ie", "Hartree", True, _hartree, _scalar, systems=(2, 2)),
    EntryType("dm", "1", False, _of_result(observables.density_matrix), _matrix),
    EntryType("dens", "1/bohr^3", False, _of_result(observables.molecular_density), _points),
)

#: Kinds of entries by name; those of molecules, in Hartree atomic units, are DeepChem's.
ENTRY_TYPES = {kind.name: kind for kind in (*_KINDS, *_MOLECULAR)}
MOLECULAR_TYPES = tuple(kind.name for kind in _MOLECULAR)
