"""k-point meshes: reduction held against ABINIT and against brute force, and bad input."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from ase.build import bulk, graphene

from deepchem_xc.planewave.structure.crystal import Crystal, NonPeriodicWarning
from deepchem_xc.planewave.structure.kpoints import MeshSymmetryWarning, make_kpoints
from deepchem_xc.planewave.structure.symmetry import SymmetryGroup, find_symmetry
from tests.devices import GPU

SILICON = Crystal.from_ase(bulk("Si", a=5.43))
ALUMINIUM = Crystal.from_ase(bulk("Al", a=4.05))
GALLIUM_ARSENIDE = Crystal.from_ase(bulk("GaAs", "zincblende", a=5.65))


def layer() -> Crystal:
    atoms = graphene(vacuum=6.0)
    with pytest.warns(NonPeriodicWarning):
        return Crystal.from_ase(atoms)


# Weights times the size of the mesh, printed by ABINIT 9.6.2 (kptrlatt, shiftk 0 0 0, kptopt 1).
ABINIT_SI_4 = [1, 8, 4, 6, 24, 12, 3, 6]
ABINIT_AL_8 = [
    *(1, 8, 8, 8, 4, 6, 24, 24, 24, 24, 24, 12, 6, 24, 24),
    *(24, 12, 6, 24, 12, 3, 24, 48, 24, 24, 48, 24, 12, 6),
]
ABINIT_CA_6 = [1, 8, 8, 4, 6, 24, 24, 24, 12, 6, 24, 12, 3, 24, 24, 12]
ABINIT_GRAPHENE_9 = [1, 6, 6, 6, 6, 6, 12, 12, 6, 12, 6, 2]


@pytest.mark.parametrize(
    ("crystal", "size", "expected"),
    [
        (SILICON, 4, ABINIT_SI_4),
        (ALUMINIUM, 8, ABINIT_AL_8),
        (Crystal.from_ase(bulk("Ca", a=5.53)), 6, ABINIT_CA_6),
        ("graphene", 9, ABINIT_GRAPHENE_9),
    ],
)
def test_multiplicities_equal_abinit(crystal, size, expected):
    mesh = (size,) * 3
    if crystal == "graphene":
        crystal, mesh = layer(), (size, size, 1)
    kpoints = make_kpoints({"size": mesh, "gamma": True}, crystal)
    multiplicities = (kpoints.weights * math.prod(mesh)).numpy()
    np.testing.assert_allclose(sorted(multiplicities), sorted(expected), atol=1e-12)


@pytest.mark.parametrize("file", ["abinit_gth.json", "abinit_psp8.json"])
def test_irreducible_mesh_equals_abinit_point_by_point(reference, file):
    for name, entry in reference(file).items():
        crystal = Crystal(
            torch.tensor(entry["lattice_bohr"]), entry["species"], torch.tensor(entry["xred"])
        )
        no_symmetry = "nsym 1" in entry["extra_input"]
        group = SymmetryGroup.trivial(time_reversal=True) if no_symmetry else True
        kpoints = make_kpoints({"size": entry["kmesh"], "gamma": True}, crystal, group)
        assert len(kpoints) == len(entry["kwts"]), name
        # Each of ABINIT's points is a partner, under the kept operations, of exactly one of ours.
        theirs = np.array(entry["kpts_red"])
        partners = np.einsum("oji,kj->oki", kpoints.symmetry.rotations, theirs)
        partners = np.concatenate([partners, -partners])  # (2 nop, nk, 3)
        for k, weight in zip(kpoints.coordinates.numpy(), kpoints.weights.tolist(), strict=True):
            difference = partners - k
            difference -= np.rint(difference)
            match = (np.abs(difference).max(axis=-1) < 1e-9).any(axis=0)
            assert match.sum() == 1, (name, k)
            assert weight == pytest.approx(entry["kwts"][int(match.argmax())], abs=1e-11)


@pytest.mark.parametrize(
    ("spec", "size"),
    [
        ((4, 4, 4), (4, 4, 4)),
        ((5, 4, 3), (5, 4, 3)),
        ({"size": (4, 4, 4), "gamma": True}, (4, 4, 4)),
        ({"size": (3, 3, 3), "gamma": False}, (3, 3, 3)),
        ({"size": (6, 3, 2), "gamma": True}, (6, 3, 2)),
    ],
)
@pytest.mark.parametrize(
    "atoms", [bulk("Si"), bulk("GaAs", "zincblende", a=5.65), bulk("Mg")], ids=str
)
def test_orbits_of_the_irreducible_points_are_the_full_ase_mesh(spec, size, atoms):
    """Brute force: rotate every irreducible point by every kept operation, with rounding."""
    from ase.calculators.calculator import kpts2sizeandoffsets
    from ase.dft.kpoints import monkhorst_pack

    crystal = Crystal.from_ase(atoms)
    kpoints = make_kpoints(spec, crystal)
    assert kpoints.size == size
    offsets = kpts2sizeandoffsets(**spec)[1] if isinstance(spec, dict) else np.zeros(3)
    full = {
        tuple(np.rint((k % 1) * 5040).astype(int) % 5040) for k in monkhorst_pack(size) + offsets
    }
    seen: set[tuple[int, ...]] = set()
    for k, weight in zip(kpoints.coordinates.numpy(), kpoints.weights.tolist(), strict=True):
        images = np.concatenate([sign * kpoints.symmetry.rotations.transpose(0, 2, 1) @ k
                                 for sign in (1, -1)])  # fmt: skip
        orbit = {tuple(np.rint((image % 1) * 5040).astype(int) % 5040) for image in images}
        assert not orbit & seen
        assert weight == pytest.approx(len(orbit) / len(full), abs=1e-14)
        seen |= orbit
    assert seen == full


def test_operations_that_do_not_map_the_mesh_onto_itself_are_dropped():
    cubic = Crystal.from_ase(bulk("Al", cubic=True))
    assert len(find_symmetry(cubic)) == 192
    # A mesh of 4 x 4 x 2 keeps the tetragonal point group: 16 rotations, 4 centring translations.
    kept = make_kpoints({"size": (4, 4, 2), "gamma": True}, cubic).symmetry
    assert (len(kept), len(kept.point_group)) == (64, 16)
    # An even Monkhorst-Pack mesh on the fcc primitive cell breaks most of the cubic group.
    shifted = make_kpoints((4, 4, 4), ALUMINIUM)
    assert 1 < len(shifted.symmetry) < 48
    assert len(shifted) > len(make_kpoints({"size": (4, 4, 4), "gamma": True}, ALUMINIUM))


def test_time_reversal_replaces_a_missing_inversion():
    gallium_arsenide = Crystal.from_ase(bulk("GaAs", "zincblende", a=5.65))
    assert len(find_symmetry(gallium_arsenide)) == 24
    kpoints = make_kpoints({"size": (4, 4, 4), "gamma": True}, gallium_arsenide)
    np.testing.assert_allclose(sorted(kpoints.weights * 64), sorted(ABINIT_SI_4), atol=1e-12)


def test_without_symmetry_the_mesh_is_ase_s():
    from ase.dft.kpoints import monkhorst_pack

    kpoints = make_kpoints((4, 3, 2), SILICON, symmetry=False)
    difference = kpoints.coordinates.numpy()[:, None] - monkhorst_pack((4, 3, 2))[None]
    distance = np.abs(difference - np.rint(difference)).max(axis=-1)
    assert sorted(distance.argmin(axis=1).tolist()) == list(range(24))
    assert distance.min(axis=1).max() < 1e-14
    assert len(kpoints.symmetry) == 1
    assert not kpoints.symmetry.time_reversal


def test_time_reversal_alone_halves_a_mesh():
    group = SymmetryGroup.trivial(time_reversal=True)
    assert len(make_kpoints((4, 4, 4), SILICON, group)) == 32
    assert len(make_kpoints((3, 3, 3), SILICON, group)) == 14


def test_symmetry_of_a_supercell_reduces_its_mesh_as_without_centring():
    """A cubic Al cell: 192 operations, but k-points know only the 48 rotations."""
    cubic = Crystal.from_ase(bulk("Al", cubic=True))
    kpoints = make_kpoints({"size": (4, 4, 4), "gamma": True}, cubic)
    assert len(kpoints.symmetry) == 192
    # Simple cubic, n = 4: C(2 + 3, 3) = 10 points with 0 <= i <= j <= k <= 2.
    assert len(kpoints) == 10


def test_antiferromagnet_has_fewer_operations_and_more_points():
    iron = bulk("Fe", cubic=True)
    iron.set_initial_magnetic_moments([2.0, 2.0])
    ferro = make_kpoints((4, 4, 4), Crystal.from_ase(iron))
    iron.set_initial_magnetic_moments([2.0, -2.0])
    antiferro = make_kpoints((4, 4, 4), Crystal.from_ase(iron))
    assert (len(ferro.symmetry), len(antiferro.symmetry)) == (96, 48)


def test_weights_sum_to_one_to_rounding():
    kpoints = make_kpoints({"size": (7, 7, 7), "gamma": True}, SILICON)
    assert abs(float(kpoints.weights.sum()) - 1) < 1e-15


def test_smooth_function_integrates_as_on_the_full_mesh():
    """Sum of a lattice-periodic, symmetric band over k: irreducible equals full."""
    images = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, -1, 0], [0, 1, -1], [1, 0, -1]])

    def band(k):
        return torch.cos(2 * math.pi * k @ images.double().T).sum(-1).exp()

    for spec in ((6, 6, 6), {"size": (5, 5, 5), "gamma": True}):
        reduced, full = (make_kpoints(spec, ALUMINIUM, symmetry) for symmetry in (True, False))
        assert len(reduced) < len(full) / 4
        sums = [float((k.weights * band(k.coordinates)).sum()) for k in (reduced, full)]
        assert sums[0] == pytest.approx(sums[1], rel=1e-14)


def test_density_counts_points_per_inverse_angstrom():
    silicon = make_kpoints({"density": 3.5}, SILICON).size
    # |b| = 2 pi sqrt(3) / a, without ASE.
    assert silicon == (math.ceil(3.5 * 2 * math.pi * math.sqrt(3) / 5.43),) * 3
    assert make_kpoints({"density": 3.5, "even": True}, SILICON).size == (8, 8, 8)
    assert make_kpoints({"density": 3.6, "even": False}, SILICON).size == (9, 9, 9)


def test_density_gives_one_point_across_the_vacuum():
    assert make_kpoints({"density": 3.5, "gamma": True}, layer()).size[2] == 1


def test_gamma_is_in_or_out_as_asked():
    for gamma in (True, False):
        for n in (3, 4):
            kpoints = make_kpoints({"size": (n, n, n), "gamma": gamma}, ALUMINIUM)
            assert bool((kpoints.coordinates.abs().sum(1) < 1e-14).any()) == gamma


def test_explicit_list_is_taken_as_it_is():
    kpoints = make_kpoints([[0, 0, 0], [0.5, 0.25, 0]], SILICON)
    assert kpoints.coordinates.tolist() == [[0, 0, 0], [0.5, 0.25, 0]]
    assert kpoints.weights.tolist() == [0.5, 0.5]
    assert (len(kpoints.symmetry), kpoints.size) == (1, None)
    weighted = make_kpoints({"kpts": [[0, 0, 0], [0.5, 0, 0]], "weights": [0.25, 0.75]}, SILICON)
    assert weighted.weights.tolist() == [0.25, 0.75]
    assert make_kpoints(weighted, SILICON) is weighted


def test_default_is_gamma():
    assert make_kpoints(None, SILICON).coordinates.tolist() == [[0, 0, 0]]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ((4, 0, 4), "three positive integers"),
        ((4, -1, 4), "three positive integers"),
        ((4, 4), "three positive integers"),
        ((2.5, 2, 2), "three positive integers"),
        ((0.0, math.nan, 0.0), "three positive integers"),
        ({"size": (4, 4, 4, 4)}, "three positive integers"),
        ({"sise": (4, 4, 4)}, "unknown key.*'sise'.*size, density, gamma, even"),
        ({"kpts": [[0, 0, 0]], "gamma": True}, "unknown key.*'gamma'.*kpts, weights"),
        ({"size": (4, 4, 4), "density": 3.0}, "either 'size' or 'density'"),
        ({"density": -1.0}, "density must be a positive"),
        ({"density": math.nan}, "density must be a positive"),
        ({"size": (2, 2, 2), "gamma": "yes"}, "'gamma' must be True or False, got 'yes'"),
        ([[0, 0]], r"shape \(nk, 3\)"),
        (np.zeros((0, 3)), r"shape \(nk, 3\)"),
        (True, "cannot read k-points from True"),
        ([True, True, True], r"cannot read k-points from \[True"),
        ("444", "cannot read k-points from '444'"),
        ({"size": "4"}, "cannot read k-points from '4'"),
        ({"density": "3.5"}, "cannot read k-points from '3.5'"),
        ({"path": "GXWG", "npoints": 20}, r"is a path.*give a mesh.*band_structure\(path\)"),
        (0, "three positive integers"),
        (3.5, r"three positive integers.*\{'density': 3.5\}"),
        ([[0, 0, math.nan]], "NaN"),
        ({"kpts": [[0, 0, 0]], "weights": [0.5]}, "sum to 1"),
        ({"kpts": [[0, 0, 0]] * 2, "weights": [1.5, -0.5]}, "non-negative"),
        ({"kpts": [[0, 0, 0]] * 2, "weights": [1.0]}, r"weights must have shape \(2,\)"),
        ("gamma", "cannot read k-points from 'gamma'"),
    ],
)
def test_bad_input_is_refused_by_name(spec, message):
    with pytest.raises(ValueError, match=message):
        make_kpoints(spec, SILICON)


@pytest.mark.parametrize("spec", [4, np.int64(4), {"size": 4}, np.array([4, 4, 4])])
def test_one_number_stands_for_three(spec):
    kpoints = make_kpoints(spec, SILICON)
    assert kpoints.size == (4, 4, 4)
    assert torch.equal(kpoints.coordinates, make_kpoints((4, 4, 4), SILICON).coordinates)


# k-points of silicon's 2 x 2 x 2 mesh: all, half with time reversal alone.
@pytest.mark.parametrize(
    ("symmetry", "number"),
    [
        *((value, 2) for value in (True, None, "on", {}, 1, np.bool_(True))),
        *((value, 8) for value in (False, "off", "OFF", 0, np.bool_(False))),
        ({"point_group": False}, 4),
        ({"point_group": np.bool_(False), "time_reversal": None}, 4),
        ({"point_group": False, "time_reversal": False}, 8),
        ({"time_reversal": False}, 2),  # the inversion of silicon does the same
        ({"symmorphic": True}, 2),
    ],
)
def test_symmetry_means_what_users_of_gpaw_write(symmetry, number):
    assert len(make_kpoints((2, 2, 2), SILICON, symmetry)) == number


@pytest.mark.parametrize(
    "symmetry", ["of", "none", 2, 0.5, [False], {"pointgroup": False}, {"point_group": "no"}]
)
@pytest.mark.parametrize("spec", [(2, 2, 2), [[0, 0, 0]]])
def test_an_unknown_symmetry_is_refused_with_the_valid_ones(symmetry, spec):
    with pytest.raises(ValueError, match=r"symmetry.*(point_group, time_reversal|True or False)"):
        make_kpoints(spec, SILICON, symmetry)


def test_time_reversal_is_what_makes_k_and_minus_k_one():
    """In zincblende, which has no inversion."""
    mesh = {"size": (3, 3, 3), "gamma": True}
    with_it, without = (
        make_kpoints(mesh, GALLIUM_ARSENIDE, {"time_reversal": value}) for value in (True, False)
    )
    assert len(without) > len(with_it)
    assert not without.symmetry.time_reversal
    assert len(without.symmetry) == len(with_it.symmetry) == 24


def test_operations_with_a_translation_can_be_left_out():
    group = make_kpoints({"size": (2, 2, 2), "gamma": True}, SILICON, {"symmorphic": True}).symmetry
    assert len(group) == 24
    assert np.abs(group.translations - np.rint(group.translations)).max() < 1e-9


def test_a_mesh_that_avoids_gamma_says_which_symmetry_it_lacks():
    with pytest.warns(MeshSymmetryWarning, match=r"4 x 4 x 4 mesh .* lacks 36 of .* 48 .*'gamma'"):
        shifted = make_kpoints((4, 4, 4), ALUMINIUM)
    assert (shifted.dropped, len(shifted.symmetry)) == (36, 12)


@pytest.mark.parametrize(
    ("spec", "crystal", "symmetry"),
    [
        ({"size": (4, 4, 4), "gamma": True}, "fcc", True),
        ((3, 3, 3), "fcc", True),
        ((2, 3, 3), "cubic", True),  # unequal divisions are chosen, not shifted
        ((4, 4, 4), "cubic", True),
        ((4, 4, 4), "fcc", False),
    ],
)
def test_no_notice_where_the_mesh_has_all_operations(spec, crystal, symmetry):
    atoms = {"fcc": bulk("Al"), "cubic": bulk("Al", cubic=True)}[crystal]
    with warnings.catch_warnings():
        warnings.simplefilter("error", MeshSymmetryWarning)
        assert make_kpoints(spec, Crystal.from_ase(atoms), symmetry).dropped == 0


@pytest.mark.gpu
def test_k_points_live_on_the_device_of_the_crystal():
    kpoints = make_kpoints((2, 2, 2), SILICON.to(GPU))
    assert kpoints.coordinates.device.type == GPU
    assert kpoints.weights.device.type == GPU
    torch.testing.assert_close(
        kpoints.coordinates.cpu(), make_kpoints((2, 2, 2), SILICON).coordinates
    )
