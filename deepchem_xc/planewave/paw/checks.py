"""Relations that every PAW dataset fulfils; a file that violates one is damaged or special.

All 218 datasets for LDA and PBE of gpaw-data 1.2 and 73 of ABINIT's fulfil them with room to spare:
the figures stand beside the tolerances.
"""

from __future__ import annotations

import math

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray

from .dataset import PAWDataset, ReferenceEnergies
from .shapes import SHAPES, shape_functions

__all__ = ["check_dataset", "check_ionic_potential", "check_total_energy"]

# Largest l of partial waves: harmonics and their products are tabulated up to this.
_HIGHEST = 3
# Electrons; measured 5e-13 (GPAW), 9e-8 (ABINIT).
_ELECTRONS = 1e-6
# Deviation of <projector|smooth wave> from the unit matrix; measured 4e-13.
_DUALITY = 1e-6
# The same where the generator did not use plain sums, or filtered the projectors: measured 2e-2.
_LOOSE_DUALITY = 5e-2
# Deviation of bound all-electron waves' norm from 1, where integrals are plain sums; measured
# 2e-13.
_NORM = 1e-6
# Difference of partial waves beyond the cutoff radius, in parts of the largest value, and of core
# densities beyond the sphere, electrons per bohr^3; measured 1e-13.
_OUTSIDE = 1e-7
# Kinetic energy differences, Ha: asymmetry, and between different l; measured 0.
_KINETIC = 1e-8
# Local potentials that a file holds in two forms, Ha, as coefficients of Y_00, between the first
# radius (bohr) and the sphere's; measured 7e-6, and 0.4 in one file, for no reason that was found.
_LOCAL, _FIRST = 1e-4, 0.05
# Distance of one value of r^2 f from the cubic polynomial of its four neighbours, in parts of its
# largest value in the sphere; measured 6e-3 (zero potential), 2e-4 (densities), 6e-5 (waves).
_SPIKE = 2e-2
# Number of points at the nucleus that are not compared: meshes do not resolve cores of heavy atoms.
_AT_NUCLEUS = 10
# Sum of the reference atom's energies less their total, Ha, rounded to 1e-6 in some files; measured
# 1e-6.
_TOTAL = 1e-5


def check_dataset(dataset: PAWDataset) -> None:
    """Raise if a dataset contradicts itself, or has a core hole or a charge.

    Raises
    ------
    ValueError
        The message says which relation is violated, and by how much.
    """
    _check_electrons(dataset)
    _check_spheres(dataset)
    _check_waves(dataset)
    _check_kinetic_differences(dataset)
    _check_smoothness(dataset)


def _check_electrons(dataset: PAWDataset) -> None:
    if dataset.charge != atomic_numbers[dataset.symbol]:
        raise ValueError(
            f"Z is {dataset.charge:g}, but {dataset.symbol} has {atomic_numbers[dataset.symbol]}"
        )
    if dataset.core < 0.0 or dataset.valence <= 0.0:
        raise ValueError(
            f"it has {dataset.core:g} core and {dataset.valence:g} valence electrons; the first "
            "must not be negative and the second must be positive"
        )
    electrons = dataset.core + dataset.valence
    if abs(electrons - dataset.charge) > _ELECTRONS:
        raise ValueError(
            f"it has {electrons:g} electrons for Z = {dataset.charge:g}: datasets with a core hole "
            "and of ions are not read"
        )
    occupied = sum(wave.occupation for wave in dataset.waves)
    if abs(occupied - dataset.valence) > _ELECTRONS:
        raise ValueError(
            f"the occupations f of its states sum to {occupied:g}, not to its {dataset.valence:g} "
            "valence electrons"
        )
    core = 4.0 * math.pi * float(dataset.grid.integrate(dataset.core_density))
    if abs(core - dataset.core) > _ELECTRONS:
        raise ValueError(
            f"<ae_core_density> holds {core:.9g} electrons, not {dataset.core:g}: it is damaged"
        )


def _check_spheres(dataset: PAWDataset) -> None:
    if dataset.shape not in SHAPES:
        raise ValueError(
            f"its shape_function has the type {dataset.shape!r}; valid types are "
            f"{', '.join(SHAPES)}"
        )
    radii = [(f"rc of state {i + 1}", wave.cutoff) for i, wave in enumerate(dataset.waves)]
    end = float(dataset.grid.r[-1])
    for what, radius in [("rc of shape_function", dataset.shape_radius), *radii]:
        if not 0.0 < radius < end:
            raise ValueError(
                f"{what} is {radius:g} bohr; it must be positive and inside the mesh, which ends "
                f"at {end:.4g} bohr"
            )
    outside = dataset.grid.r > dataset.sphere_radius
    difference = np.abs(dataset.core_density - dataset.smooth_core_density)[outside].max()
    if difference > _OUTSIDE:
        raise ValueError(
            f"the core densities differ by {difference:.1e} electrons per bohr^3 outside the "
            "sphere, where they must agree: the file is damaged"
        )


def _check_waves(dataset: PAWDataset) -> None:
    grid = dataset.grid
    for i, wave in enumerate(dataset.waves, start=1):
        if wave.l > _HIGHEST:
            raise ValueError(f"state {i} has l = {wave.l}; l up to {_HIGHEST} is read")
        if wave.occupation < 0.0:
            raise ValueError(f"state {i} has the occupation {wave.occupation:g}")
        # The next point: files round the radius.
        outside = slice(grid.count_below(wave.cutoff) + 1, None)
        difference = np.abs(wave.all_electron - wave.smooth)[outside].max(initial=0.0)
        if difference > _OUTSIDE * np.abs(wave.all_electron).max():
            raise ValueError(
                f"the partial waves of state {i} differ by {difference:.1e} beyond their cutoff "
                f"radius of {wave.cutoff:g} bohr: the file is damaged"
            )
        norm = float(grid.integrate(wave.all_electron**2))
        if wave.n is not None and not grid.corrected and abs(norm - 1.0) > _NORM:
            raise ValueError(
                f"the all-electron partial wave of state {i} has the norm {norm:.9g}, not 1: the "
                "file is damaged"
            )
    overlap = grid.integrate(dataset.projectors[:, None] * dataset.smooth_waves[None])
    l = np.array(dataset.angular_momenta)
    deviation = float(np.abs((overlap - np.eye(len(l))) * (l[:, None] == l)).max())
    if deviation > (_LOOSE_DUALITY if grid.corrected else _DUALITY):
        raise ValueError(
            "projectors and smooth partial waves are not dual: their overlaps deviate from the "
            f"unit matrix by {deviation:.1e}; the file is damaged"
        )


def _check_kinetic_differences(dataset: PAWDataset) -> None:
    values, l = dataset.kinetic_differences, np.array(dataset.angular_momenta)
    asymmetry = float(np.abs(values - values.T).max())
    mixed = float(np.abs(values * (l[:, None] != l)).max())
    if max(asymmetry, mixed) > _KINETIC:
        raise ValueError(
            "<kinetic_energy_differences> is not symmetric, or couples states of different l, by "
            f"{max(asymmetry, mixed):.1e} Ha: the file is damaged"
        )


def _check_smoothness(dataset: PAWDataset) -> None:
    """No other relation determines these functions inside of the sphere."""
    functions = {
        "<pseudo_core_density>": dataset.smooth_core_density,
        "<zero_potential>": dataset.zero_potential,
        "<ae_core_kinetic_energy_density>": dataset.core_kinetic_density,
        "<pseudo_core_kinetic_energy_density>": dataset.smooth_core_kinetic_density,
    }
    for i, wave in enumerate(dataset.waves, start=1):
        functions[f"<ae_partial_wave> of state {i}"] = wave.all_electron
        functions[f"<pseudo_partial_wave> of state {i}"] = wave.smooth
    end = dataset.grid.count_below(dataset.sphere_radius)
    r2 = dataset.grid.r[:end] ** 2
    for name, values in functions.items():
        if values is None:
            continue
        f = r2 * values[:end]
        apart = np.abs(f[:-4] - 4.0 * f[1:-3] + 6.0 * f[2:-2] - 4.0 * f[3:-1] + f[4:]) / 6.0
        worst = _AT_NUCLEUS + int(np.argmax(apart[_AT_NUCLEUS:]))
        if apart[worst] > _SPIKE * np.abs(f).max():
            raise ValueError(
                f"number {worst + 3} of {name} does not fit its neighbours: the function is not "
                "smooth there, and the file is damaged"
            )


def check_total_energy(reference: ReferenceEnergies, total: float) -> None:
    """Raise if the energies of the reference atom are not the parts of its total energy.

    Parameters
    ----------
    reference : ReferenceEnergies
        Of the dataset.
    total : float
        From the same file, Hartree.

    Raises
    ------
    ValueError
        If they do not sum to it.
    """
    found = reference.kinetic + reference.xc + reference.electrostatic
    if abs(found - total) > _TOTAL:
        raise ValueError(
            f"the energies of <ae_energy> sum to {found:.6f} Ha, not to their total, {total:.6f}: "
            "the file is damaged"
        )


def check_ionic_potential(dataset: PAWDataset, ionic: NDArray) -> None:
    """Raise if the zero potential contradicts the local ionic potential that ABINIT uses.

    That potential is the zero potential plus the Coulomb potential of the smooth core with its
    compensation charge (P. E. Bloechl's form).

    Parameters
    ----------
    dataset : PAWDataset
        From the same file.
    ionic : ndarray, shape (nr,)
        Coefficients of Y_00 of <blochl_local_ionic_potential>, Ha.

    Raises
    ------
    ValueError
        If they differ.
    """
    grid, spherical = dataset.grid, math.sqrt(4.0 * math.pi)
    core, smooth = spherical * dataset.core_density, spherical * dataset.smooth_core_density
    moment = float(grid.integrate(core - smooth)) - dataset.charge / spherical
    charge = smooth + moment * shape_functions(dataset)[0]
    inside = (grid.r > _FIRST) & (grid.r < dataset.sphere_radius)
    coulomb = grid.coulomb_potential(charge, 0)[inside] / grid.r[inside]
    difference = spherical * dataset.zero_potential[inside] + coulomb - ionic[inside]
    if np.abs(difference).max() > _LOCAL:
        raise ValueError(
            "<zero_potential> and <blochl_local_ionic_potential> contradict each other by "
            f"{np.abs(difference).max():.1e} Ha, so that it is not clear what the dataset is; take "
            "another version of it"
        )
