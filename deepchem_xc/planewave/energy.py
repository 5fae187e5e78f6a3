"""The total energy by term, and its derivatives at fixed orbitals: forces and stress."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis
from deepchem_xc.planewave.density import kinetic_density
from deepchem_xc.planewave.fields import Fields, Potential, derivative
from deepchem_xc.planewave.problem import KohnShamProblem
from deepchem_xc.planewave.structure.atom_symmetry import symmetrize_forces, symmetrize_stress
from deepchem_xc.planewave.terms.base import DensityTerm, IonTerm, OrbitalTerm
from deepchem_xc.planewave.terms.projections import Projections


def _of_density(
    problem: KohnShamProblem, basis: PlaneWaveBasis, fields: Fields
) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for term in problem.terms:
        if isinstance(term, DensityTerm):
            energy = term.energy(basis, fields)
            # PAW spheres add to terms of the smooth fields.
            found[term.name] = energy + found[term.name] if term.name in found else energy
    return found


def _of_ions(problem: KohnShamProblem, basis: PlaneWaveBasis) -> dict[str, Tensor]:
    return {t.name: t.energy(basis) for t in problem.terms if isinstance(t, IonTerm)}


def terms_of_orbitals(
    problem: KohnShamProblem,
    potential: Potential,
    eigenvalues: Tensor,
    orbitals_by_energy: Tensor | None = None,
) -> list[OrbitalTerm]:
    """Terms whose derivatives at fixed orbitals are those of the energy.

    Parameters
    ----------
    problem : KohnShamProblem
        The crystal.
    potential : Potential
        Kohn-Sham potential, needed for PAW spheres.
    eigenvalues : Tensor
        Energies of the orbitals, (nspin, nk, nband), Hartree, needed for PAW spheres.
    orbitals_by_energy : Tensor, optional
        See `Projections`.
    """
    terms = [term for term in problem.terms if isinstance(term, OrbitalTerm)]
    overlap = problem.overlap
    if overlap is not None:
        coupling = problem.coupling(potential)
        given = coupling, overlap, eigenvalues, orbitals_by_energy
        terms.append(Projections(problem.pseudopotentials, *given))
    return terms


def _of_orbitals(
    problem: KohnShamProblem, orbitals: Tensor, weighted_occupations: Tensor
) -> dict[str, Tensor]:
    basis = problem.basis
    return {
        term.name: torch.stack(
            [term.energy(basis, orbitals, weighted_occupations, ks) for ks in term.chunks(basis)]
        ).sum()
        for term in problem.terms
        if isinstance(term, OrbitalTerm)
    }


def electron_energy(problem: KohnShamProblem, electrons: Fields) -> Tensor:
    """Energy of the terms of the density; its derivative is the Kohn-Sham potential.

    Parameters
    ----------
    problem : KohnShamProblem
        The crystal.
    electrons : Fields
        Densities as `Fields.to_electrons` returns them.

    Returns
    -------
    Tensor
        0-d, Hartree per cell, in the graph of the geometry and the functional.
    """
    basis = problem.basis
    terms = _of_density(problem, basis, electrons.to_densities(basis.volume))
    return torch.stack(list(terms.values())).sum()


def potential_in_graph(problem: KohnShamProblem, electrons: Fields) -> Potential:
    """Kohn-Sham potential in the graph of electrons, functional and geometry.

    Parameters
    ----------
    problem : KohnShamProblem
        Its geometry may be in a graph.
    electrons : Fields
        As `Fields.to_electrons` returns them; may be in a graph.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf
    >>> r = scf(bulk("Si"), ecut=100.0)
    >>> again = potential_in_graph(r.problem, r.fields.to_electrons(r.volume))
    >>> known, _ = r.problem.effective_potential(r.fields)
    >>> bool((again.v - known.v).abs().max() < 1e-12)
    True
    """
    with torch.enable_grad():
        step = electrons.map(lambda leaf: torch.zeros_like(leaf).requires_grad_())
        basis, volume = problem.basis, problem.basis.volume
        given = electrons.to_densities(volume), step.to_densities(volume)
        energies = [
            term.energy_beside(basis, *given)
            for term in problem.terms
            if isinstance(term, DensityTerm)
        ]
        potential = derivative(torch.stack(energies).sum(), step, create_graph=True)
        return problem.symmetrized(potential)


def left_out_energy(
    problem: KohnShamProblem, given: Fields, electrons: Fields, now: KohnShamProblem | None = None
) -> Tensor:
    """Potential times negative densities of spin channels, which the XC energy ignores.

    Added to the energy of the density, it continues this energy linearly, with the potential that
    the states see as its derivative: without it, functionals of Harris and Foulkes have an error of
    first order there.

    Parameters
    ----------
    problem : KohnShamProblem
        The crystal.
    given : Fields
        Electrons whose negative part is meant, as `Fields.to_electrons` returns them.
    electrons : Fields
        The same, for the potential.
    now : KohnShamProblem, optional
        The crystal with a geometry in a graph, for the potential.

    Returns
    -------
    Tensor
        0-d, Hartree per cell, in the graphs of both densities, geometry and functional.

    Examples
    --------
    >>> from ase import Atoms
    >>> from deepchem_xc.planewave import scf
    >>> r = scf(Atoms("H", cell=[4, 4, 4], pbc=True, magmoms=[1]), ecut=100.0)
    >>> electrons = r.fields.to_electrons(r.volume)
    >>> print(f"{left_out_energy(r.problem, electrons, electrons):.9f}")
    0.000000000
    """
    basis = problem.basis
    then = basis if now is None else now.basis
    found = basis.volume.new_zeros(())
    for term in problem.terms:
        if not isinstance(term, DensityTerm):
            continue
        left_out = term.left_out(basis, given.to_densities(basis.volume))
        if left_out is not None:
            fields = electrons.to_densities(then.volume)
            found = found + term.energy_of_left_out(then, fields, left_out)
    return found


def orbital_energy(
    problem: KohnShamProblem, orbitals: Tensor, weighted_occupations: Tensor
) -> Tensor:
    """Energy of the terms of the orbitals, 0-d, Hartree per cell, in the graph of the geometry.

    Parameters
    ----------
    problem : KohnShamProblem
        The crystal.
    orbitals : Tensor
        (nspin, nk, nband, npw).
    weighted_occupations : Tensor
        Electrons per state times the k-point's weight, (nspin, nk, nband).
    """
    terms = _of_orbitals(problem, orbitals, weighted_occupations)
    return torch.stack(list(terms.values())).sum()


def energy_terms(
    problem: KohnShamProblem,
    orbitals: Tensor,
    occupations: Tensor,
    fields: Fields,
    entropy_energy: Tensor,
) -> dict[str, Tensor]:
    """Energy by term for given orbitals and their density.

    Parameters
    ----------
    problem : KohnShamProblem
        The crystal.
    orbitals : Tensor
        (nspin, nk, nband, npw).
    occupations : Tensor
        Electrons per state, (nspin, nk, nband), without the k-points' weights.
    fields : Fields
        Density, for meta-GGAs with the kinetic energy density.
    entropy_energy : Tensor
        -TS of the occupations, 0-d, Hartree.

    Returns
    -------
    dict of str to Tensor
        Hartree per cell: kinetic, local, nonlocal, hartree, xc, ewald, core, entropy, total (their
        sum without the entropy) and free (with it).

    Examples
    --------
    Without electrons only the energies of the ions are left:

    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf
    >>> r = scf(bulk("Si"), ecut=60.0, convergence={"density": 1e-3})
    >>> none = r.occupations * 0.0, r.fields * 0.0, r.occupation.entropy_energy
    >>> terms = energy_terms(r.problem, r.orbitals, *none)
    >>> bool(torch.isclose(terms["total"], terms["ewald"] + terms["core"]))
    True
    """
    basis = problem.basis
    weighted_occupations = occupations * basis.weights[:, None]
    terms: dict[str, Tensor] = {}
    for found in (
        _of_orbitals(problem, orbitals, weighted_occupations),
        _of_density(problem, basis, fields),
        _of_ions(problem, basis),
    ):
        for name, energy in found.items():
            terms[name] = energy + terms[name] if name in terms else energy
    terms = {term.name: terms[term.name] for term in problem.terms} | {"entropy": entropy_energy}
    terms["total"] = torch.stack([v for k, v in terms.items() if k != "entropy"]).sum()
    terms["free"] = terms["total"] + entropy_energy
    return terms


def forces_and_stress(
    problem: KohnShamProblem,
    orbitals: Tensor,
    occupations: Tensor,
    fields: Fields,
    eigenvalues: Tensor,
    orbitals_by_energy: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Forces and stress by differentiating the energy at fixed orbitals and occupations.

    They are in the graph of all arguments and of the functional's parameters. At self-consistency
    nothing else contributes (Hellmann and Feynman; for the stress O. H. Nielsen and R. M. Martin,
    Phys. Rev. B 32, 3780 (1985)). The strain acts on a fixed set of plane waves.

    Parameters
    ----------
    problem, orbitals, occupations, fields
        As for `energy_terms`.
    eigenvalues : Tensor
        Energies of the orbitals, (nspin, nk, nband), Hartree. They matter with PAW alone: orbitals
        stay orthonormal in an overlap that moves with the atoms.
    orbitals_by_energy : Tensor, optional
        See `GroundState`; needed for derivatives of forces with PAW.

    Returns
    -------
    forces : Tensor
        (natom, 3), Hartree/bohr, symmetrised, with their mean removed.
    stress : Tensor
        dE/dstrain over the volume, (3, 3), Hartree/bohr^3, symmetrised.

    Examples
    --------
    Silicon's stress is isotropic, even without symmetrisation:

    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf
    >>> r = scf(bulk("Si"), ecut=60.0, symmetry=False)
    >>> _, stress = forces_and_stress(
    ...     r.problem, r.orbitals, r.occupations, r.fields, r.eigenvalues)
    >>> bool((stress - stress[0, 0] * torch.eye(3)).abs().max() < 1e-6)
    True
    """
    basis = problem.basis
    crystal = basis.crystal
    symmetry = basis.kpoints.symmetry
    given = (crystal.lattice, crystal.positions, orbitals, occupations, eigenvalues)
    parameters = problem.functional.parameters()
    graphs = (*given, *fields.leaves, *parameters)
    keep = torch.is_grad_enabled() and any(x.requires_grad for x in graphs)
    if not keep:
        lattice, positions, orbitals, occupations, eigenvalues = (x.detach() for x in given)
        orbitals_by_energy = None
        fields = fields.detach()
    else:
        lattice, positions = crystal.lattice, crystal.positions
    volume = basis.volume if keep else basis.volume.detach()
    weighted_occupations = occupations * basis.weights[:, None]

    strain = torch.zeros_like(lattice).requires_grad_()
    displacement = torch.zeros_like(positions).requires_grad_()

    def strained() -> PlaneWaveBasis:
        deformed = lattice @ (torch.eye(3, dtype=lattice.dtype, device=lattice.device) + strain)
        return basis.with_geometry(lattice=deformed, positions=positions + displacement)

    def derivatives(energy: Tensor) -> tuple[Tensor, ...]:
        if not energy.requires_grad:
            return torch.zeros_like(positions), torch.zeros_like(lattice)
        # Without projectors the nonlocal energy depends on neither.
        moved = (displacement, strain)
        return torch.autograd.grad(energy, moved, create_graph=keep, materialize_grads=True)

    with torch.enable_grad():
        deformed = strained()
        # A strain keeps the number of electrons in each plane wave, but changes the volume.
        carried = fields.to_electrons(volume).to_densities(deformed.volume)
        if problem.needs_kinetic_density:
            tau = kinetic_density(deformed, orbitals, weighted_occupations, recompute=not keep)
            carried = replace(carried, tau=tau)
        parts = {**_of_density(problem, deformed, carried), **_of_ions(problem, deformed)}
        totals = derivatives(torch.stack(list(parts.values())).sum())
        potential = potential_of_spheres(problem, fields, keep)
        for term in terms_of_orbitals(problem, potential, eigenvalues, orbitals_by_energy):
            for ks in term.chunks(basis):
                energy = term.energy(strained(), orbitals, weighted_occupations, ks)
                totals = tuple(a + b for a, b in zip(totals, derivatives(energy), strict=True))
    # Positions are reduced: x = r inv(lattice), so dE/dr = dE/dx inv(lattice)^T.
    forces = -totals[0] @ torch.linalg.inv(lattice).T
    forces = forces - forces.mean(0, keepdim=True)
    stress = totals[1] / volume
    stress = 0.5 * (stress + stress.T)
    return (
        symmetrize_forces(forces, crystal, symmetry),
        symmetrize_stress(stress, crystal, symmetry),
    )


def potential_of_spheres(problem: KohnShamProblem, fields: Fields, keep: bool) -> Potential:
    """Potential of fields as far as `terms_of_orbitals` needs it: zero without PAW spheres.

    Parameters
    ----------
    problem : KohnShamProblem
        The crystal.
    fields : Fields
        Densities.
    keep : bool
        Whether the potential is in the graph of fields, functional and geometry.
    """
    if problem.spheres is None:
        return Potential(torch.zeros_like(fields.density))
    if keep:
        return potential_in_graph(problem, fields.to_electrons(problem.basis.volume))
    return problem.effective_potential(fields)[0]
