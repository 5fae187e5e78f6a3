"""The calculator's methods for electronic states, named as in ASE and GPAW; eV and Angstrom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from ase.units import Bohr, Hartree
from numpy.typing import NDArray

from deepchem_xc.planewave.properties.all_electron import all_electron_density
from deepchem_xc.planewave.properties.cube import density_part
from deepchem_xc.planewave.structure.kpoints import KPoints
from deepchem_xc.planewave.values import whole_number

if TYPE_CHECKING:
    from ase.dft.kpoints import BandPath
    from ase.spectrum.band_structure import BandStructure
    from torch import Tensor

    from deepchem_xc.planewave.result import SCFResult


class ElectronicStates:
    """Eigenvalues, occupations, k-points and the density of ``self.scf_result``."""

    @property
    def scf_result(self) -> SCFResult:
        """Ground state that all methods here read, in Hartree atomic units."""
        raise NotImplementedError

    @property
    def _plain_result(self) -> SCFResult:
        """The result without derivatives, which numpy cannot hold."""
        return self.scf_result.detach()

    def get_fermi_level(self) -> float:
        """Fermi level, eV; if one spin holds all electrons, the level of this spin.

        Raises
        ------
        ValueError
            If the moment is fixed and each spin has its own level: see `get_fermi_levels`.
        """
        levels = self.get_fermi_levels()
        levels = levels[np.isfinite(levels)]
        if len(levels) > 1:
            raise ValueError(
                f"with a fixed moment each spin has its own Fermi level, here {levels.tolist()} "
                "eV: use get_fermi_levels()."
            )
        return float(levels[0])

    def get_fermi_levels(self) -> NDArray[np.float64]:
        """One Fermi level, or one for each spin if the moment is fixed, eV.

        For a spin without electrons it is minus infinity.
        """
        return np.atleast_1d(self._plain_result.fermi_level.cpu().numpy()) * Hartree

    def get_eigenvalues(self, kpt: int = 0, spin: int = 0) -> NDArray[np.float64]:
        """Eigenvalues at the irreducible k-point `kpt`, (nband,), eV."""
        values = self._at(self._plain_result.eigenvalues, kpt, spin)
        return np.asarray(values * Hartree)

    def get_occupation_numbers(self, kpt: int = 0, spin: int = 0) -> NDArray[np.float64]:
        """Electrons in each state at the irreducible k-point `kpt`, (nband,).

        At most 2 without and 1 with spin polarisation; not multiplied by the k-point's weight.
        """
        return self._at(self._plain_result.occupations, kpt, spin)

    @staticmethod
    def _at(values: Tensor, kpt: int, spin: int) -> NDArray[np.float64]:
        """Values (nspin, nk, nband) of one spin and k-point."""
        for name, index, count in (("spin", spin, len(values)), ("kpt", kpt, values.shape[1])):
            if not -count <= index < count:
                raise IndexError(
                    f"{name} = {index} does not exist: the calculation has {count}, from 0 on."
                )
        return np.asarray(values[spin, kpt].cpu().numpy())

    def get_number_of_bands(self) -> int:
        """Number of bands at every k-point."""
        return int(self.scf_result.orbitals.shape[2])

    def get_number_of_spins(self) -> int:
        """1, or 2 if the calculation is spin-polarised."""
        return self.scf_result.problem.nspin

    def get_spin_polarized(self) -> bool:
        """Whether there are two spin channels."""
        return self.get_number_of_spins() == 2

    def get_number_of_electrons(self) -> float:
        """Valence electrons per cell."""
        return self.scf_result.problem.nelectrons

    def get_number_of_iterations(self) -> int:
        """Self-consistency steps of the last calculation."""
        return self.scf_result.nsteps

    def get_ibz_k_points(self) -> NDArray[np.float64]:
        """Irreducible k-points in reduced coordinates, (nk, 3)."""
        return self.scf_result.kpoints.coordinates.cpu().numpy()

    def get_k_point_weights(self) -> NDArray[np.float64]:
        """Weights of the irreducible k-points, (nk,); they sum to 1."""
        return self.scf_result.weights.cpu().numpy()

    def get_bz_k_points(self) -> NDArray[np.float64]:
        """All k-points that the irreducible ones represent, reduced, in (-1/2, 1/2]."""
        return unfold(self.scf_result.kpoints)

    def get_xc_functional(self) -> str:
        """Name of the XC functional."""
        return str(self.scf_result.problem.functional.name)

    def get_pseudo_density(self, spin: int | None = None) -> NDArray[np.float64]:
        """Valence density on the grid, (n1, n2, n3), electrons per Angstrom^3; smooth with PAW.

        Parameters
        ----------
        spin : int, optional
            0 or 1 for one spin; the sum by default.
        """
        return density_part(self._plain_result, _part(spin)).cpu().numpy() / Bohr**3

    def get_all_electron_density(
        self, spin: int | None = None, gridrefinement: int = 2, skip_core: bool = False
    ) -> NDArray[np.float64]:
        """Density of all electrons, (n1, n2, n3), electrons per Angstrom^3, with PAW datasets.

        Parameters
        ----------
        spin : int, optional
            0 or 1 for one spin; the sum by default.
        gridrefinement : int, optional
            Points of the result for each point of the calculation's grid along an axis.
        skip_core : bool, optional
            Leave out the frozen core.

        See Also
        --------
        deepchem_xc.planewave.all_electron_density : Grids of any size, and where values are exact.
        """
        result = self._plain_result
        finer = whole_number(gridrefinement, "gridrefinement", minimum=1)
        size = tuple(finer * n for n in result.basis.fft_size)
        density = all_electron_density(result, size, core=not skip_core)
        return density_part(result, _part(spin), density).cpu().numpy() / Bohr**3

    def get_electrostatic_potential(self) -> NDArray[np.float64]:
        """Potential energy of an electron on the grid, (n1, n2, n3), eV.

        As in GPAW: low at atoms; its value in vacuum minus the Fermi level is the work function.
        See `SCFResult.electrostatic_potential`.
        """
        return np.asarray(self._plain_result.electrostatic_potential.cpu().numpy() * Hartree)

    def band_structure(
        self,
        path: BandPath | str | None = None,
        npoints: int = 60,
        nbands: int | None = None,
        **keywords: Any,
    ) -> BandStructure:
        """Bands along a path, in the potential of the last calculation.

        See `deepchem_xc.planewave.properties.bands.band_structure`.
        """
        from deepchem_xc.planewave.properties.bands import band_structure

        return band_structure(self.scf_result, path, npoints, nbands, **keywords)


def _part(spin: int | None) -> str:
    """Name of a spin's part of a density."""
    if spin not in (None, 0, 1):
        raise ValueError(f"spin must be None (the sum), 0 or 1, got {spin!r}.")
    return "total" if spin is None else ("up", "down")[spin]


def unfold(kpoints: KPoints) -> NDArray[np.float64]:
    """All images of irreducible k-points under their symmetry, (n, 3), in (-1/2, 1/2].

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal, make_kpoints
    >>> silicon = Crystal.from_ase(bulk("Si"))
    >>> mesh = make_kpoints({"size": (3, 3, 3), "gamma": True}, silicon)
    >>> len(mesh), len(unfold(mesh))
    (4, 27)
    """
    coordinates = kpoints.coordinates.cpu().numpy()
    group = kpoints.symmetry
    # k transforms with W^T, so its images are the rows k W.
    images = [coordinates @ rotation for rotation in group.rotations]
    if group.time_reversal:
        images += [-image for image in images]
    # Round, so that a point obtained in two ways has identical coordinates.
    wrapped = np.round(np.concatenate(images), 9) % 1.0
    wrapped[wrapped > 0.5] -= 1.0
    return np.unique(wrapped, axis=0)
