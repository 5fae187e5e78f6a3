"""`DensityPredictor`: a network and what it was made for, as a source of densities."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import torch
from ase.units import Hartree
from torch import Tensor
from torch.func import functional_call

from deepchem_xc import __version__
from deepchem_xc._modes import outside_inference_and_autocast
from deepchem_xc._values import real_number
from deepchem_xc.densities.initial_moments import with_limited_moments
from deepchem_xc.densities.network import DensityNetwork
from deepchem_xc.planewave import Crystal, DensityRecord, PlaneWaveBasis
from deepchem_xc.planewave.fields import Fields
from deepchem_xc.planewave.inputs import as_crystal
from deepchem_xc.planewave.problem import KohnShamProblem
from deepchem_xc.planewave.pseudo import (
    Pseudopotential,
    atom_digest,
    load_pseudopotentials,
    potential_digest,
)
from deepchem_xc.planewave.terms.superposed import superposition

# Relative excess of a cutoff that rounding explains.
_SAME_CUTOFF = 1e-9


class DensityPredictor:
    """Total densities from a network, for the potentials and the functional it was made for.

    It is a `planewave.DensitySource`: ``scf(start=...)`` and ``non_self_consistent(density=...)``
    take it. Densities are in the graph of positions and lattice where these require gradients.

    Parameters
    ----------
    network : DensityNetwork
        Its `valences` name the elements.
    pseudopotentials : str, path or mapping
        Potentials of the elements, as `load_pseudopotentials` takes them.
    functional : str
        Name of the functional whose densities it predicts.

    Attributes
    ----------
    network : DensityNetwork
        The network.
    functional : str or None
        Name of the functional; None is possible for another code (`OtherCodePredictor`).
    other_code : str or None
        The other code that its densities belong to; None for those of this package.
    potentials, atoms : dict of str to str
        Hash of each element's potential, and of its atom in superpositions.
    parameter_gradients : bool
        Whether densities are in the graph of the network's parameters, too, so that results of
        calculations train it; False by default, which saves a calculation the accuracy that such
        gradients need.

    Raises
    ------
    ValueError
        For unknown potentials, or valences other than those of the network.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.densities import AtomDensityNetwork, DensityPredictor
    >>> network = AtomDensityNetwork({"Si": 4}, channels=4, l_max=1)
    >>> predictor = DensityPredictor(network, "gth-pbe", "PBE")
    >>> record = predictor.record(bulk("Si"), ecut=100.0)
    >>> print(f"{record.nelectrons:.9f} {record.functional}")
    8.000000000 PBE
    """

    functional: str | None
    other_code: str | None = None
    _ELECTRONS_ADVICE = "it is damaged, or of a charged cell. Compute it again."

    def __init__(
        self, network: DensityNetwork, pseudopotentials: Any, functional: str = "PBE"
    ) -> None:
        self.network, self.functional = network, str(functional)
        self.parameter_gradients = False
        self.pseudopotentials: Mapping[str, Pseudopotential]
        self.pseudopotentials = load_pseudopotentials(pseudopotentials, network.valences)
        for symbol, pseudo in self.pseudopotentials.items():
            if abs(pseudo.valence - network.valences[symbol]) > 1e-9:
                raise ValueError(
                    f"the network has {network.valences[symbol]:g} valence electrons for {symbol}, "
                    f"but its potential {pseudo.name} has {pseudo.valence:g}: give the potentials "
                    "that the network was made for."
                )
        self.potentials = {s: potential_digest(p) for s, p in self.pseudopotentials.items()}
        self.atoms = {s: atom_digest(p) for s, p in self.pseudopotentials.items()}

    @property
    def elements(self) -> tuple[str, ...]:
        """Elements that it knows."""
        return tuple(self.network.valences)

    @property
    def target(self) -> str:
        """What the network predicts: "difference" from superposed atoms, or "total"."""
        return self.network.target

    @outside_inference_and_autocast()
    def density_for(self, problem: KohnShamProblem) -> Fields:
        """Density of a problem's structure on its plane waves.

        Parameters
        ----------
        problem : KohnShamProblem
            Of known elements with the same potentials. One channel if it has no spin, also from a
            network with spin, whose magnetisation is then zero.

        Returns
        -------
        Fields
            (nspin, nG), bohr^-3, not symmetrised, without kinetic energy density.

        Raises
        ------
        ValueError
            For elements, potentials, atoms or a spin that it does not know.
        """
        pseudos = problem.norm_conserving("a model of densities")
        self.check(problem.basis.crystal, problem.nspin)
        self._check_potentials({s: pseudos[s] for s in problem.basis.crystal.species})
        return Fields(self._density(problem.basis, pseudos, problem.nspin))

    @outside_inference_and_autocast()
    def record(
        self, structure: Any, ecut: float | None = None, fft_size: Any = None
    ) -> DensityRecord:
        """Record of the predicted density of a structure.

        Parameters
        ----------
        structure : ase.Atoms, pymatgen Structure, Crystal or DensityRecord
            Of a record, its crystal, number of channels and, by default, cutoff and grid.
        ecut : float, optional
            Cutoff of the orbitals, eV; the density has four times as much.
        fft_size : (int, int, int) or int, optional
            Grid of the functional; the smallest by default.

        Returns
        -------
        DensityRecord
            With potentials, atoms and functional; nothing that a calculation finds.

        Raises
        ------
        ValueError
            For elements or a spin that it does not know, without a cutoff, and for a record of
            another code.
        """
        if isinstance(structure, DensityRecord):
            self._check_code(structure)
        crystal, basis, nspin = self._asked(structure, ecut, fft_size)
        with torch.no_grad():
            density = self._density(basis, self.pseudopotentials, nspin)
        return self._recorded(crystal, basis, density, f"predicted by a model ({self.target})")

    def _asked(
        self, structure: Any, ecut: float | None, fft_size: Any
    ) -> tuple[Crystal, PlaneWaveBasis, int]:
        """Crystal, plane waves and number of channels that a prediction is wanted for."""
        given = structure if isinstance(structure, DensityRecord) else None
        crystal = as_crystal(structure) if given is None else given.crystal
        hartree = None if ecut is None else real_number(ecut, "ecut", "eV") / Hartree
        if given is not None and hartree is None:
            hartree, fft_size = given.ecut, given.fft_size if fft_size is None else fft_size
        if hartree is None:
            raise ValueError(
                "ecut is missing: give the plane-wave cutoff (eV) that the density is wanted for, "
                "for example ecut=300.0; records bring their own."
            )
        nspin = (2 if any(crystal.magnetic_moments or ()) else 1) if given is None else given.nspin
        self.check(crystal, nspin)
        return crystal, self._basis(crystal.to(self._device), hartree, fft_size), nspin

    def superposed(self, record: DensityRecord) -> DensityRecord:
        """Record of superposed atoms, for the structure, cutoff and channels of a record.

        Parameters
        ----------
        record : DensityRecord
            With the same potentials.
        """
        self.check_record(record)
        basis = self.basis_of(record)
        density = superposition(basis, self.pseudopotentials, record.nspin).detach()
        return self._recorded(record.crystal, basis, density, "superposed atoms")

    def _recorded(
        self, crystal: Crystal, basis: PlaneWaveBasis, density: Tensor, notes: str
    ) -> DensityRecord:
        return DensityRecord(
            crystal,
            basis.g_vectors.cpu(),
            Fields(density.cpu()),
            notes=notes,
            potentials={symbol: self.potentials[symbol] for symbol in crystal.species},
            superposition={symbol: self.atoms[symbol] for symbol in crystal.species},
            functional=self.functional,
            ecut=basis.ecut,
            fft_size=basis.fft_size,
            version=__version__,
        )

    def basis_of(self, record: DensityRecord, ecut: float | None = None) -> PlaneWaveBasis:
        """Plane waves of a record, or of a lower cutoff (Hartree), on the network's device."""
        cutoff, size = (record.ecut, record.fft_size) if ecut is None else (ecut, None)
        if ecut is not None:
            check_cutoff(record, ecut)
        if cutoff is None:
            raise ValueError(
                "a record does not say at which cutoff it was computed: give the model ecut=, "
                "the cutoff (eV) that all records are brought to."
            )
        return self._basis(record.crystal.to(self._device), cutoff, size)

    def seen(self, basis: PlaneWaveBasis, nspin: int) -> PlaneWaveBasis:
        """The same plane waves, with the initial moments that the network is given."""
        return with_limited_moments(basis, self.pseudopotentials, nspin)

    def superposition_of(
        self, basis: PlaneWaveBasis, nspin: int, record: DensityRecord | None = None
    ) -> Tensor:
        """Superposed atoms, (nspin, nG), bohr^-3, also of a record from another code.

        Their magnetisation is that of the initial moments.
        """
        return superposition(basis, self.pseudopotentials, nspin)

    def check(self, crystal: Crystal, nspin: int) -> None:
        """Raise ValueError for elements, moments or channels that the network does not know."""
        self.network.check(crystal)
        if nspin == 2 and not self.network.spin:
            raise ValueError(
                "the density model was made without spin, but two spin channels are wanted: train "
                "one with spin=True, or compute without spin (no initial moments, spinpol=False)."
            )

    def check_record(self, record: Any) -> None:
        """Raise ValueError for a record that is damaged, or with other potentials or PAW."""
        if not isinstance(record, DensityRecord):
            raise ValueError(
                f"X must hold records of densities, got a {type(record).__name__}: "
                "load_crystal_densities of molnet and DensityRecord.of(result) make them, and "
                "read_density(path).record() of another code's file; structures alone have no "
                "density to learn from or to compare with."
            )
        self._check_code(record)
        if record.spheres is not None:
            names = ", ".join(f"{k}: {v}" for k, v in record.spheres.datasets.items())
            raise ValueError(
                f"a record was computed with PAW datasets ({names}), whose spheres hold a part of "
                "the electrons; models of densities know the grid alone: compute it with "
                "norm-conserving potentials, those of the model."
            )
        self.check(record.crystal, record.nspin)
        known = self.functional
        if None not in (record.functional, known) and record.functional != known:
            raise ValueError(
                f"a record has the density of {record.functional}, but the model is for {known}: "
                f"give functional={record.functional!r}, or records of {known}."
            )
        self._check_atoms(record)
        self._check_density(record, record.fields.density, "density")

    def _check_code(self, record: DensityRecord) -> None:
        """Refuse records of another code."""
        if record.other_code is not None:
            raise ValueError(
                f"a record was read from another code's file ({record.other_code}), but the model "
                "is for densities of this package: give it records that were computed here, or "
                f"make a model with other_code={record.other_code!r} and its elements' electrons."
            )

    def _check_atoms(self, record: DensityRecord) -> None:
        """Refuse records with other potentials or other atoms in superpositions."""
        if record.potentials is None:
            raise ValueError(
                "a record does not say which potentials it was computed with: make it again with "
                "DensityRecord.of(result)."
            )
        _compare(self.potentials, record.potentials, record.crystal, "potentials")
        if record.superposition is not None:
            _compare(self.atoms, record.superposition, record.crystal, "atoms")

    def _check_density(self, record: DensityRecord, density: Tensor, name: str) -> None:
        """Refuse NaN, and another number of electrons than the atoms have."""
        if not bool(torch.isfinite(torch.view_as_real(density)).all()):
            raise ValueError(
                f"a record's {name} contains NaN or infinite numbers: compute it again, or remove "
                "it from the data set."
            )
        expected = sum(self.network.valences[symbol] for symbol in record.crystal.symbols)
        found = float(density[:, 0].real.sum() * record.crystal.volume)
        if abs(found - expected) > 1e-6 * expected:
            raise ValueError(
                f"a record's {name} has {found:.6f} electrons, but its atoms have {expected:g}: "
                f"{self._ELECTRONS_ADVICE}"
            )

    def check_calculations(self) -> None:
        """Raise ValueError if its densities are of no use to calculations of this package."""

    @property
    def _device(self) -> torch.device:
        return next(self.network.parameters()).device

    def _basis(self, crystal: Crystal, ecut: float, fft_size: Any) -> PlaneWaveBasis:
        return PlaneWaveBasis(crystal, ecut, (1, 1, 1), fft_size=fft_size, symmetry=False)

    def _check_potentials(self, pseudos: Mapping[str, Pseudopotential]) -> None:
        known = {"potentials": self.potentials}
        found = {"potentials": {s: potential_digest(p) for s, p in pseudos.items()}}
        if self.target == "difference":
            known["atoms"] = self.atoms
            found["atoms"] = {s: atom_digest(p) for s, p in pseudos.items()}
        for what, hashes in known.items():
            other = [s for s, one in found[what].items() if hashes[s] != one]
            if other:
                names = ", ".join(f"{s}: {self.pseudopotentials[s].name}" for s in other)
                raise ValueError(
                    f"the density model was made with other {what} of {', '.join(other)} (it has "
                    f"{names}): give the same pseudopotentials, or train a model with these."
                )

    def _density(
        self, basis: PlaneWaveBasis, pseudos: Mapping[str, Pseudopotential], nspin: int
    ) -> Tensor:
        """Total density, (nspin, nG), bohr^-3."""
        density = self._output(with_limited_moments(basis, pseudos, nspin), nspin)
        if self.target == "total":
            return density
        return unpolarised(superposition(basis, pseudos, nspin)) + density

    def _output(self, basis: PlaneWaveBasis, nspin: int) -> Tensor:
        """What the network predicts, (nspin, nG), on the basis's device."""
        network = self.network
        named = itertools.chain(network.named_parameters(), network.named_buffers())
        tensors = {
            name: (tensor if self.parameter_gradients else tensor.detach()).to(basis.device)
            for name, tensor in named
        }
        (density,) = functional_call(network, tensors, ([basis],))
        if len(density) != nspin:  # a network with spin, for a calculation without
            density = density.sum(0, keepdim=True)
        found: Tensor = density
        return found


def unpolarised(density: Tensor) -> Tensor:
    """The same total density with equal channels, (nspin, ...).

    Differences are learned from superposed atoms without magnetisation: that of superposed atoms
    is as large as the initial moments, which are guesses.

    Examples
    --------
    >>> unpolarised(torch.tensor([[3.0, 1.0], [1.0, 0.0]]))
    tensor([[2.0000, 0.5000],
            [2.0000, 0.5000]])
    """
    return density.mean(0, keepdim=True).expand_as(density)


def check_cutoff(record: DensityRecord, ecut: float) -> None:
    """Raise ValueError for a cutoff (Hartree) above a record's.

    Its density has no such plane waves, but superposed atoms have: their difference would be wrong.
    """
    if record.ecut is not None and ecut > record.ecut * (1.0 + _SAME_CUTOFF):
        raise ValueError(
            f"ecut = {ecut * Hartree:g} eV is above the {record.ecut * Hartree:g} eV of a record's "
            "density: give at most that, or densities that were computed at this cutoff."
        )


def _compare(
    known: Mapping[str, str], found: Mapping[str, str], crystal: Crystal, what: str
) -> None:
    """Raise ValueError unless the hashes of all species are equal."""
    other = [s for s in crystal.species if found.get(s) != known[s]]
    if other:
        raise ValueError(
            f"a record was made with other {what} of {', '.join(other)} than the model: give the "
            "model the same pseudopotentials, or compute the densities with the model's."
        )
