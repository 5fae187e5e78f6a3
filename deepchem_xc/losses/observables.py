"""Observables that are compared with reference values, in users' units: eV, Angstrom, GPa, mu_B.

Everything is a function of tensors and stays in their graph. Energies are per cell. The density and
the density matrix of a molecule are in atomic units, as in DeepChem.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from ase.units import Bohr, GPa, Hartree
from torch import Tensor

from deepchem_xc.eos.fits import fit_equation_of_state_tensors
from deepchem_xc.gaussian import MolecularResult
from deepchem_xc.planewave.properties import volume_scan
from deepchem_xc.planewave.properties.volume_series import VolumeSeries, bravais_constant
from deepchem_xc.results import PeriodicResult, Result


def extrapolated_energy(result: Result, entropy_response: bool = True) -> Tensor:
    """Energy extrapolated to zero smearing width, 0-d, eV.

    Parameters
    ----------
    result : Result
        A converged ground state.
    entropy_response : bool, optional
        Exact gradients, which cost an adjoint equation where occupations are smeared. False
        omits the response of the entropy: see `planewave`'s function of this name.
    """
    return volume_scan.extrapolated_energy(result, entropy_response) * Hartree


def energy_difference(energies: Tensor, numbers: Sequence[int]) -> Tensor:
    """Energy of the later systems minus that of the first; a single system's energy.

    Parameters
    ----------
    energies : Tensor
        (nsystem,), eV.
    numbers : sequence of int
        How many times each system occurs.

    Returns
    -------
    Tensor
        (1,), eV.

    Examples
    --------
    >>> energies = torch.tensor([-10.0, -4.0], dtype=torch.float64)
    >>> energy_difference(energies, [1, 2]), energy_difference(energies[:1], [1])
    (tensor([2.], dtype=torch.float64), tensor([-10.], dtype=torch.float64))
    """
    times = torch.tensor(numbers, dtype=torch.float64, device=energies.device)
    total = times * energies
    return total if len(total) == 1 else (total[1:].sum() - total[0]).unsqueeze(0)


def relative_energies(energies: Tensor) -> Tensor:
    """Energies relative to their mean, (n,), eV: a curve without its zero.

    Examples
    --------
    >>> relative_energies(torch.tensor([1.0, 2.0, 6.0]))
    tensor([-2., -1.,  3.])
    """
    return energies - energies.mean()


def lattice_constant(energies: Tensor, series: VolumeSeries) -> Tensor:
    """Lattice constant a of the conventional cell where the energy is lowest.

    Parameters
    ----------
    energies : Tensor
        At the scales of `series`, (n,), eV.
    series : VolumeSeries
        The cells; their shape is kept.

    Returns
    -------
    Tensor
        (1,), Angstrom; the in-plane constant of a layer.

    Raises
    ------
    ValueError
        If the energies have no minimum between the first and the last volume.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave.properties.volume_series import volume_series
    >>> from deepchem_xc.planewave.settings import Settings
    >>> series = volume_series(bulk("Al", a=4.0), Settings.of({"ecut": 150.0}))
    >>> x = torch.tensor(series.scales, dtype=torch.float64) ** (-2 / 3)
    >>> print(f"{float(lattice_constant((x - 1.01) ** 2, series)):.4f}")
    3.9802
    """
    fit = fit_equation_of_state_tensors(_sizes(series), energies, series.dimension)
    ratio = fit.size / series.size(1.0)
    a = bravais_constant(series.atoms, series.axis)
    return (a * ratio ** (1.0 / series.dimension)).unsqueeze(0)


def bulk_modulus(energies: Tensor, series: VolumeSeries) -> Tensor:
    """Bulk modulus at the minimum, (1,), GPa; for a layer the layer modulus, N/m.

    Parameters and errors as for `lattice_constant`.
    """
    return fit_equation_of_state_tensors(_sizes(series), energies, series.dimension).modulus[None]


def cohesive_energy(energies: Tensor, numbers: Sequence[int], natom: int) -> Tensor:
    """Energy of separate atoms minus that of the crystal they form.

    Parameters
    ----------
    energies : Tensor
        Energies of the crystal and of each atom, (1 + nspecies,), eV.
    numbers : sequence of int
        How many times each occurs.
    natom : int
        Atoms in the crystal's cell.

    Returns
    -------
    Tensor
        (1,), eV per atom.

    Examples
    --------
    >>> cohesive_energy(torch.tensor([-10.0, -4.0], dtype=torch.float64), [1, 2], 2)
    tensor([1.], dtype=torch.float64)
    """
    return energy_difference(energies, numbers) / (natom * numbers[0])


def forces(result: Result) -> Tensor:
    """Forces, (natom, 3), eV/Angstrom."""
    return result.forces * (Hartree / Bohr)


def stress(result: PeriodicResult) -> Tensor:
    """Stress, (3, 3), GPa, positive under tension."""
    return result.stress * (Hartree / Bohr**3 / GPa)


def density(result: Result) -> Tensor:
    """Valence density on the grid, (nspin, n1, n2, n3), electrons per Angstrom^3."""
    return result.density / Bohr**3


def molecular_density(result: MolecularResult) -> Tensor:
    """Total density at the points of a molecule's grid, (npoint,), electrons per bohr^3."""
    return result.density.sum(0)


def density_matrix(result: MolecularResult) -> Tensor:
    """Total density matrix, (nao, nao), in PySCF's order of basis functions."""
    return result.density_matrix.sum(0)


def band_gap(result: Result) -> Tensor:
    """Smallest gap on the k-points, (1,), eV."""
    return (result.band_gap * Hartree).unsqueeze(0)


def magnetic_moment(result: Result) -> Tensor:
    """Total moment of the cell, (1,), mu_B."""
    return result.magnetic_moment.unsqueeze(0)


def _sizes(series: VolumeSeries) -> list[float]:
    return [series.size(scale) for scale in series.scales]
