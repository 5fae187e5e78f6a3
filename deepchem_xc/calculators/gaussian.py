"""`GaussianDFT`: the solver for molecules as an ASE calculator."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ase.calculators.calculator import (
    Calculator,
    PropertyNotImplementedError,
    PropertyNotPresent,
    all_changes,
)
from ase.units import Bohr, Hartree

from deepchem_xc._modes import outside_inference_and_autocast
from deepchem_xc._signatures import documents_keywords_of
from deepchem_xc.calculators.settings import (
    changed_files,
    copied,
    file_digests,
    identity_of,
    is_unchanged,
    plain,
)
from deepchem_xc.gaussian import MolecularResult, Molecule, SpinError, scf

if TYPE_CHECKING:
    from ase import Atoms
    from torch import Tensor

    from deepchem_xc.xc.identity import Identity

# Keywords that the calculator hands on as they are.
_OF_SCF = (
    *("basis", "charge", "restricted", "pseudopotentials", "grid_level", "density_fitting"),
    *("occupations", "convergence", "level_shift", "damping", "gradient_tolerance"),
)
_PARAMETERS = inspect.signature(scf).parameters
_STANDARD: dict[str, Any] = {name: _PARAMETERS[name].default for name in _OF_SCF}
# Those that make the molecule.
_OF_MOLECULE = ("basis", "charge", "pseudopotentials")
# Largest displacement of an atom, Angstrom, up to which an earlier density is a good start.
_FAR = 0.5
# Largest deviation of the sum of initial moments from a whole number, mu_B.
_WHOLE = 1e-6


@documents_keywords_of(scf, _OF_SCF)
class GaussianDFT(Calculator):
    """Kohn-Sham DFT of molecules on Gaussian basis functions for ASE.

    Results are in ASE's units: energies in eV, forces in eV/Angstrom, the dipole moment in
    e Angstrom, the moment in mu_B. ``get_potential_energy()`` is the energy extrapolated to zero
    smearing width and ``get_potential_energy(force_consistent=True)`` the free energy, from which
    forces are derived. Keywords are those of `gaussian.scf`: widths and criteria are in Hartree.

    After small changes of positions the next calculation starts from the density of the last one.
    None selects the default of every keyword except ``basis``, which has none.

    Parameters
    ----------
    atoms : ase.Atoms, optional
        Atoms to attach the calculator to.
    xc : str or XCFunctional
        A name (``"PBE"``, the default), libxc identifiers, the path of a functional's file, or a
        functional (a torch module). If the parameters of a module, or the content of the file,
        change, results are computed again.
    spin : int, optional
        Number of unpaired electrons. By default the sum of the atoms' initial magnetic moments
        without its sign, so that ``ase.build.molecule("O2")`` is a triplet.
    **keywords
        Those of `gaussian.scf`.

    Raises
    ------
    TypeError
        For an unknown keyword.
    ValueError
        At a calculation, for atoms that repeat periodically, and other input that is not valid.
    SCFConvergenceError
        If a calculation does not converge; there are then no results.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from deepchem_xc.calculators import GaussianDFT
    >>> atoms = molecule("O2")
    >>> atoms.calc = GaussianDFT(xc="PBE", basis="def2-svp")
    >>> print(f"{atoms.get_potential_energy():.3f} eV, {atoms.get_magnetic_moment():.0f} mu_B")
    -4083.461 eV, 2 mu_B
    >>> print(f"{atoms.get_forces()[0, 2]:.2f} eV/Angstrom")
    -2.19 eV/Angstrom
    """

    implemented_properties = ["energy", "free_energy", "forces", "dipole", "magmom"]
    # Other codes start from these charges of atoms; the molecule's is the keyword `charge`.
    ignored_changes = {"initial_charges"}
    default_parameters: dict[str, Any] = {
        "xc": "PBE",
        "spin": None,
        **_STANDARD,
    }

    def __init__(self, *, atoms: Atoms | None = None, **keywords: Any) -> None:
        self._result: MolecularResult | None = None
        self._start: MolecularResult | None = None
        self._functional: Identity | None = None
        # Digest of the functional's file in the last calculation.
        self._files: dict[str, str] = {}
        super().__init__(atoms=atoms, **keywords)

    def set(self, **keywords: Any) -> dict[str, Any]:
        """Change settings; this drops results and the density.

        Raises
        ------
        TypeError
            For an unknown keyword; the message lists the valid ones.
        """
        for name in sorted(set(keywords) - set(self.default_parameters)):
            near = difflib.get_close_matches(name, self.default_parameters, 1)
            hint = f" Do you mean {near[0]}?" if near else ""
            raise TypeError(
                f"GaussianDFT has no keyword {name!r}.{hint} Valid ones are "
                f"{', '.join(self.default_parameters)}."
            )
        given = {name: copied(value) for name, value in keywords.items()}
        changed: dict[str, Any] = super().set(**given)
        if changed:
            atoms = self.atoms
            self.reset()
            self.atoms, self._start = atoms, None
        return changed

    def todict(self, skip_default: bool = True) -> dict[str, Any]:
        """Settings for a database; objects are represented by their names."""
        return {key: copied(plain(v)) for key, v in super().todict(skip_default).items()}

    def reset(self) -> None:
        """Drop results, but keep the density as the start of the next calculation."""
        if self._result is not None:
            self._start = self._result
        self._result = None
        super().reset()

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """Names of changes since the last calculation: of atoms, the functional, or its file."""
        changes = list(super().check_state(atoms, tol))
        xc = self.parameters["xc"]
        if not is_unchanged(xc, self._functional):
            changes.append("xc")
        return changes + changed_files({"xc": xc}, self._files)

    @property
    def scf_result(self) -> MolecularResult:
        """The converged ground state, in Hartree atomic units.

        Raises
        ------
        ase.calculators.calculator.PropertyNotPresent
            If there is no calculation yet, or the last one failed.
        """
        if self._result is None:
            raise PropertyNotPresent(
                "there is no converged calculation: call atoms.get_potential_energy() first."
            )
        return self._result

    def get_property(
        self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True
    ) -> Any:
        """One of `implemented_properties`, computed if necessary; see ASE."""
        if name in ("stress", "stresses"):
            raise PropertyNotImplementedError(
                "a molecule has no cell, and so no stress: use PlaneWaveDFT for crystals."
            )
        return super().get_property(name, atoms, allow_calculation)

    @outside_inference_and_autocast()
    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Compute `properties`; see ASE."""
        if system_changes:
            self.reset()
        super().calculate(atoms, properties, system_changes)
        if self._result is None:
            self._converge(self.get_atoms())
        result = self.scf_result.detach()
        if "forces" in properties:
            self.results["forces"] = result.forces.numpy() * (Hartree / Bohr)
        if "dipole" in properties:
            self.results["dipole"] = result.dipole.numpy() * Bohr

    def _converge(self, atoms: Atoms) -> None:
        """Find the ground state."""
        self.results = {}
        given: dict[str, Any] = {
            name: _STANDARD[name] if self.parameters[name] is None else self.parameters[name]
            for name in _OF_SCF
        }
        of_molecule = {name: given.pop(name) for name in _OF_MOLECULE}
        spin = self.parameters["spin"]
        with moments_explained(spin):
            unpaired = unpaired_electrons(atoms) if spin is None else spin
            molecule = Molecule.of(atoms, spin=unpaired, **of_molecule)
        xc = self.parameters["xc"]
        xc = self.default_parameters["xc"] if xc is None else xc
        functional, files = identity_of(xc), file_digests({"xc": xc})
        start = None if self._start is None else followed(self._start, molecule)
        self._start = None  # not again, if it does not converge
        self._result = result = scf(molecule, xc, start=start, **given)
        self._functional, self._files = functional, files
        plain_result = result.detach()
        self.results = {
            "energy": float(plain_result.extrapolated_energy) * Hartree,
            "free_energy": float(plain_result.free_energy) * Hartree,
            "magmom": float(plain_result.magnetic_moment),
        }


@contextmanager
def moments_explained(spin: Any) -> Iterator[None]:
    """Where ``spin`` is None, errors about it say that it comes from the initial moments.

    Examples
    --------
    >>> from ase import Atoms
    >>> with moments_explained(None):
    ...     scf(Atoms("H"), basis="sto-3g", spin=unpaired_electrons(Atoms("H")))
    Traceback (most recent call last):
    deepchem_xc.gaussian.molecule_checks.SpinError: 1 electrons cannot have 0 unpaired ones: ...
    """
    try:
        yield
    except SpinError as error:
        if spin is not None:
            raise
        raise SpinError(
            f"{error} As spin is not given, it is the sum of the atoms' initial magnetic moments: "
            "give spin, or set these moments."
        ) from error


def unpaired_electrons(atoms: Atoms) -> int:
    """Number of unpaired electrons: the sum of the initial magnetic moments without its sign.

    Parameters
    ----------
    atoms : ase.Atoms
        Moments in mu_B; none are 0.

    Raises
    ------
    ValueError
        If the sum is not a whole number.

    Examples
    --------
    >>> from ase.build import molecule
    >>> unpaired_electrons(molecule("O2")), unpaired_electrons(molecule("H2O"))
    (2, 0)
    """
    total = abs(float(np.sum(atoms.get_initial_magnetic_moments())))
    if not (np.isfinite(total) and abs(total - round(total)) <= _WHOLE):
        raise ValueError(
            f"the initial magnetic moments add up to {total:g} mu_B, and a molecule has a "
            "whole number of unpaired electrons: give spin=, or other moments."
        )
    return round(total)


def followed(result: MolecularResult, molecule: Molecule) -> Tensor | None:
    """Density matrices of a result whose orbitals follow the atoms to near positions.

    Parameters
    ----------
    result : MolecularResult
        At earlier positions.
    molecule : Molecule
        At the present ones.

    Returns
    -------
    Tensor or None
        (nspin, nao, nao), with the same number of electrons; None for other or far molecules.

    Examples
    --------
    >>> from ase import Atoms
    >>> result = scf(Atoms("H2", [[0, 0, 0], [0, 0, 0.70]]), basis="sto-3g")
    >>> near = Molecule.of(Atoms("H2", [[0, 0, 0], [0, 0, 0.75]]), basis="sto-3g")
    >>> density = followed(result, near)
    >>> (density[0] * torch.from_numpy(near.overlap)).sum()
    tensor(2.0000, dtype=torch.float64)
    """
    before = result.molecule
    if before.symbols != molecule.symbols or before.norbital != molecule.norbital:
        return None
    steps = np.linalg.norm(molecule.positions - before.positions, axis=1) * Bohr
    if steps.max() > _FAR or (before.charge, before.spin) != (molecule.charge, molecule.spin):
        return None
    turn = _power(molecule.overlap, -0.5) @ _power(before.overlap, 0.5)
    return turn @ result.detach().density_matrix @ turn.T


def _power(overlap: Any, exponent: float) -> Tensor:
    values, vectors = torch.linalg.eigh(torch.from_numpy(overlap))
    return vectors * values**exponent @ vectors.T
