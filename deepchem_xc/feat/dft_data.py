"""Entries of a data set: a reference value and the calculations to compare it with."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepchem_xc.eos.fits import NoMinimumError
from deepchem_xc.feat.calculation import Calculation, digest
from deepchem_xc.feat.changed_settings import changed_values
from deepchem_xc.feat.dft_system import DFTSystem
from deepchem_xc.feat.entry_checks import (
    check_balance,
    check_reduction,
    check_same_potentials,
    read_label,
)
from deepchem_xc.feat.entry_types import ENTRY_TYPES, MOLECULAR_TYPES, EntryType
from deepchem_xc.feat.molecule_checks import check_molecules, warn_of_other_electrons
from deepchem_xc.feat.molecules import MoleculeGrid
from deepchem_xc.feat.schema import EntrySpec, SystemSpec, validate_entry
from deepchem_xc.losses.observables import extrapolated_energy
from deepchem_xc.planewave.properties.volume_series import VolumeSeries
from deepchem_xc.results import Result

_CACHED = ("calculations", "series")


class DFTEntry:
    """One reference value: DeepChem's `DFTEntry`, extended to crystals.

    Use `DFTEntry.create` or `DFTYamlLoader` to make entries, not the constructor.

    Attributes
    ----------
    name : str
        Name in messages and tables.
    systems : list of DFTSystem
        The structures.
    scales : tuple of float or None
        Volumes in units of the structure's, in the order of the label.

    Examples
    --------
    >>> from deepchem_xc.data import DFTEntry
    >>> aluminium = {
    ...     "structure": {"symbols": ["Al"], "cell": [[0, 2, 2], [2, 0, 2], [2, 2, 0]],
    ...                   "scaled_positions": [[0, 0, 0]]},
    ...     "ecut": 150.0, "kpts": [2, 2, 2]}
    >>> entry = DFTEntry.create("lattice_constant", 4.04, [aluminium])
    >>> entry.entry_type, entry.get_true_val(), len(entry.calculations), entry.kind.unit
    ('lattice_constant', array([4.04]), 9, 'Angstrom')
    """

    def __init__(
        self,
        spec: EntrySpec,
        where: str = "the entry",
        folder: Path | None = None,
        former: Sequence[DFTSystem] = (),
    ):
        self._where = where
        if spec.e_type not in ENTRY_TYPES:
            near = difflib.get_close_matches(spec.e_type, ENTRY_TYPES, n=1)
            hint = f", did you mean {near[0]!r}?" if near else "."
            raise self._error(
                f"e_type: unknown type {spec.e_type!r}{hint} Valid: {', '.join(ENTRY_TYPES)}"
            )
        self._e_type = spec.e_type
        self._dimension = spec.dimension
        self._weight = spec.weight
        try:
            self.systems = [
                _make_system(i, system, former[i] if former else None)
                for i, system in enumerate(spec.systems)
            ]
            self.scales = self.kind.scales(spec.scales)
            self._check_systems()
            check_reduction(self, spec.systems[0])
            self.name = spec.name or self._default_name()
            self._label = read_label(self, self.kind, spec.true_val, folder)
            if self._e_type in ("dm", "dens") and self._label is not None:
                warn_of_other_electrons(self._e_type, self.systems[0], self._label)
        except (ValueError, FileNotFoundError) as error:
            raise self._error(str(error)) from error

    @classmethod
    def create(
        cls,
        e_type: str,
        true_val: Any,
        systems: Sequence[Mapping[str, Any]],
        weight: float | None = 1,
        **more: Any,
    ) -> DFTEntry:
        """Make an entry; the first four parameters are DeepChem's.

        Parameters
        ----------
        e_type : str
            A key of `ENTRY_TYPES`: energy, eos, lattice_constant, bulk_modulus, cohesive_energy,
            forces, stress, density, band_gap, magnetic_moment; for molecules ae, ie, dm, dens.
        true_val : number, str, array_like or None
            The reference: a number, nested lists, or the path of an npy file. None makes an entry
            for predictions, which cannot be trained on.
        systems : sequence of mapping
            See `DFTSystem`. The first one is the crystal, the others are its references.
        weight : float, optional
            Weight of the entry in a loss.
        **more
            ``scales`` (volumes of eos, lattice_constant and bulk_modulus), ``dimension`` (2 for
            layers) and ``name``.

        Raises
        ------
        ValueError
            For unknown types and keys, labels of another shape, missing pseudopotentials; the
            message names the key and the valid values.
        """
        values = {"e_type": e_type, "true_val": true_val, "systems": list(systems)}
        return cls.from_mapping({**values, "weight": 1 if weight is None else weight, **more})

    @classmethod
    def from_mapping(
        cls, values: Any, where: str = "the entry", folder: Path | None = None
    ) -> DFTEntry:
        """Make an entry from the values in a YAML file.

        Parameters
        ----------
        values : mapping
            e_type, true_val, systems and so on.
        where : str, optional
            Name of the entry in messages.
        folder : Path, optional
            Folder to which relative paths refer.
        """
        if isinstance(values, Mapping):
            if not isinstance(values.get("e_type"), str):
                raise ValueError(
                    f"{where} is not valid:\n  e_type: must be one of {', '.join(ENTRY_TYPES)}, "
                    f"got {values.get('e_type', 'nothing')!r}."
                )
            where = f"{where} ({values.get('name') or values['e_type']})"
        return cls(validate_entry(values, where, folder), where, folder)

    def with_settings(self, **settings: Any) -> DFTEntry:
        """The same label and structures, computed in another way.

        Parameters
        ----------
        **settings
            Keys of the systems (ecut, kpts, pseudopotentials, primitive, nbands, ...), which count
            for all of them, and ``scales`` and ``dimension`` of the entry; None stands for a key's
            default.

        Returns
        -------
        DFTEntry
            A new entry with the same name and weight.

        Raises
        ------
        ValueError
            As for `create`; and for keys that would change the structure or the label.

        Examples
        --------
        >>> from ase.build import bulk
        >>> from deepchem_xc.data import DFTEntry
        >>> entry = DFTEntry.create("energy", -57.2, [{"structure": bulk("Al"), "ecut": 400.0}])
        >>> quick = entry.with_settings(ecut=150.0, kpts={"density": 2.0})
        >>> quick.systems[0].keywords["ecut"], quick.get_true_val(), quick.name
        (150.0, array([-57.2]), 'Al')
        """
        try:
            values = changed_values(self, settings)
        except ValueError as error:
            raise self._error(str(error)) from None
        entry = DFTEntry(validate_entry(values, self._where), self._where, former=self.systems)
        entry._label = self._label  # energies relative to their mean would be rounded again
        return entry

    def __repr__(self) -> str:
        return f"DFTEntry({self.entry_type}, {self.name})"

    def __getstate__(self) -> dict[str, Any]:
        # Cached values follow from the rest; without them data sets on disk stay small.
        return {key: value for key, value in self.__dict__.items() if key not in _CACHED}

    @property
    def entry_type(self) -> str:
        """Key of `ENTRY_TYPES`."""
        return self._e_type

    @property
    def kind(self) -> EntryType:
        """Kind of the compared quantity, with its unit."""
        return ENTRY_TYPES[self._e_type]

    @property
    def identity(self) -> str:
        """Hash of calculations, label and weight, independent of where files are."""
        label = None if self._label is None else self._label.tolist()
        systems = [
            [system.no, system.identity, *([system.sites] if system.cells > 1 else ())]
            for system in self.systems
        ]
        scales = [self.scales, self._dimension]
        return digest([self._e_type, systems, scales, label, self._weight])

    def get_systems(self) -> list[DFTSystem]:
        """The structures."""
        return self.systems

    def get_weight(self) -> float:
        """Weight of the entry in a loss."""
        return self._weight

    @property
    def has_label(self) -> bool:
        """Whether there is a reference value."""
        return self._label is not None

    @property
    def unit(self) -> str:
        """Unit of the reference value."""
        return self.kind.unit_of(self)

    def get_true_val(self) -> NDArray[np.float64]:
        """The reference value: (1,) for a number, otherwise an array; in `unit`.

        Energies of an equation of state are relative to their mean.

        Raises
        ------
        ValueError
            If there is none.
        """
        if self._label is None:
            raise self._error("true_val: missing; it is needed for training and evaluation")
        return self._label

    def get_val(self, qcs: Sequence[Result]) -> Tensor:
        """Computed value of the entry, in the graph of the functional's parameters.

        Parameters
        ----------
        qcs : sequence of Result
            Ground states of `calculations`, in their order.

        Returns
        -------
        Tensor
            With the label's shape and unit; its gradient is exact.
        """
        if not self.kind.from_energies:
            return self.value(qcs[0])
        return self.value(torch.stack([extrapolated_energy(qc) for qc in qcs]))

    def value(self, source: Tensor | Result) -> Tensor:
        """Value from the energies of `calculations` (n,), eV, or from a ground state, by kind."""
        try:
            value = self.kind.value(self, source)
        except NoMinimumError as error:
            assert self.scales is not None
            scales = ", ".join(f"{scale:g}" for scale in sorted(self.scales))
            raise NoMinimumError(
                f"{error} The entry's key 'scales', volumes in units of the structure's, is now "
                f"[{scales}]."
            ) from error
        if self._label is not None and tuple(value.shape) != self._label.shape:
            raise self._error(
                f"true_val: it has shape {self._label.shape}, but the computed value has shape "
                f"{tuple(value.shape)}: give the same grid (fft_size) and number of spins"
            )
        return value

    def get_integration_grid(self) -> MoleculeGrid:
        """Points on which the label of type dens is given, and their volumes.

        Raises
        ------
        ValueError
            For a crystal.
        """
        if self.entry_type not in MOLECULAR_TYPES:
            raise self._error(
                f"e_type: type {self.entry_type} has no grid of a molecule; types "
                f"{', '.join(MOLECULAR_TYPES)} have one"
            )
        return MoleculeGrid.of(self.systems[0].system)

    def summary(self, value: Tensor) -> float:
        """One number for tables and metrics.

        If the label is a number, the value; otherwise its root mean square deviation from the
        label, whose own summary is zero.
        """
        if self.is_scalar:
            return float(value)
        if self._label is None:
            return math.nan
        label = torch.as_tensor(self._label, device=value.device)
        return float((value - label).square().mean().sqrt())

    @property
    def label_summary(self) -> float:
        """`summary` of the label: the number, or 0 for arrays; NaN without a label."""
        if self._label is None:
            return math.nan
        return float(self._label[0]) if self.is_scalar else 0.0

    @property
    def is_scalar(self) -> bool:
        """Whether the label is one number."""
        return self.kind.is_scalar

    @cached_property
    def series(self) -> VolumeSeries:
        """The first system at all volumes, ascending."""
        assert self.scales is not None
        return self.systems[0].series(self.scales, self._dimension)

    @cached_property
    def calculations(self) -> list[Calculation[Any, Any]]:
        """The calculations that `get_val` needs.

        Raises
        ------
        ValueError
            If a pseudopotential file is missing or has changed since the entry was made.
        """
        for i, system in enumerate(self.systems):
            try:
                system.check_files()
            except ValueError as error:
                raise self._error(f"systems[{i}].{error}") from error
        return self.kind.calculations(self)

    def _error(self, text: str) -> ValueError:
        return ValueError(f"{self._where} is not valid:\n  {text.removesuffix('.')}.")

    def _default_name(self) -> str:
        return " / ".join(system.formula for system in self.systems)

    def _check_systems(self) -> None:
        least, most = self.kind.systems
        count, name = len(self.systems), self.entry_type
        if count < least or (most is not None and count > most):
            wanted = f"exactly {least}" if least == most else f"at least {least}"
            raise ValueError(f"systems: type {name} takes {wanted}, got {count}")
        for i, system in enumerate(self.systems):
            if (name in MOLECULAR_TYPES) == system.is_crystal:
                kind = "molecules (moldesc, basis)" if system.is_crystal else "a structure and ecut"
                raise ValueError(f"systems[{i}]: type {name} is for {kind}")
            try:
                nspin = system.check()
            except (ValueError, FileNotFoundError) as error:
                raise ValueError(f"systems[{i}].{error}") from error
            if name == "magnetic_moment" and nspin == 1:
                raise ValueError(
                    f"systems[{i}]: type {name} needs two spin channels; give the structure "
                    "magmoms, or spinpol: true"
                )
        if self.kind.volumes:
            try:
                _ = self.series
            except ValueError as error:
                raise ValueError(f"scales, dimension: {error}") from error
        elif self._dimension is not None:
            raise ValueError(f"dimension: type {name} has none; leave it out")
        if name == "cohesive_energy":
            check_balance(self.systems)
        if self.kind.systems[1] != 1 and name not in MOLECULAR_TYPES:
            check_same_potentials(self.systems)
        if name in MOLECULAR_TYPES:
            check_molecules(name, self.systems)


def _make_system(number: int, spec: SystemSpec, former: DFTSystem | None) -> DFTSystem:
    """System of an entry; errors are prefixed with its number."""
    try:
        return DFTSystem(spec, former)
    except ValueError as error:
        raise ValueError(f"systems[{number}].{error}") from error
