"""What must not change the energy: how a crystal is described, or how its symmetry is used."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from deepchem_xc.planewave import Crystal, PlaneWaveBasis, SCFResult, scf
from tests.crystals import FIXED, SMEARED, TRICLINIC, cubic, doubles, fcc

TIGHT = {"energy": 1e-11, "density": 1e-8, "orbitals": 1e-5}


def zincblende(moments: tuple[float, ...] | None = None) -> Crystal:
    return Crystal(fcc(8.2), ("Si", "C"), doubles([[0.0] * 3, [0.25] * 3]), moments)


def low_symmetry() -> Crystal:
    positions = doubles([[0.02, -0.03, 0.05], [0.31, 0.27, 0.24], [0.62, 0.58, 0.55]])
    return Crystal(TRICLINIC, ("Al", "P", "Al"), positions)


def solve(
    crystal: Crystal,
    mesh: Any,
    ecut: float = 5.0,
    occupations: dict[str, Any] | None = None,
    fft_size: tuple[int, int, int] | None = None,
    symmetry: bool = True,
    **options: Any,
) -> SCFResult:
    basis = PlaneWaveBasis(crystal, ecut, mesh, fft_size=fft_size, symmetry=symmetry)
    return scf(basis, occupations=occupations or FIXED, convergence=TIGHT, **options)


def gamma(*size: int) -> dict[str, Any]:
    return {"size": size, "gamma": True}


def terms(result: SCFResult) -> dict[str, float]:
    return {name: float(value) for name, value in result.energies.items()}


def assert_same(first: SCFResult, second: SCFResult, copies: int = 1, within: float = 1e-9) -> None:
    """Every energy term of the second is `copies` times the first's, per atom to `within`."""
    tolerance = within * len(second.problem.basis.crystal.symbols)
    expected = {name: copies * value for name, value in terms(first).items()}
    free, other = expected.pop("free"), terms(second)
    assert other.pop("free") == pytest.approx(free, abs=tolerance, rel=0)
    # Single terms change to first order in the loop's remaining error.
    assert other == pytest.approx(expected, abs=100.0 * tolerance, rel=0)


@pytest.mark.parametrize("mesh", [gamma(3, 3, 3), (2, 2, 2), gamma(2, 2, 1)])
def test_symmetry_saves_work_and_changes_nothing(mesh: Any) -> None:
    with_it = solve(zincblende(), mesh)
    without = solve(zincblende(), mesh, symmetry=False)
    assert with_it.basis.nk < without.basis.nk
    assert_same(without, with_it, within=2e-7)  # the grid itself is a little asymmetric
    torch.testing.assert_close(with_it.stress, without.stress, rtol=0, atol=1e-8)
    torch.testing.assert_close(with_it.density, without.density, rtol=0, atol=1e-5)


def test_symmetry_of_a_metal_changes_nothing() -> None:
    aluminium = Crystal(fcc(7.65), ("Al",), doubles([[0.0] * 3]))
    with_it = solve(aluminium, gamma(4, 4, 4), occupations=SMEARED)
    without = solve(aluminium, gamma(4, 4, 4), occupations=SMEARED, symmetry=False)
    assert (with_it.basis.nk, without.basis.nk) == (8, 64)
    assert_same(without, with_it)
    assert float(with_it.fermi_level) == pytest.approx(float(without.fermi_level), abs=1e-9)


def test_opposite_kpoints_have_the_same_levels() -> None:
    points = [[0.2, -0.3, 0.1], [-0.2, 0.3, -0.1]]
    result = solve(low_symmetry(), points, occupations=SMEARED)
    levels = result.eigenvalues[0, :, :-2]
    torch.testing.assert_close(levels[0], levels[1], rtol=0, atol=1e-8)


def test_a_closed_shell_is_the_same_in_one_and_two_channels() -> None:
    one = solve(zincblende(), gamma(2, 2, 2))
    two = solve(zincblende(), gamma(2, 2, 2), spinpol=True)
    assert two.density.shape[0] == 2
    assert_same(one, two)
    assert abs(float(two.magnetic_moment)) < 1e-10
    torch.testing.assert_close(two.density.sum(0), one.density[0], rtol=0, atol=1e-7)
    torch.testing.assert_close(two.stress, one.stress, rtol=0, atol=1e-9)


def test_a_metal_without_moments_is_the_same_in_one_and_two_channels() -> None:
    one = solve(low_symmetry(), gamma(2, 1, 1), occupations=SMEARED)
    two = solve(low_symmetry(), gamma(2, 1, 1), occupations=SMEARED, spinpol=True)
    assert_same(one, two)
    assert float(two.fermi_level) == pytest.approx(float(one.fermi_level), abs=1e-8)
    torch.testing.assert_close(two.forces, one.forces, rtol=0, atol=1e-7)


def test_moments_of_opposite_sign_are_the_same_physics() -> None:
    lattice = cubic(6.0)
    up, down = (
        solve(
            Crystal(lattice, ("N",), doubles([[0.5] * 3]), (sign * 3.0,)),
            [[0.0, 0.0, 0.0]],
            ecut=6.0,
            occupations={"name": "gaussian", "width": 0.01},
        )
        for sign in (1.0, -1.0)
    )
    assert float(up.magnetic_moment) == pytest.approx(3.0, abs=0.05)
    assert float(down.magnetic_moment) == pytest.approx(-float(up.magnetic_moment), abs=1e-6)
    assert_same(up, down)


def test_the_order_of_the_atoms_does_not_matter() -> None:
    crystal = low_symmetry()
    order = [2, 0, 1]
    permuted = Crystal(
        crystal.lattice, tuple(crystal.symbols[i] for i in order), crystal.positions[order]
    )
    first = solve(crystal, gamma(2, 1, 1), occupations=SMEARED)
    second = solve(permuted, gamma(2, 1, 1), occupations=SMEARED)
    assert_same(first, second)
    torch.testing.assert_close(second.forces, first.forces[order], rtol=0, atol=1e-7)


def test_another_choice_of_lattice_vectors_describes_the_same_crystal() -> None:
    """a -> U a with det U = 1: the plane waves are the same, the grid is a sheared one."""
    crystal = low_symmetry()
    u = doubles([[1.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, -1.0, 1.0]])
    other = Crystal(u @ crystal.lattice, crystal.symbols, crystal.positions @ torch.linalg.inv(u))
    k = doubles([[0.0, 0.0, 0.0], [0.3, -0.2, 0.1]])
    first = solve(crystal, k, fft_size=(32, 32, 36), occupations=SMEARED)
    second = solve(other, k @ u.T, fft_size=(36, 36, 36), occupations=SMEARED)
    assert first.basis.npw_per_k == second.basis.npw_per_k
    assert_same(first, second, within=1e-6)  # E_xc on two grids
    torch.testing.assert_close(second.forces, first.forces, rtol=0, atol=2e-5)
    torch.testing.assert_close(second.stress, first.stress, rtol=0, atol=1e-7)


def test_cyclic_exchange_of_the_axes_changes_nothing() -> None:
    crystal = low_symmetry()
    axes = [1, 2, 0]
    other = Crystal(crystal.lattice[axes], crystal.symbols, crystal.positions[:, axes])
    size = solve(crystal, [[0.3, -0.2, 0.1]], occupations=SMEARED)
    turned = solve(other, [[-0.2, 0.1, 0.3]], occupations=SMEARED)
    assert turned.basis.fft_size == tuple(size.basis.fft_size[i] for i in axes)
    assert_same(size, turned)
    torch.testing.assert_close(turned.forces, size.forces, rtol=0, atol=1e-7)


def test_turning_the_crystal_turns_forces_and_stress() -> None:
    crystal = low_symmetry()
    rotation = torch.linalg.matrix_exp(doubles([[0, 0.3, -0.7], [-0.3, 0, 1.1], [0.7, -1.1, 0]]))
    turned = Crystal(crystal.lattice @ rotation, crystal.symbols, crystal.positions)
    first = solve(crystal, gamma(2, 1, 1), occupations=SMEARED)
    second = solve(turned, gamma(2, 1, 1), occupations=SMEARED)
    assert_same(first, second)
    torch.testing.assert_close(second.forces, first.forces @ rotation, rtol=0, atol=1e-7)
    expected = rotation.T @ first.stress @ rotation
    torch.testing.assert_close(second.stress, expected, rtol=0, atol=1e-9)


def test_a_shift_by_grid_points_changes_nothing() -> None:
    crystal = low_symmetry()
    mesh, occupations = gamma(2, 1, 1), SMEARED
    first = solve(crystal, mesh, occupations=occupations)
    shift = doubles([3.0, -5.0, 7.0]) / doubles(first.basis.fft_size)
    moved = crystal.with_geometry(positions=crystal.positions + shift)
    second = solve(moved, mesh, occupations=occupations)
    assert_same(first, second)
    torch.testing.assert_close(second.forces, first.forces, rtol=0, atol=1e-7)
    rolled = first.density.roll((3, -5, 7), dims=(-3, -2, -1))
    torch.testing.assert_close(second.density, rolled, rtol=0, atol=1e-7)


def test_a_shift_off_the_grid_is_seen_by_xc_alone_and_less_on_a_finer_grid() -> None:
    """The egg-box effect: every other term is exact for any position."""
    crystal = low_symmetry()
    moved = crystal.with_geometry(positions=crystal.positions + doubles([0.0171, 0.0234, 0.0113]))
    change = {}
    for n in (20, 32):
        at_rest, shifted = (
            solve(c, [[0.0, 0.0, 0.0]], occupations=SMEARED, fft_size=(n, n, n))
            for c in (crystal, moved)
        )
        change[n] = abs(float(shifted.free_energy - at_rest.free_energy))
    assert change[20] < 1e-4
    assert change[32] < 0.1 * change[20]


def test_a_shift_off_the_grid_changes_nothing_where_xc_is_linear() -> None:
    """With a functional quadratic in the density the grid integrates exactly: no egg-box."""
    from deepchem_xc.xc import get_xc

    class Quadratic(type(get_xc("lda_x"))):  # type: ignore[misc]
        """e = -n^2 / 2."""

        def get_edensityxc(self, densinfo: Any) -> Tensor:
            return -0.5 * densinfo.value**2

    crystal = low_symmetry()
    moved = crystal.with_geometry(positions=crystal.positions + doubles([0.0171, 0.0234, 0.0113]))
    functional = Quadratic()
    with pytest.warns(UserWarning, match="made"):
        first, second = (
            solve(c, [[0.0, 0.0, 0.0]], occupations=SMEARED, functional=functional)
            for c in (crystal, moved)
        )
    assert_same(first, second)


@pytest.mark.parametrize("axis", [0, 2])
def test_a_supercell_with_folded_kpoints_is_two_cells(axis: int) -> None:
    crystal = low_symmetry()
    factor = torch.ones(3, dtype=torch.float64)
    factor[axis] = 2.0
    half = torch.zeros(3, dtype=torch.float64)
    half[axis] = 0.5
    positions = torch.cat([crystal.positions / factor, crystal.positions / factor + half])
    double = Crystal(crystal.lattice * factor[:, None], 2 * crystal.symbols, positions)
    first = solve(
        crystal,
        [1, 1, 1] if axis < 0 else gamma(*[2 if a == axis else 1 for a in range(3)]),
        occupations=SMEARED,
        symmetry=False,
    )
    size = [int(n * f) for n, f in zip(first.basis.fft_size, factor.tolist(), strict=True)]
    second = solve(
        double, [[0.0, 0.0, 0.0]], occupations=SMEARED, symmetry=False, fft_size=tuple(size)
    )
    assert sum(first.basis.npw_per_k) == second.basis.npw_per_k[0]
    assert_same(first, second, copies=2)
    torch.testing.assert_close(second.forces, first.forces.repeat(2, 1), rtol=0, atol=1e-6)
    torch.testing.assert_close(second.stress, first.stress, rtol=0, atol=1e-9)
    assert float(second.fermi_level) == pytest.approx(float(first.fermi_level), abs=1e-8)
    folded = first.eigenvalues[0, :, :8].flatten().sort().values[:12]
    torch.testing.assert_close(second.eigenvalues[0, 0, :12], folded, rtol=0, atol=1e-7)


def test_a_conventional_cell_with_its_translations_is_four_primitive_ones() -> None:
    """Here symmetry is on: the supercell's pure translations are operations too."""
    primitive = zincblende()
    corners = doubles([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    sites = torch.cat([corners, corners + 0.25])
    cube = Crystal(cubic(8.2), ("Si",) * 4 + ("C",) * 4, sites)
    # Gamma of the cube is Gamma and the three X points of the primitive cell.
    x_points = {"kpts": [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]}
    first = solve(primitive, x_points, ecut=4.0, fft_size=(20, 20, 20), occupations=SMEARED)
    second = solve(cube, gamma(1, 1, 1), ecut=4.0, fft_size=(30, 30, 30), occupations=SMEARED)
    assert_same(first, second, copies=4, within=1e-6)
    torch.testing.assert_close(second.stress.trace(), first.stress.trace(), rtol=0, atol=3e-7)
