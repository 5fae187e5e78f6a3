"""Energy of one crystal at one volume."""

from __future__ import annotations

import time
import warnings
from typing import Any

from deepchem_xc.against_gpaw.cases import Case
from deepchem_xc.eos.scales import VOLUME_SCALES


def compute_point(case: Case, scale: float, device: str | None = None) -> dict[str, Any]:
    """Ground state of a case's crystal with its volume (area, for a layer) scaled.

    Parameters
    ----------
    case : Case
        Crystal and settings.
    scale : float
        Volume, or area, relative to the reference's.
    device : str, optional
        Torch device.

    Returns
    -------
    dict
        ``scale``, ``volume`` (Angstrom^3), ``area`` (Angstrom^2, layers only), ``energy`` (eV,
        extrapolated to zero width), ``free_energy`` (eV), ``magmom`` (mu_B per cell), ``steps``,
        ``irreducible_kpoints``, ``plane_waves``, ``bands``, ``seconds`` and ``cpu_seconds``. Keys
        that also appear in `load_gpaw_eos` have the same meaning.

    Raises
    ------
    SCFConvergenceError
        If the loop does not converge.
    """
    from ase.units import Hartree

    from deepchem_xc.planewave import scf
    from deepchem_xc.planewave.inputs import make_basis
    from deepchem_xc.planewave.pseudo import FunctionalMismatchWarning
    from deepchem_xc.planewave.settings import Settings
    from deepchem_xc.xc import get_xc

    start, cpu = time.perf_counter(), time.process_time()
    atoms = case.atoms(scale)
    # One real-space grid for the whole curve: a grid chosen for each cell would change within the
    # curve, with a jump in the exchange-correlation energy.
    largest = case.atoms(max(scale, *VOLUME_SCALES))
    grid = make_basis(largest, Settings.of({"ecut": case.ecut})).fft_size
    functional = get_xc(case.xc).requires_grad_(False)
    with warnings.catch_warnings():
        # PBE's pseudopotentials serve every functional, so that only the functional differs.
        warnings.simplefilter("ignore", FunctionalMismatchWarning)
        result = scf(atoms, functional, **case.keywords(), fft_size=grid, device=device)
    point: dict[str, Any] = {"scale": scale, "volume": float(atoms.get_volume())}
    if case.vacuum is not None:
        point["area"] = point["volume"] / case.vacuum
    point["energy"] = float(result.extrapolated_energy) * Hartree
    point["free_energy"] = float(result.free_energy) * Hartree
    point["magmom"] = float(result.magnetic_moment)
    point["steps"] = result.nsteps
    point["irreducible_kpoints"] = result.basis.nk
    point["plane_waves"] = result.basis.npw
    point["bands"] = result.eigenvalues.shape[2]
    point["seconds"] = round(time.perf_counter() - start, 2)
    point["cpu_seconds"] = round(time.process_time() - cpu, 2)
    return point
