"""The densities that a calculation can be given, as `Fields` on its plane waves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from deepchem_xc.planewave.basis.fft_boxes import box_index
from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis
from deepchem_xc.planewave.fields import Fields
from deepchem_xc.planewave.loop.carried_orbitals import match_plane_waves
from deepchem_xc.planewave.loop.restart import Restart
from deepchem_xc.planewave.problem import KohnShamProblem
from deepchem_xc.planewave.result import SCFResult

# Largest relative difference of lattice vectors that are the same.
_SAME_CELL = 1e-6
# Largest relative difference in the number of electrons, and of values at G and -G.
_ELECTRON_TOLERANCE = 1e-6
_VALID = (
    "a model with density_for(problem), a result of scf, a Restart, or an array (nspin, n1, n2, "
    "n3) in bohr^-3"
)


@runtime_checkable
class DensitySource(Protocol):
    """A model of densities.

    A model may have an attribute `functional`, the name of the functional that it was made for.
    """

    def density_for(self, problem: KohnShamProblem) -> Fields:
        """Density on the sphere of the problem's basis, bohr^-3.

        It may be in the graph of parameters. Forces and stress need it in the graph of the
        positions and the lattice of ``problem.basis.crystal`` where these require gradients.
        """


class Source(NamedTuple):
    """A density on the plane waves of a problem, and what is known about its origin."""

    fields: Fields
    """As it was given: not yet symmetrised, may be in a graph."""
    model: DensitySource | None = None
    """The model that made it."""
    start: Restart | None = None
    """Earlier state that it is from, whose orbitals may serve as a start."""


def density_source(
    problem: KohnShamProblem, density: Any, other_functional: bool = False
) -> Source:
    """A given density on the plane waves of a problem.

    Parameters
    ----------
    problem : KohnShamProblem
        The crystal that the density is for.
    density : DensitySource, SCFResult, Restart or array_like
        Plane waves that it lacks are zero, those that `problem` lacks are dropped.
    other_functional : bool, optional
        Accept a model that was made for another functional.

    Raises
    ------
    TypeError
        For anything else.
    ValueError
        For another cell, other atoms, another number of electrons or spin channels, NaN, a missing
        kinetic energy density, or a model of another functional.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf
    >>> coarse, fine = (scf(bulk("Si"), ecut=ecut) for ecut in (80.0, 100.0))
    >>> source = density_source(fine.problem, coarse)
    >>> round(float(source.fields.density[0, 0].real * fine.volume), 9)
    8.0
    """
    if isinstance(density, SCFResult):
        density = Restart.of(density)
    if isinstance(density, Restart):
        source = Source(_of_restart(problem, density), start=density)
    elif isinstance(density, DensitySource):
        source = Source(_of_model(problem, density, other_functional), density)
    else:
        source = Source(Fields(_of_array(problem.basis, density)))
    fields = source.fields
    if not problem.needs_kinetic_density:
        fields = Fields(fields.density)
    elif fields.tau is None:
        raise ValueError(
            f"{problem.functional.name} needs the kinetic energy density, which the given density "
            "does not hold: give a result or record of a meta-GGA, or use scf(..., start=...), "
            "which makes its own."
        )
    check_fields(problem, fields)
    return source._replace(fields=fields)


def check_fields(problem: KohnShamProblem, fields: Fields) -> None:
    """Raise ValueError unless `fields` have the problem's channels and electrons, and are finite.

    Parameters
    ----------
    problem : KohnShamProblem
        The crystal.
    fields : Fields
        On its plane waves.
    """
    basis = problem.basis
    shape = (problem.nspin, len(basis.g_vectors))
    for leaf in fields.leaves:
        if tuple(leaf.shape[1:]) != shape[1:] or leaf.ndim != 2:
            raise ValueError(
                f"the given density has shape {tuple(leaf.shape)} on the plane waves, but this "
                f"calculation needs {shape}."
            )
        if len(leaf) != problem.nspin:
            raise ValueError(
                f"the given density has {len(leaf)} spin channel(s), but this calculation has "
                f"{problem.nspin}: give spinpol={len(leaf) == 2}, with initial magnetic moments "
                "for two channels and without for one."
            )
        if not bool(torch.isfinite(torch.view_as_real(leaf.detach())).all()):
            raise ValueError("the given density contains NaN or infinite numbers.")
    total = float(fields.density.detach()[:, 0].real.sum() * basis.volume.detach())
    if abs(total - problem.nelectrons) > _ELECTRON_TOLERANCE * problem.nelectrons:
        raise ValueError(
            f"the given density holds {total:.8g} electrons, but this cell has "
            f"{problem.nelectrons:g} valence electrons: give one of the same potentials, in "
            "bohr^-3, or correct its integral (a constant on the whole grid is the smallest "
            "change)."
        )


def _of_restart(problem: KohnShamProblem, restart: Restart) -> Fields:
    """Fields of an earlier state: superposed atoms move, the difference from them stays."""
    basis = problem.basis
    old = restart.crystal.to(basis.device)
    check_same_atoms(basis, restart.crystal.symbols, old.lattice)
    index, found = match_plane_waves(
        restart.g_vectors.to(basis.device)[None], basis.g_vectors[None]
    )
    fields = restart.fields.map(lambda leaf: leaf.to(basis.device)[:, index[0]]) * found[0]
    if not problem.needs_kinetic_density or fields.tau is None:
        fields = Fields(fields.density)
    if len(fields.density) != problem.nspin:
        return fields  # which the check of the channels refuses
    before = replace(problem, basis=basis.with_geometry(positions=old.positions))
    now, then = (superposition(x, fields.tau is not None) for x in (problem, before))
    return fields + (now - then)


def superposition(problem: KohnShamProblem, tau: bool = False) -> Fields:
    """Sum of atomic densities, symmetrised, with its kinetic energy density if `tau`."""
    return problem.starting_fields() if tau else Fields(problem.atomic_density())


def check_same_atoms(basis: PlaneWaveBasis, symbols: Sequence[str], lattice: Tensor) -> None:
    """Raise ValueError unless atoms, in their order, and lattice (bohr) are those of `basis`."""
    crystal = basis.crystal
    if tuple(symbols) != crystal.symbols:
        raise ValueError(
            f"the given density belongs to the atoms {', '.join(symbols)}, but this cell holds "
            f"{', '.join(crystal.symbols)}: atoms and their order must agree."
        )
    change = float((lattice.detach() - crystal.lattice.detach()).abs().max())
    if change > _SAME_CELL * float(crystal.lattice.detach().abs().max()):
        raise ValueError(
            f"the given density belongs to another cell (its lattice vectors differ by up to "
            f"{change:.3g} bohr): use scf(..., start=...), which carries it over."
        )


def _of_model(problem: KohnShamProblem, model: DensitySource, other_functional: bool) -> Fields:
    made_for = getattr(model, "functional", None)
    if isinstance(made_for, str) and made_for != problem.functional.name and not other_functional:
        raise ValueError(
            f"the density model was made for {made_for}, but this calculation uses "
            f"{problem.functional.name}: give other_functional=True if that is meant."
        )
    return fields_of_model(problem, model)


def fields_of_model(problem: KohnShamProblem, model: DensitySource) -> Fields:
    """Fields of a model on the plane waves of a problem, in the graph of its positions.

    Raises
    ------
    TypeError
        If the model returns anything else.
    """
    fields = model.density_for(problem)
    if not isinstance(fields, Fields):
        raise TypeError(
            f"density_for returned {type(fields).__name__}, but must return Fields on the plane "
            "waves of problem.basis (deepchem_xc.planewave.fields.Fields)."
        )
    return fields.map(lambda leaf: leaf.to(problem.basis.device, torch.complex128))


def _of_array(basis: PlaneWaveBasis, density: Any) -> Tensor:
    """Coefficients of an array (nspin, n1, n2, n3), bohr^-3, on any grid of this cell."""
    if not isinstance(density, Tensor):
        try:
            density = torch.as_tensor(np.asarray(density))
        except (TypeError, ValueError):
            raise TypeError(f"{type(density).__name__} is not a density: give {_VALID}.") from None
    if density.is_complex() or density.dtype == torch.bool:
        raise TypeError(f"a density of type {density.dtype} is not real: give {_VALID}.")
    if density.ndim != 4 or len(density) not in (1, 2):
        raise ValueError(
            f"the given density has shape {tuple(density.shape)}, but must have (nspin, n1, n2, "
            "n3) with nspin 1 (total) or 2 (up, down)."
        )
    return on_sphere(basis, density.to(basis.device, torch.float64))


def on_sphere(basis: PlaneWaveBasis, values: Tensor) -> Tensor:
    """Coefficients on the sphere of `basis` of a real function on any grid of the cell.

    Parameters
    ----------
    basis : PlaneWaveBasis
        Plane waves; those that the grid does not have are zero.
    values : Tensor
        (..., n1, n2, n3), real.

    Returns
    -------
    Tensor
        (..., nG), complex, in the graph of `values`.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal, PlaneWaveBasis
    >>> basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 4.0, (1, 1, 1))
    >>> wave = torch.cos(torch.arange(4) * torch.pi / 2).view(4, 1, 1).expand(4, 3, 3)
    >>> at_one = (basis.g_vectors.abs() == torch.tensor([1, 0, 0])).all(-1)
    >>> [round(x, 6) for x in on_sphere(basis, wave)[at_one].real.tolist()]
    [0.5, 0.5]
    """
    size = torch.tensor(values.shape[-3:], device=basis.device)
    g = basis.g_vectors
    twice = 2 * g.abs()
    inside = (twice <= size).all(-1)
    # An even grid does not tell +n/2 from -n/2: each gets half of what both have.
    share = torch.where(twice == size, 0.5, 1.0).to(torch.float64).prod(-1) * inside
    places = box_index(g.cpu().numpy(), values.shape[-3:])
    index = torch.as_tensor(places, device=basis.device)
    box = torch.fft.fftn(values, dim=(-3, -2, -1), norm="forward").flatten(-3)
    return box.index_select(-1, index) * share
