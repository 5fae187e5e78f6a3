"""Lattice constants with GTH potentials, from a kept run: what a column of the table shows."""

from __future__ import annotations

import json

from deepchem_xc._files import data_file


def load_gth_constants() -> dict[str, float]:
    """Lattice constants (Angstrom) with PBE and GTH potentials, by crystal.

    ``data/gth_eos.json`` holds the curves of ``deepchem-xc benchmark --potentials gth``, which
    takes most of an hour for nickel.

    Examples
    --------
    >>> print(f"{load_gth_constants()['Al']:.3f}")
    4.038
    """
    from deepchem_xc.against_gpaw.report import lattice_constant
    from deepchem_xc.eos.fits import fit_equation_of_state

    curves = json.loads(data_file("gth_eos.json").read_text())["systems"]
    fits = {
        name: fit_equation_of_state(curve["sizes"], curve["energies"], curve["dimension"])
        for name, curve in curves.items()
    }
    return {name: lattice_constant(fit) for name, fit in fits.items()}
