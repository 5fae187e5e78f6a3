"""The solver against ABINIT: same potential, cutoff, mesh and grid, so every digit must agree.

Numbers come from two places: ``../shared/references`` (skipped where absent) and ``references/``
beside this file, made by ``benchmarks/abinit_reference.py`` or copied from the former; each file
says how in its ``provenance``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deepchem_xc.planewave import Crystal, PlaneWaveBasis, SCFResult, scf

HERE = Path(__file__).parent / "references"

OCCUPATIONS = {1: "fixed", 3: "fermi-dirac", 6: "methfessel-paxton", 7: "gaussian"}
TERMS = {
    "kinetic": "e_kinetic",
    "local": "e_localpsp",
    "nonlocal": "e_nlpsp_vfock",
    "hartree": "e_hartree",
    "xc": "e_xc",
    "ewald": "e_ewald",
    "core": "e_corepsp",
    "entropy": "e_entropy",
    "free": "etotal",
}
pytestmark = pytest.mark.filterwarnings("ignore:the functional is r2SCAN")

# What two correct codes differ by with the same grid: rounding, ABINIT's splines of the form
# factors and both loops' tolerance. Radial integrals of tabulated potentials add to it.
SAME_GRID = {"gth": 5e-7, "psp8": 1e-5}  # Ha per atom
DEFAULT_GRID = {"gth": 2e-5, "psp8": 1e-5}

GTH = (
    "Si_PBE_E20_k444",
    "Si_disp_PBE_E15_k222",
    "Al_PBE_E20_k888_FD0.01",
    "Al_PBE_E20_k888_MP6_0.01",
    "Ca_PBE_E40_k666_FD0.005",
    "graphene_PBE_E40_k991_FD0.005",
    "Ni_PBE_E100_k444_FD0.002",
    "H2_PBE_E40_box10",
    "Si_LDA_E20_k444",
)
PSP8 = (
    "Si_psp8_PBE_E18_k444",
    "Al_psp8_PBE_E20_k888_FD0.005",
    "Ni_psp8_PBE_E49_k666_FD0.002",
)
SLOW = (
    "Ni_PBE_E100_k444_FD0.002",
    "Ni_psp8_PBE_E49_k666_FD0.002",
    "graphene_PBE_E40_k991_FD0.005",
    "Ca_PBE_E40_k666_FD0.005",
)


def make_basis(entry: dict[str, Any], same_grid: bool = True) -> PlaneWaveBasis:
    """The entry's crystal, plane waves and mesh."""
    moments = entry.get("initial_moments")
    if moments is None and entry["nsppol"] == 2:
        moments = [1.0] * len(entry["species"])
    if "fixed_moment_muB" in entry:
        # The moment held fixed is the sum of the atoms' initial ones.
        moments = [entry["fixed_moment_muB"] / len(entry["species"])] * len(entry["species"])
    crystal = Crystal(
        lattice=torch.tensor(entry["lattice_bohr"], dtype=torch.float64),
        symbols=tuple(entry["species"]),
        positions=torch.tensor(entry["xred"], dtype=torch.float64),
        magnetic_moments=None if moments is None else tuple(moments),
    )
    mesh: dict[str, Any] = {"size": entry["kmesh"], "gamma": True}
    if any(entry["kshift"]):
        mesh = {"kpts": entry["kpts_red"], "weights": entry["kwts"]}
    without = "nsym 1" in entry.get("extra_input", "") or "without" in entry["note"]
    return PlaneWaveBasis(
        crystal,
        entry["ecut_Ha"],
        mesh,
        fft_size=entry["ngfft"] if same_grid else None,
        symmetry=not without,
        ecut_smoothing=entry.get("ecut_smoothing_Ha", 0.0),
    )


def solve(
    entry: dict[str, Any], pseudo_path: Callable[[str], Path], same_grid: bool = True
) -> SCFResult:
    """Our ground state of an entry, converged far below every tolerance here."""
    occupations: dict[str, Any] = {"name": OCCUPATIONS[entry["occopt"]]}
    if entry["occopt"] != 1:
        occupations["width"] = entry["tsmear_Ha"]
    if "fixed_moment_muB" in entry:
        occupations["fixmagmom"] = True
    pseudos = {}
    for label in entry["pseudo"]:
        symbol = label.split(".")[0].split("-")[0]
        is_file = label.endswith(".psp8")
        pseudos[symbol] = pseudo_path(label) if is_file else label.split(".", 1)[1]
    return scf(
        make_basis(entry, same_grid),
        next(f for f in ("Teter93", "r2SCAN", "PBE") if f in entry["xc"]),
        pseudopotentials=pseudos,
        occupations=occupations,
        convergence={"energy": 1e-11, "density": 1e-8, "orbitals": 1e-7},
    )


def energy_deviations(result: SCFResult, entry: dict[str, Any]) -> dict[str, float]:
    """Every term's difference to ABINIT, Ha per atom."""
    return {
        term: (float(result.energies[term]) - entry["energies_Ha"][key]) / len(entry["species"])
        for term, key in TERMS.items()
    }


def same_kpoint(result: SCFResult, wanted: list[float]) -> int:
    """Index of the k-point of ours that symmetry or time reversal takes to `wanted`."""
    ours = result.kpoints.coordinates.numpy()
    rotations = result.kpoints.symmetry.rotations
    images = np.einsum("ki,oij->okj", ours, rotations)  # W^T k
    for sign in (1.0, -1.0):
        distance = sign * images - np.asarray(wanted)
        distance -= np.rint(distance)
        hit = np.abs(distance).max(-1).min(0)
        if hit.min() < 1e-8:
            return int(hit.argmin())
    raise AssertionError(f"no k-point of ours is equivalent to {wanted}")


def eigenvalue_deviation(result: SCFResult, entry: dict[str, Any]) -> float:
    """Largest difference of an eigenvalue that holds electrons, Ha."""
    theirs = np.asarray(entry["eigenvalues_Ha"])
    occupations = np.asarray(entry["occupations"])
    ours = result.eigenvalues.numpy()
    if entry["nsppol"] == 2 and entry["magnetization_muB"] * float(result.magnetic_moment) < 0:
        ours = ours[::-1]
    worst = 0.0
    for index, k in enumerate(entry["kpts_red"]):
        nband = min(ours.shape[2], entry["n_bands_converged"])
        difference = ours[:, same_kpoint(result, k), :nband] - theirs[:, index, :nband]
        occupied = occupations[:, index, :nband] > 1e-6
        worst = max(worst, float(np.abs(difference[occupied]).max()))
    return worst


def stress_tensor(entry: dict[str, Any]) -> np.ndarray:
    """ABINIT's stress as a matrix."""
    xx, yy, zz, yz, xz, xy = entry["stress_Ha_bohr3_xx_yy_zz_yz_xz_xy"]
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


def deviations(result: SCFResult, entry: dict[str, Any]) -> dict[str, float]:
    """All differences to ABINIT: energies (Ha per atom), eigenvalues, Fermi level, moment ..."""
    found = energy_deviations(result, entry)
    found["eigenvalues"] = eigenvalue_deviation(result, entry)
    if "fixed_moment_muB" not in entry:
        found["fermi"] = float(result.fermi_level) - entry["energies_Ha"]["e_fermie"]
    if entry["nsppol"] == 2:
        ours = abs(float(result.magnetic_moment))
        found["moment"] = ours - abs(entry["magnetization_muB"])
    forces = np.asarray(entry["forces_Ha_bohr"])
    found["forces"] = float(np.abs(result.forces.numpy() - forces).max())
    if "r2SCAN" not in entry["xc"]:  # tests/planewave/test_meta_gga.py has its stress
        found["stress"] = float(np.abs(result.stress.numpy() - stress_tensor(entry)).max())
    return found


def assert_agrees(found: dict[str, float], energy: float) -> None:
    """Compare with the tolerances promised for everything but energies."""
    promised = {"eigenvalues": 1e-5, "fermi": 1e-5, "moment": 1e-3, "forces": 1e-5, "stress": 1e-7}
    wrong = {
        name: f"{value:.2e} (allowed {promised.get(name, energy):.0e})"
        for name, value in found.items()
        if not abs(value) <= promised.get(name, energy)
    }
    assert not wrong, f"differs from ABINIT: {wrong}"


def _with_speed(names: tuple[str, ...]) -> list[Any]:
    return [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in names]


def _kind(entry: dict[str, Any]) -> str:
    return "psp8" if any(label.endswith(".psp8") for label in entry["pseudo"]) else "gth"


def _load_local(file: str) -> dict[str, dict[str, Any]]:
    return json.loads((HERE / file).read_text())["entries"]


@pytest.fixture(scope="session")
def pseudo_path(reference_path: Callable[[str], Path]) -> Callable[[str], Path]:
    """Path of a psp8 file; a test that asks for one skips where ../shared is absent."""
    return lambda label: reference_path(f"pseudos/{label}")


@pytest.mark.parametrize(("file", "names"), [("abinit_gth.json", GTH), ("abinit_psp8.json", PSP8)])
def test_no_entry_of_the_reference_file_is_left_out(
    reference: Callable[[str], Any], file: str, names: tuple[str, ...]
) -> None:
    assert set(names) == set(reference(file))


@pytest.mark.parametrize("name", _with_speed(GTH))
def test_gth_crystals_agree_with_abinit(
    reference: Callable[[str], Any], pseudo_path: Callable[[str], Path], name: str
) -> None:
    entry = reference("abinit_gth.json")[name]
    assert_agrees(deviations(solve(entry, pseudo_path), entry), SAME_GRID["gth"])


@pytest.mark.parametrize("name", _with_speed(PSP8))
def test_psp8_crystals_agree_with_abinit(
    reference: Callable[[str], Any], pseudo_path: Callable[[str], Path], name: str
) -> None:
    entry = reference("abinit_psp8.json")[name]
    assert_agrees(deviations(solve(entry, pseudo_path), entry), SAME_GRID["psp8"])


COPIED = ("Si_PBE_E20_k444", "Al_PBE_E20_k888_FD0.01", "Si_LDA_E20_k444")
MORE = (
    "Si_disp_r2SCAN_E15_k222",
    "Al_r2SCAN_E15_k444_FD0.01",
    "Li_r2SCAN_E20_k333_spin_FD0.01",
    "Si_strained_smoothed_PBE_E10_k222",
    "Si_disp_PBE_E10_k222",
    "H2_PBE_E12_box6",
    "Al_PBE_E10_k444_FD0.01",
    "Pb_PBE_E15_k444_MP0.02",
    "InP_triclinic_PBE_E15_k221_FD0.01",
    "Fe_bcc_PBE_E30_k444_FD0.005",
    "W_bcc_PBE_E20_k444_FD0.01",
    "Bi_rhombohedral_PBE_E15_k333_G0.01",
    "Fe_bcc_fixed_moment_PBE_E25_k333_FD0.01",
)
MORE_SLOW = (
    "CsCl_PBE_E15_k222",
    "O2_triplet_PBE_E30_box8",
    "N2_PBE_E30_box8",
    "Al_slab_PBE_E12_k331_MP0.02",
    "Li_hcp_spin_PADE_E20_k331_FD0.01",
    "La_fcc_PBE_E20_k444_FD0.01",
    "GaAs_PBE_E20_k222shift",
    "Cr_afm_PBE_E25_k333_G0.01",
    "NiO_afm_PADE_E20_k222_FD0.005",
    "NaCl_PBE_E25_k222",
    "Cu_PBE_E30_k444_MP0.01",
    "TiO2_rutile_PBE_E20_k112",
    "Au_PBE_E25_k444_FD0.005",
)


def no_file(label: str) -> Path:
    raise AssertionError(f"{label}: entries that come with the project need no files")


@pytest.mark.parametrize("name", COPIED)
def test_crystals_agree_with_abinit_in_a_plain_clone(name: str) -> None:
    entry = _load_local("abinit_gth.json")[name]
    assert_agrees(deviations(solve(entry, no_file), entry), SAME_GRID["gth"])


@pytest.mark.parametrize(
    "name", [*MORE, *(pytest.param(name, marks=pytest.mark.slow) for name in MORE_SLOW)]
)
def test_more_crystals_agree_with_abinit(name: str) -> None:
    """Heavy, ionic, magnetic, low-symmetry, molecular ones; projectors up to l = 3."""
    entry = _load_local("abinit_more.json")[name]
    assert_agrees(deviations(solve(entry, no_file), entry), SAME_GRID["gth"])


def test_every_entry_that_comes_along_is_tested() -> None:
    assert set(_load_local("abinit_gth.json")) == set(COPIED)
    assert set(_load_local("abinit_more.json")) == {*MORE, *MORE_SLOW}


def test_a_wrong_digit_would_be_seen() -> None:
    """The comparison is sharp: a bond longer by 0.01 % is far outside the tolerance."""
    entry = _load_local("abinit_more.json")["H2_PBE_E12_box6"]
    changed = entry | {"xred": [[0.5, 0.5, 0.38], [0.5, 0.5, 0.62 + 0.24e-4]]}
    with pytest.raises(AssertionError, match="differs from ABINIT: .*free"):
        assert_agrees(deviations(solve(changed, no_file), entry), SAME_GRID["gth"])


@pytest.mark.parametrize(
    "name", ["Si_disp_PBE_E10_k222", "Al_PBE_E10_k444_FD0.01", "Bi_rhombohedral_PBE_E15_k333_G0.01"]
)
def test_the_default_grid_is_good_enough(name: str) -> None:
    entry = _load_local("abinit_more.json")[name]
    result = solve(entry, no_file, same_grid=False)
    assert_agrees(energy_deviations(result, entry), DEFAULT_GRID["gth"])


@pytest.mark.parametrize("name", ["Si_disp_PBE_E15_k222", "Al_PBE_E20_k888_FD0.01"])
def test_gth_crystals_agree_on_the_default_grid(
    reference: Callable[[str], Any], pseudo_path: Callable[[str], Path], name: str
) -> None:
    entry = reference("abinit_gth.json")[name]
    result = solve(entry, pseudo_path, same_grid=False)
    assert_agrees(energy_deviations(result, entry), DEFAULT_GRID["gth"])


@pytest.mark.parametrize("name", ["Si_psp8_PBE_E18_k444", "Al_psp8_PBE_E20_k888_FD0.005"])
def test_psp8_crystals_agree_on_the_default_grid(
    reference: Callable[[str], Any], pseudo_path: Callable[[str], Path], name: str
) -> None:
    entry = reference("abinit_psp8.json")[name]
    result = solve(entry, pseudo_path, same_grid=False)
    assert_agrees(energy_deviations(result, entry), DEFAULT_GRID["psp8"])
