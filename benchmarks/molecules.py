"""Times of molecules next to PySCF's: ground state, forces, and gradients of losses.

    python benchmarks/molecules.py [--basis def2-svp] [NAME ...]

Names are those of ASE's g2 set, or of its S22 set of complexes. Both codes run in this process, one
after the other, with the same threads, grid and tolerances; PySCF first. Times are those of the
processor. Losses are one on the density and one on the forces, and forces are those on the moving
grid, in PySCF with grid_response = True.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pyscf
import torch
from ase import Atoms
from ase.build import molecule
from ase.data.s22 import create_s22_system
from pyscf import dft

from deepchem_xc.gaussian import Molecule, scf
from deepchem_xc.tables import as_table
from deepchem_xc.xc import PBE

# PySCF's default tolerances: 1e-9 Ha, and the root of it for the norm of the orbital gradient.
CONVERGENCE = {"energy": 1e-9, "commutator": 1e-5}


def structure(name: str) -> Atoms:
    """A molecule of the g2 set, or a complex."""
    return create_s22_system(name) if "_" in name else molecule(name)


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    """Result and seconds of processor time."""
    start = time.process_time()
    result = function()
    return result, time.process_time() - start


def row(name: str, basis: str) -> list[str]:
    """Times of one molecule."""
    atoms = structure(name)
    mole = Molecule.of(atoms, basis=basis).mole
    mf = dft.RKS(mole, xc="pbe")
    mf.verbose = 0
    energy, theirs = timed(mf.kernel)
    functional = PBE(trainable=True)
    result, ours = timed(lambda: scf(atoms, functional, basis=basis, convergence=CONVERGENCE))
    loss = (result.weights * result.density.square()).sum()
    _, gradient = timed(loss.backward)
    slopes = mf.nuc_grad_method()
    slopes.grid_response = True
    their_gradient, their_forces = timed(slopes.kernel)
    forces, our_forces = timed(lambda: result.forces)
    _, gradient_of_forces = timed(forces.square().sum().backward)
    return [
        name,
        str(len(atoms)),
        str(mole.nao),
        f"{result.nsteps}, {mf.cycles}",
        f"{theirs:.1f}",
        f"{ours:.1f}",
        f"{ours / theirs:.2f}",
        f"{gradient:.1f}",
        f"{gradient / ours:.2f}",
        f"{their_forces:.1f}",
        f"{our_forces:.1f}",
        f"{our_forces / ours:.2f}",
        f"{gradient_of_forces:.1f}",
        f"{gradient_of_forces / ours:.2f}",
        f"{abs(result.energy.item() - energy):.0e}",
        f"{np.abs(forces.detach().numpy() + their_gradient).max():.0e}",
    ]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=["C6H6", "Pyrazine_dimer"])
    parser.add_argument("--basis", default="def2-svp")
    arguments = parser.parse_args()
    pyscf.lib.num_threads(torch.get_num_threads())
    scf(molecule("H2"), "PBE", basis="sto-3g")  # what is loaded only once
    head = (
        "molecule, atoms, functions, steps, PySCF s, here s, ratio, gradient of density s, ratio, "
        "PySCF forces s, forces s, to SCF, gradient of forces s, to SCF, |dE| Ha, |dF| Ha/bohr"
    )
    rows = [row(name, arguments.basis) for name in arguments.names]
    print(as_table(rows, head.split(", ")))


if __name__ == "__main__":
    main()
