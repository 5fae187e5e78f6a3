"""Degenerate, nearly degenerate and unusual fillings: derivatives exist, are finite and agree."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111
from torch import Tensor

from deepchem_xc.planewave import Crystal, PlaneWaveBasis, SCFResult, scf
from deepchem_xc.xc import PBE, get_xc
from tests.crystals import TIGHT, TIGHTER, doubles, fcc, helium, hydrogen
from tests.differences import assert_agreement, differences, named_differences

MU_STEP = 0.008


def solved(atoms: Any, mu: float = 0.0, **kw: Any) -> tuple[SCFResult, PBE]:
    functional = PBE(trainable=True)
    with torch.no_grad():
        functional.terms[0].mu += mu
    kw.setdefault("ecut", 100.0)
    kw.setdefault("convergence", TIGHT)
    return scf(atoms, functional, **kw), functional


def gradients(value: Tensor, functional: PBE) -> Tensor:
    """With respect to kappa, mu and beta, (3,); finite."""
    parts = torch.autograd.grad(value, tuple(functional.parameters()), retain_graph=True)
    found = torch.stack(parts)
    assert bool(found.isfinite().all())
    return found


def density_loss(result: SCFResult) -> Tensor:
    return result.density.square().sum() * float(result.basis.volume) / result.basis.ngrid


def staggered(result: SCFResult) -> Tensor:
    return (result.density[0] - result.density[1]).square().sum()


def check(quantities: dict[str, Callable[[SCFResult], Tensor]], atoms: Any, **kw: Any) -> None:
    """Derivatives with respect to mu against differences."""
    kw.setdefault("convergence", TIGHTER)
    result, functional = solved(atoms, **kw)

    def values(mu: float) -> dict[str, float]:
        with torch.no_grad():
            moved = solved(atoms, mu, start=result, **kw)[0]
            return {name: float(quantity(moved)) for name, quantity in quantities.items()}

    for name, found in named_differences(values, MU_STEP).items():
        implicit = gradients(quantities[name](result), functional)[1]
        assert_agreement(implicit, found, rel=1e-5, name=name)


@pytest.mark.parametrize(
    "occupations",
    [
        {"name": "methfessel-paxton", "width": 1.0},
        {"name": "marzari-vanderbilt", "width": 0.8},
        {"name": "gaussian", "width": 0.6},
        {"name": "fermi-dirac", "width": 0.4},
    ],
    ids=lambda o: str(o["name"]),
)
def test_every_smearing(occupations: dict[str, Any]) -> None:
    """With widths that put electrons, also negative numbers of them, into several bands."""
    mesh = [[0.0, 0.0, 0.0], [0.5, 0.1, -0.2], [0.3, 0.3, 0.1]]
    atoms = bulk("Al")
    quantities: dict[str, Callable[[SCFResult], Tensor]] = {
        "density": density_loss,
        "Fermi level": lambda r: r.fermi_level,
        "kinetic": lambda r: r.energies["kinetic"],
    }
    check(quantities, atoms, kpts=mesh, occupations=occupations)


@pytest.mark.parametrize("name", ["marzari-vanderbilt", "methfessel-paxton"])
def test_occupations_whose_squares_underflow(name: str) -> None:
    """Those of Gaussian tails, some twenty widths above the Fermi level."""
    occupations = {"name": name, "width": 0.4}
    settings = {"kpts": {"size": (4, 4, 4), "gamma": True}, "occupations": occupations}
    found = solved(bulk("Al"), **settings)[0].occupations.detach().abs()
    assert bool(((found > 0.0) & (found < 1e-150)).any())
    check({"kinetic": lambda r: r.energies["kinetic"]}, bulk("Al"), **settings)


def test_negative_occupations_do_occur_here() -> None:
    mesh = [[0.0, 0.0, 0.0], [0.5, 0.1, -0.2], [0.3, 0.3, 0.1]]
    result, _ = solved(
        bulk("Al"), kpts=mesh, occupations={"name": "methfessel-paxton", "width": 1.0}
    )
    assert float(result.occupations.detach().min()) < -1e-4


@pytest.mark.parametrize("step", [0.0, 1e-7, 1e-6, 1e-5, 1e-3])
def test_sets_that_are_almost_degenerate(step: float) -> None:
    """The threefold top of silicon's valence band, split little by little, changes smoothly."""
    lattice, positions = fcc(10.26), doubles([[0.0] * 3, [0.25] * 3])

    def found(strain: float) -> list[Tensor]:
        stretch = torch.diag(torch.tensor([1.0 + strain, 1.0 - strain / 2, 1.0 - strain / 2]))
        crystal = Crystal(lattice @ stretch.to(torch.float64), ("Si", "Si"), positions)
        basis = PlaneWaveBasis(crystal, 4.0, (1, 1, 1), symmetry=False)
        functional = PBE(trainable=True)
        result = scf(basis, functional, convergence=TIGHT)
        levels = result.multiplet_eigenvalues[0, 0]
        values = (density_loss(result), result.band_gap, levels[1:4].sum(), levels[4])
        return [gradients(value, functional) for value in values]

    for split, together in zip(found(step), found(0.0), strict=True):
        torch.testing.assert_close(split, together, rtol=1e-5 + 30.0 * step, atol=1e-7)


@pytest.mark.parametrize(
    "occupations",
    [
        {"name": "fixed", "fixmagmom": True},
        {"name": "fermi-dirac", "width": 0.1, "fixmagmom": True},
        {"name": "fermi-dirac", "width": 0.1},
    ],
    ids=["fixed", "smeared, fixed moment", "smeared"],
)
def test_an_atom_with_an_empty_channel(occupations: dict[str, Any]) -> None:
    """That channel has no Fermi level, which must not turn into NaN."""
    quantities = {"density": density_loss, "level": lambda r: r.eigenvalues[0, 0, 0]}
    check(quantities, hydrogen(), ecut=150.0, occupations=occupations)


def check_level(atoms: Any, **kw: Any) -> tuple[SCFResult, PBE]:
    """The derivative of a Fermi level that empty states determine, against differences."""
    result, functional = solved(atoms, convergence=TIGHTER, **kw)

    def level(mu: float) -> float:
        # In a graph empty states are converged as far as filled ones.
        moved = solved(atoms, mu, start=result, convergence=TIGHTER, **kw)[0]
        return float(moved.fermi_level.detach())

    implicit = gradients(result.fermi_level, functional)[1]
    assert_agreement(implicit, differences(level, MU_STEP), rel=1e-5)
    return result, functional


@pytest.mark.parametrize("name", ["gaussian", "fermi-dirac", "methfessel-paxton"])
def test_smearing_that_does_not_reach_across_the_gap(name: str) -> None:
    """No state has a slope there; the Fermi level follows both edges of the gap."""
    settings: dict[str, Any] = {
        "ecut": 250.0,
        "kpts": (1, 1, 1),
        "occupations": {"name": name, "width": 0.02},
    }
    atoms = bulk("LiF", "rocksalt", a=4.03)
    result, functional = check_level(atoms, **settings)
    edges = result.multiplet_eigenvalues[0, 0]
    if name == "fermi-dirac":
        level = gradients(result.fermi_level, functional)
        middle = 0.5 * (gradients(edges[4], functional) + gradients(edges[5], functional))
        torch.testing.assert_close(level, middle, rtol=1e-5, atol=1e-8)
    gap = gradients(result.band_gap, functional)
    difference = gradients(edges[5], functional) - gradients(edges[4], functional)
    torch.testing.assert_close(gap, difference, rtol=1e-5, atol=1e-8)


def test_a_level_whose_upper_edge_no_other_loss_needs() -> None:
    """Helium's two bands: the empty one moves the Fermi level, which no electron shows."""

    def run(scale: Tensor, nbands: int, start: SCFResult | None = None) -> SCFResult:
        return scf(
            helium(),
            scale * get_xc("lda_x") + get_xc("lda_c_pw"),
            ecut=120.0,
            kpts=[[0.5] * 3],
            nbands=nbands,
            occupations={"name": "fermi-dirac", "width": 0.003675},
            # The density vanishes at the cell's faces, where the potential answers to errors in it
            # the more strongly: the usual tolerance leaves 1e-6 Ha in the empty levels.
            convergence={"energy": 1e-12, "density": 1e-13},
            start=start,
        )

    one = torch.ones((), dtype=torch.float64)
    found = []
    for nbands in (2, 3, 8):
        scale = torch.nn.Parameter(one.clone())
        result = run(scale, nbands)
        for level in (result.fermi_level, result.reference_level):
            found.append(float(torch.autograd.grad(level, scale, retain_graph=True)[0]))
    assert found == pytest.approx(found[:1] * 6, rel=1e-6)

    def level(step: float) -> float:
        # In a graph empty states are converged as far as filled ones.
        return float(run(torch.nn.Parameter(one + step), 8, result).fermi_level.detach())

    assert_agreement(found[-1], differences(level, 0.02), rel=1e-5)


def test_a_fixed_moment() -> None:
    atoms = Atoms("NO", [[0, 0, 0], [0, 0, 1.2]], cell=[3.0, 3.2, 4.2], pbc=True)
    atoms.set_initial_magnetic_moments([0.5, 0.5])
    occupations = {"name": "gaussian", "width": 0.3, "fixmagmom": True}
    quantities = {"spin density": staggered, "Fermi level": lambda r: r.fermi_level[1]}
    check(quantities, atoms, ecut=130.0, occupations=occupations)


def antiferromagnet() -> tuple[Atoms, dict[str, Any]]:
    atoms = bulk("Cr", "bcc", a=4.0, cubic=True)
    atoms.set_initial_magnetic_moments([4.0, -4.0])
    settings = {
        "ecut": 300.0,
        "kpts": [[0.25, 0.25, 0.25]],
        "pseudopotentials": {"Cr": "GTH-PBE-q14"},
        "occupations": {"name": "fermi-dirac", "width": 0.2},
    }
    return atoms, settings


@pytest.mark.slow
def test_an_antiferromagnet() -> None:
    atoms, settings = antiferromagnet()
    result, functional = solved(atoms, **settings)
    assert float(staggered(result).detach()) > 0.1
    assert float(gradients(result.magnetic_moment, functional).abs().max()) < 1e-6
    check({"spin density": staggered}, atoms, **settings)


@pytest.mark.parametrize(
    ("atoms", "settings"),
    [
        (bulk("Si"), {"ecut": 110.0, "kpts": (2, 2, 2), "fft_size": (16, 16, 16)}),
        (bulk("Al"), {"ecut": 120.0, "kpts": (3, 3, 3)}),
        (bulk("AlP", "zincblende", a=5.46), {"kpts": (2, 2, 2)}),
    ],
    ids=["inversion, insulator", "inversion, metal", "no inversion"],
)
def test_reduced_kpoints_give_the_same_gradients(atoms: Atoms, settings: dict[str, Any]) -> None:
    """Also of losses that have not the crystal's symmetry."""
    found = []
    for symmetry in (True, False):
        result, functional = solved(atoms, symmetry=symmetry, gradient_tolerance=1e-7, **settings)
        weights = torch.rand(result.density.shape, generator=torch.Generator().manual_seed(0))
        symmetric = result.basis.symmetrize(result.basis.to_sphere(weights.double()))
        losses = (
            density_loss(result),
            (result.density * result.basis.to_grid(symmetric).detach()).sum(),
            result.fermi_level,
            result.energies["nonlocal"],
            result.stress.trace(),
        )
        found.append(torch.stack([gradients(loss, functional) for loss in losses]))
    torch.testing.assert_close(found[0], found[1], rtol=5e-6, atol=1e-8)


def test_a_symmetric_crystal_answers_to_any_weights_as_to_their_symmetric_part() -> None:
    result, functional = solved(bulk("Si"), kpts=(2, 2, 2))
    weights = torch.rand(result.density.shape, generator=torch.Generator().manual_seed(0)).double()
    basis = result.basis
    even = basis.to_grid(basis.symmetrize(basis.to_sphere(weights)))
    torch.testing.assert_close(
        gradients((result.density * weights).sum(), functional),
        gradients((result.density * even).sum(), functional),
        rtol=1e-5,
        atol=1e-8,
    )


@pytest.mark.slow
def test_a_metal_slab() -> None:
    slab = fcc111("Al", (1, 1, 3), vacuum=4.0)
    slab.pbc = True
    check({"density": density_loss}, slab, ecut=120.0, kpts=(3, 3, 1))


def test_a_core_density(reference_path: Callable[[str], Path]) -> None:
    files = {"Si": reference_path("pseudos/Si.psp8")}
    check({"density": density_loss}, bulk("Si"), pseudopotentials=files, kpts=(1, 1, 1))


@pytest.mark.parametrize("nbands", [5, 6, 12])
def test_the_number_of_bands_does_not_matter(nbands: int) -> None:
    """With five, the highest one holds some 1e-8 electrons; the response adds what it needs."""
    settings: dict[str, Any] = {
        "kpts": (2, 2, 2),
        "ecut": 120.0,
        "occupations": {"name": "fermi-dirac", "width": 0.5},
    }
    result, functional = solved(bulk("Al"), nbands=nbands, **settings)
    highest = float(result.occupation.occupations[..., -1].max())
    assert (1e-9 < highest < 1e-6) == (nbands == 5)
    assert result.eigenvalues.shape[2] == result.occupations.shape[2] == nbands
    reference, other = solved(bulk("Al"), nbands=9, **settings)
    for quantity in (density_loss, lambda r: r.fermi_level, lambda r: r.energies["entropy"]):
        torch.testing.assert_close(
            gradients(quantity(result), functional),
            gradients(quantity(reference), other),
            rtol=1e-5,
            atol=1e-9,
        )


def test_one_backward_pass_of_a_sum_is_the_sum_of_many() -> None:
    result, functional = solved(bulk("Al"), kpts=(2, 2, 2))
    parts = [
        result.free_energy,
        result.energies["hartree"],
        density_loss(result),
        result.fermi_level,
        result.stress.square().sum(),
        result.multiplet_eigenvalues[0, :, 0].sum(),
    ]
    separate = torch.stack([gradients(part, functional) for part in parts]).sum(0)
    together = gradients(torch.stack(parts).sum(), functional)
    torch.testing.assert_close(together, separate, rtol=1e-6, atol=1e-8)
    again = gradients(torch.stack(parts).sum(), functional)
    torch.testing.assert_close(together, again, rtol=1e-9, atol=0.0)


def test_the_gap_of_a_cubic_crystal_answers_to_strain_as_a_cubic_crystal() -> None:
    """Its edges are threefold at one k-point, and at three equivalent k-points."""
    crystal = Crystal.from_ase(bulk("Si"))
    basis = PlaneWaveBasis(crystal, 6.0, {"size": (2, 2, 2), "gamma": True}, symmetry=False)

    def gap(strain: Tensor) -> Tensor:
        strained = basis.with_geometry(crystal.lattice @ (torch.eye(3).double() + strain))
        tight = {"energy": 1e-12, "density": 1e-10}
        return scf(strained, "PBE", occupations={"name": "fixed"}, convergence=tight).band_gap

    strain = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(gap(strain), strain)
    found = differences(lambda h: gap(h * torch.eye(3).double()), 2e-3)
    assert abs(found.value) > 0.01
    assert_agreement(slope.trace(), found, rel=1e-5)
    torch.testing.assert_close(
        slope, slope.trace() / 3.0 * torch.eye(3).double(), rtol=0, atol=1e-5 * abs(found.value)
    )


def test_the_volume_of_a_result_moves_with_its_lattice() -> None:
    """A virial: the trace of the stress times the volume, by a strain."""
    crystal = Crystal.from_ase(bulk("Al"))
    basis = PlaneWaveBasis(crystal, 4.0, [[0.1, 0.2, 0.3]], symmetry=False)

    def run(stretch: Tensor, start: SCFResult | None = None) -> SCFResult:
        moved = basis.with_geometry(lattice=crystal.lattice * (1.0 + stretch))
        occupations = {"name": "fermi-dirac", "width": 0.02}
        return scf(moved, "PBE", occupations=occupations, convergence=TIGHTER, start=start)

    stretch = torch.zeros((), dtype=torch.float64, requires_grad=True)
    result = run(stretch)
    (volume,) = torch.autograd.grad(result.volume, stretch, retain_graph=True)
    assert float(volume) == pytest.approx(3.0 * float(crystal.volume), rel=1e-12)
    assert not result.detach().volume.requires_grad
    (implicit,) = torch.autograd.grad(result.stress.trace() * result.volume, stretch)
    start = result.detach()

    def virial(x: float) -> float:
        moved = run(torch.tensor(x, dtype=torch.float64), start)
        return float(moved.stress.trace() * moved.volume)

    assert_agreement(implicit, differences(virial, 0.002), rel=1e-5)


def test_potentials_without_projectors() -> None:
    """Of hydrogen and lithium: there is no nonlocal energy to differentiate."""
    atoms = bulk("LiH", "rocksalt", a=4.0)
    atoms.rattle(0.03, seed=0)
    quantities = {"pressure": lambda r: r.stress.trace(), "force": lambda r: r.forces[0, 1]}
    check(quantities, atoms, kpts=(1, 1, 1), ecut=150.0)
