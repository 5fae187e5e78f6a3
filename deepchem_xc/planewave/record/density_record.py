"""`DensityRecord`: one kept density, with everything that belongs to it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from deepchem_xc import __version__
from deepchem_xc.planewave.basis.fft_boxes import SphereTransform, fastest_size
from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis
from deepchem_xc.planewave.fields import Fields
from deepchem_xc.planewave.given_density import check_electrons_of
from deepchem_xc.planewave.pseudo import atom_digest, potential_digest
from deepchem_xc.planewave.record.carried_density import carried_density, on_sphere
from deepchem_xc.planewave.record.carried_orbitals import Orbitals
from deepchem_xc.planewave.record.files import (
    digest_of,
    fields_from_state,
    read_record,
    stacked,
    write_record,
)
from deepchem_xc.planewave.record.fitting import check_atoms, check_datasets, check_shapes
from deepchem_xc.planewave.record.sphere_occupations import SphereOccupations
from deepchem_xc.planewave.structure.crystal import Crystal

if TYPE_CHECKING:
    from deepchem_xc.planewave.problem import KohnShamProblem
    from deepchem_xc.planewave.result import SCFResult


@dataclass(frozen=True, eq=False)
class DensityRecord:
    """The density of a crystal, how it was computed, and what came with it, in atomic units.

    Calculations start from it (``start=``), and models of densities learn from it. The density is
    the total one, never a difference. Only the first three attributes are always there; others are
    None where they are not known, as in files of earlier versions.

    Attributes
    ----------
    crystal : Crystal
        Structure, with its initial magnetic moments.
    g_vectors : Tensor
        Integer G, (nG, 3); the first is zero.
    fields : Fields
        Coefficients of the density, (nspin, nG), bohr^-3, with the kinetic energy density of a
        meta-GGA. With PAW it is the smooth density.
    spheres : SphereOccupations or None
        With PAW, the occupations of partial waves in the spheres of the atoms.
    orbitals : Orbitals or None
        Orbitals, if kept.
    notes : str
        Any text to keep with it in a file.
    potentials : mapping or None
        Hash of each element's potential, whatever its name: `pseudo.potential_digest`.
    superposition : mapping or None
        Hash of each element's atom in the superposition of atoms: `pseudo.atom_digest`.
    functional : str or None
        Name of the functional.
    functional_digest : str or None
        Hash of its energies at fixed densities: `xc.identity.content_digest`.
    ecut, ecut_smoothing : float or None
        Cutoff, and the width in which kinetic energies rise below it, Hartree.
    fft_size : (int, int, int) or None
        Grid of the functional.
    k_coordinates, k_weights : Tensor or None
        Irreducible k-points, (nk, 3), reduced coordinates, and their weights, (nk,).
    k_mesh : (int, int, int) or None
        Divisions of the mesh; None for an explicit list.
    smearing : mapping or None
        As `make_smearing` takes it, the width in Hartree.
    fixed_moment : float or None
        Magnetic moment that was held fixed, mu_B per cell.
    convergence : mapping or None
        What the last step reached: ``energy_change`` (Hartree), ``density_error`` (electrons per
        valence electron), ``orbital_error`` (Hartree), and the number of ``steps``.
    energy, free_energy : float or None
        Without and with the entropy term, Hartree per cell.
    forces : Tensor or None
        (natom, 3), Hartree/bohr.
    moments : Tensor or None
        Moments of the atoms, (natom,), mu_B, as `SCFResult.atom_moments`.
    fermi_level : Tensor or None
        Hartree, 0-d, or (2,) with a fixed moment.
    version : str or None
        Version of this package that computed it.
    other_code : str or None
        Format of the other code's file that it was read from, such as ``"chgcar"``. Its electrons
        belong to other potentials: models learn from it, calculations refuse it. None for densities
        of this package.
    superposition_fields : Fields or None
        For a density of another code, that code's superposition of atoms on the same plane waves,
        if it was read too. For our own densities ``problem.superposition()`` computes it.

    Examples
    --------
    >>> import tempfile
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import DensityRecord, scf
    >>> result = scf(bulk("Si"), "PBE", ecut=100.0, kpts=(1, 1, 1))
    >>> path = tempfile.mkdtemp() + "/si.npz"
    >>> DensityRecord.of(result).save(path)
    >>> record = DensityRecord.load(path)
    >>> bool((record.fields.density == result.density_g).all()), record.functional
    (True, 'PBE')
    >>> again = scf(bulk("Si"), "PBE", ecut=100.0, kpts=(1, 1, 1), start=path)
    >>> again.nsteps < result.nsteps
    True
    """

    crystal: Crystal
    g_vectors: Tensor = field(repr=False)
    fields: Fields = field(repr=False)
    orbitals: Orbitals | None = field(default=None, repr=False)
    notes: str = field(default="", repr=False)
    potentials: Mapping[str, str] | None = field(default=None, repr=False)
    superposition: Mapping[str, str] | None = field(default=None, repr=False)
    functional: str | None = None
    functional_digest: str | None = field(default=None, repr=False)
    ecut: float | None = None
    ecut_smoothing: float | None = None
    fft_size: tuple[int, int, int] | None = None
    k_coordinates: Tensor | None = field(default=None, repr=False)
    k_weights: Tensor | None = field(default=None, repr=False)
    k_mesh: tuple[int, int, int] | None = None
    smearing: Mapping[str, Any] | None = None
    fixed_moment: float | None = None
    convergence: Mapping[str, float] | None = field(default=None, repr=False)
    energy: float | None = None
    free_energy: float | None = None
    forces: Tensor | None = field(default=None, repr=False)
    moments: Tensor | None = field(default=None, repr=False)
    fermi_level: Tensor | None = field(default=None, repr=False)
    version: str | None = None
    other_code: str | None = None
    superposition_fields: Fields | None = field(default=None, repr=False)
    spheres: SphereOccupations | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Check shapes, and that occupations inside of spheres are complete."""
        check_shapes(len(self.g_vectors), self.fields, self.superposition_fields)
        if self.spheres is not None:
            self.spheres.check(self.crystal.symbols, self.nspin)
        if self.spheres is not None and self.potentials is None:
            raise ValueError(
                "a record with occupations of PAW spheres must say which datasets they belong to: "
                "give potentials, the hash of each."
            )

    @classmethod
    def of(
        cls, result: SCFResult, orbitals: bool = True, notes: str = "", results: bool = True
    ) -> DensityRecord:
        """Record of a result.

        Parameters
        ----------
        result : SCFResult
            A converged ground state.
        orbitals : bool, optional
            Keep the orbitals, from which another calculation takes fewer steps.
        notes : str, optional
            Any text.
        results : bool, optional
            Compute and keep energies, forces, moments, and the hashes of functional and atoms. A
            record that only serves as a start needs none.

        Raises
        ------
        ValueError
            With `results`, for one of `non_self_consistent`, whose energies are not its density's.
        RuntimeError
            With `results`, if the functional has changed since the calculation.
        """
        problem, basis = result.problem, result.basis
        if results and not result.is_self_consistent:
            raise ValueError(
                "the energies of a result that is not self-consistent do not belong to its density:"
                " DensityRecord.of(result, results=False) keeps the density alone."
            )
        parts = basis.k_coordinates, basis.orbital_g_vectors, basis.mask, result.orbitals
        kept = Orbitals(*parts) if orbitals else None
        pseudos = {symbol: problem.pseudopotentials[symbol] for symbol in basis.crystal.species}
        last, found, spheres = result.history[-1], result.converged.fields, None
        if found.spheres is not None and problem.spheres is not None:
            spheres = SphereOccupations.of(problem.spheres, found.spheres)
        reached = ("energy_change", "density_error", "orbital_error")
        record = cls(
            basis.crystal,
            basis.g_vectors,
            replace(found, spheres=None),
            kept,
            notes,
            potentials={symbol: potential_digest(pseudo) for symbol, pseudo in pseudos.items()},
            functional=problem.functional.name,
            ecut=basis.ecut,
            ecut_smoothing=basis.ecut_smoothing,
            fft_size=basis.fft_size,
            k_coordinates=basis.k_coordinates,
            k_weights=basis.weights,
            k_mesh=basis.kpoints.size,
            smearing=problem.smearing.keywords,
            fixed_moment=problem.moment,
            convergence={**{name: last[name] for name in reached}, "steps": last["step"]},
            version=__version__,
            spheres=spheres,
        )
        if not results:
            return record
        from deepchem_xc.xc.identity import content_digest

        plain = result.detach()
        return replace(
            record,
            superposition={symbol: atom_digest(pseudo) for symbol, pseudo in pseudos.items()},
            energy=float(plain.energy),
            free_energy=float(plain.free_energy),
            functional_digest=content_digest(problem.functional),
            forces=plain.forces.detach(),
            moments=plain.atom_moments.detach(),
            fermi_level=plain.fermi_level.detach(),
        )

    @property
    def nspin(self) -> int:
        """Number of spin channels."""
        return self.fields.density.shape[0]

    @property
    def nelectrons(self) -> float:
        """Electrons in the cell, those inside of PAW spheres included."""
        electrons = self.fields.density[:, 0].real * float(self.crystal.volume)  # on any device
        if self.spheres is not None:
            electrons = electrons + self.spheres.electrons(self.crystal.symbols).to(electrons)
        return float(electrons.sum())

    @property
    def density(self) -> Tensor:
        """Density on the grid, (nspin, n1, n2, n3), bohr^-3: total, or up and down.

        On the functional's grid where that is known, otherwise on the smallest one that holds it.
        With PAW it is the smooth density.
        """
        g = self.g_vectors.detach().cpu().numpy()
        size = self.fft_size or fastest_size(2 * abs(g).max(axis=0) + 1)
        return SphereTransform(g, size, self.fields.density.device).to_grid(self.fields.density)

    @property
    def digest(self) -> str:
        """SHA-256 of everything in it, which its file holds too."""
        return digest_of(vars(self))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write an npz file (never .safetensors); ``path`` is replaced only by a complete one."""
        write_record(vars(self), path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> DensityRecord:
        """Read a file that `save` wrote, also one of earlier versions.

        Raises
        ------
        FileNotFoundError
            If the file does not exist.
        DamagedFileError
            If it is empty, incomplete, altered, or not a density file.
        """
        return cls(**read_record(path))

    def on(self, basis: PlaneWaveBasis) -> DensityRecord:
        """The same density on the sphere of a basis, truncated or padded with zeros.

        G = 0, the number of electrons, stays as it is. Energies, forces and convergence belong to
        the other cutoff and are dropped, unless the sphere is the same. Orbitals keep their plane
        waves, and `start=` brings them to those of a calculation.

        Parameters
        ----------
        basis : PlaneWaveBasis
            For the same lattice.

        Raises
        ------
        ValueError
            If the lattice differs.

        Examples
        --------
        >>> from ase.build import bulk
        >>> from deepchem_xc.planewave import DensityRecord, scf
        >>> small, large = (scf(bulk("Si"), ecut=ecut) for ecut in (100.0, 150.0))
        >>> padded = DensityRecord.of(small).on(large.basis)
        >>> padded.fields.density.shape == large.density_g.shape
        True
        >>> print(f"{padded.nelectrons:.9f}")
        8.000000000
        """
        own, other = (x.lattice.detach().cpu() for x in (self.crystal, basis.crystal))
        if not torch.allclose(own, other, rtol=0.0, atol=1e-8):
            raise ValueError(
                f"the basis has the lattice {other.tolist()} (bohr), but the record's is "
                f"{own.tolist()}: give a basis of the same cell. start= and record.density_for("
                "problem) bring a density to another cell."
            )
        fields = on_sphere(self.fields, self.g_vectors, basis.g_vectors)
        atoms = self.superposition_fields
        if atoms is not None:
            atoms = on_sphere(atoms, self.g_vectors, basis.g_vectors)
        moved = replace(self, ecut=basis.ecut, fft_size=basis.fft_size)
        if torch.equal(self.g_vectors.cpu(), basis.g_vectors.cpu()):
            return moved
        return replace(
            moved,
            g_vectors=basis.g_vectors,
            fields=fields,
            superposition_fields=atoms,
            convergence=None,
            energy=None,
            free_energy=None,
            forces=None,
            moments=None,
            fermi_level=None,
        )

    def at(self, ecut: float, fft_size: Sequence[int] | int | None = None) -> DensityRecord:
        """The same density at another cutoff (Hartree), and on another grid: see `on`.

        Parameters
        ----------
        ecut : float
            Cutoff of the orbitals, Hartree; the density has four times as much.
        fft_size : (int, int, int) or int, optional
            Grid; by default the smallest that holds the density.

        Examples
        --------
        >>> from ase.build import bulk
        >>> from deepchem_xc.planewave import DensityRecord, scf
        >>> record = DensityRecord.of(scf(bulk("Si"), ecut=150.0))
        >>> len(record.at(3.0).g_vectors) < len(record.g_vectors)
        True
        """
        basis = PlaneWaveBasis(self.crystal, ecut, (1, 1, 1), fft_size=fft_size, symmetry=False)
        return self.on(basis)

    def density_for(self, problem: KohnShamProblem) -> Fields:
        """The density moved with the atoms to a problem's cell, positions and sphere.

        It is a `DensitySource`. What bonding adds to superposed atoms in the record's geometry is
        added to superposed atoms in the new one. Plane waves that the record lacks are zero
        unless the atoms move. Occupations inside of PAW spheres stay with their atoms.

        Parameters
        ----------
        problem : KohnShamProblem
            With the same atoms in the same order, PAW datasets and number of electrons.

        Returns
        -------
        Fields
            (nspin, nG), bohr^-3, not symmetrised; with a kinetic energy density if both have one.

        Raises
        ------
        ValueError
            If atoms, PAW datasets or the number of electrons differ, or if it is a density of
            another code.

        Examples
        --------
        >>> from ase.build import bulk
        >>> from deepchem_xc.planewave import DensityRecord, scf
        >>> old, new = (scf(bulk("Si", a=a), ecut=100.0) for a in (5.5, 5.4))
        >>> fields = DensityRecord.of(old).density_for(new.problem)
        >>> print(f"{fields.density[0, 0].real * new.basis.volume:.9f}")
        8.000000000
        """
        self.check_fits(problem)
        return carried_density(problem, self.crystal, self.g_vectors, self.fields, self.spheres)

    def check_fits(self, problem: KohnShamProblem) -> None:
        """Raise ValueError unless a problem has these atoms, in this order, datasets and electrons.

        Densities of other codes fit no problem.

        Parameters
        ----------
        problem : KohnShamProblem
            Its cell, positions, plane waves and spins may differ.
        """
        self._check_own()
        check_atoms(problem, self.crystal.symbols)
        check_datasets(problem, self.spheres, self.potentials)
        check_electrons_of(self.nelectrons, problem)

    def _check_own(self) -> None:
        if self.other_code is not None:
            raise ValueError(
                f"the given density was read from another code's file ({self.other_code}): its "
                "electrons belong to that code's potentials and cores, which a calculation here "
                "does not have. Models can learn from it; give calculations a density that was "
                "computed here, or start from atoms (start=None)."
            )

    def with_orbitals(self, orbitals: Orbitals | None) -> DensityRecord:
        """The same density with other orbitals, or none."""
        return replace(self, orbitals=orbitals)

    def state_dict(self) -> dict[str, Any]:
        """Structure and density as plain numbers and tensors for a checkpoint, without the rest."""
        crystal = self.crystal
        state = {
            "lattice": crystal.lattice,
            "symbols": list(crystal.symbols),
            "positions": crystal.positions,
            "moments": crystal.magnetic_moments,
            "pbc": crystal.pbc,
            "density_g": self.g_vectors,
            "density": stacked(self.fields),
        }
        if self.spheres is not None:
            state["potentials"] = dict(self.potentials or {})
            state["spheres"] = {**self.spheres.tensors(), **self.spheres.about()}
        return state

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> DensityRecord:
        """The inverse of `state_dict`."""
        crystal = Crystal(
            state["lattice"],
            tuple(state["symbols"]),
            state["positions"],
            state["moments"],
            state["pbc"],
        )
        kept = state.get("spheres")
        return cls(
            crystal,
            state["density_g"],
            fields_from_state(state["density"]),
            potentials=state.get("potentials"),
            spheres=kept and SphereOccupations.from_tensors(kept, kept, crystal.natom),
        )
