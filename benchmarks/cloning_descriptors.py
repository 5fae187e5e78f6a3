"""What functionals see of all electrons, and of valence electrons with GTH potentials.

A clone is sampled at densities of all electrons, and is used in crystals with pseudopotentials,
where cores are missing and densities are smooth at the nuclei. ``descriptors/MOLECULE.json`` holds,
for both densities of a molecule, how electrons are distributed over r_s, s, zeta and alpha.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cloning_molecules import held_out
from cloning_plan import Clone
from cloning_training import Data
from numpy.typing import NDArray

from deepchem_xc.calculators import to_pyscf
from deepchem_xc.cloning.densities import GridDensity, converge, grid_density
from deepchem_xc.cloning.molecules import g2_molecule, unpaired_electrons
from deepchem_xc.gaussian import Molecule
from deepchem_xc.store import Store, digest
from deepchem_xc.xc.variables import DensityVariables

Array = NDArray[np.float64]

#: Parent whose densities are described: the potentials are made for it.
PARENT = "PBE"
#: Pseudopotentials and their basis.
POTENTIALS, BASIS = "gth-pbe", "gth-tzv2p"
#: Kinds of densities.
KINDS = ("all electrons", "GTH")
#: Edges of bins: of r_s in bohr, the others without a unit; what lies outside is in the last ones.
EDGES: dict[str, Array] = {
    "r_s": np.geomspace(0.05, 20.0, 41),
    "s": np.linspace(0.0, 4.0, 41),
    "zeta": np.linspace(0.0, 1.0, 21),
    "alpha": np.linspace(0.0, 4.0, 41),
}
#: Shares of electrons below which quantiles lie.
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
#: Part of a bin's share of electrons below which another density counts as absent there.
ABSENT = 0.1
# Level of the grid; on coarser ones single shells of points show in the histograms.
_LEVEL = 3
# Density below which points are left out, bohr^-3.
_LEAST_DENSITY = 1e-10


def evaluate(clone: Clone, data: Data, output: Path, deadline: float) -> bool:
    """Descriptors of the molecules that test clones; return whether all are there.

    Parameters
    ----------
    clone : Clone
        Any clone of `PARENT`: its basis and grid count.
    data, output, deadline
        As for `cloning_training.train`.
    """
    store = store_of(clone.quick, output)
    for name in held_out(clone.quick):
        if store.read(name, key=key_of(clone)) is not None:
            continue
        if time.monotonic() > deadline:
            return False
        (kept,) = data.densities(clone, [name])
        grids = dict(zip(KINDS, (kept.on_grid(_LEVEL), with_potentials(clone, name, data))))
        found = {kind: distribution(grid) for kind, grid in grids.items()}
        store.write(name, {"key": key_of(clone), "kinds": found})
    return True


def store_of(quick: bool, output: Path) -> Store:
    """Where descriptors are."""
    return Store(output / ("quick-descriptors" if quick else "descriptors"))


def key_of(clone: Clone) -> str:
    """Hash of what descriptors depend on."""
    edges = {name: one.tolist() for name, one in EDGES.items()}
    return digest([PARENT, clone.settings.basis, POTENTIALS, BASIS, _LEVEL, edges])[:16]


def with_potentials(clone: Clone, name: str, data: Data) -> GridDensity:
    """Self-consistent density of a molecule of the g2 set with pseudopotentials.

    Raises
    ------
    SCFConvergenceError
        If it does not converge.
    """
    from pyscf import dft

    atoms = g2_molecule(name)
    spin = unpaired_electrons(atoms)
    mol = Molecule.of(atoms, basis=BASIS, spin=spin, pseudopotentials=POTENTIALS).mole
    mf = to_pyscf(data.parent(clone), (dft.UKS if spin else dft.RKS)(mol))
    converge(mf, name)
    matrix = np.asarray(mf.make_rdm1())
    pair = np.stack([matrix / 2.0] * 2) if matrix.ndim == 2 else matrix
    return grid_density(mol, pair, _LEVEL)


def descriptors(grid: GridDensity) -> tuple[Array, dict[str, Array]]:
    """Electrons at each point, and r_s (bohr), s, |zeta| and alpha of the total density, (nr,)."""
    info = grid.densinfo
    total = info.u.value + info.d.value
    keep = total > _LEAST_DENSITY
    variables = DensityVariables(info)
    tau = info.u.kin + info.d.kin
    weizsaecker = variables.sigma / (8.0 * total)
    uniform = 0.3 * (3.0 * np.pi**2) ** (2.0 / 3.0) * total.clamp(min=0.0) ** (5.0 / 3.0)
    fields: dict[str, torch.Tensor] = {
        "r_s": variables.rs,
        "s": variables.s2.sqrt(),
        "zeta": variables.zeta.abs(),
        "alpha": ((tau - weizsaecker) / uniform).clamp(min=0.0),
    }
    electrons = (grid.weights * total)[keep].numpy()
    return electrons, {name: field[keep].numpy() for name, field in fields.items()}


def distribution(grid: GridDensity) -> dict[str, Any]:
    """Number of electrons, their share in each bin of `EDGES`, quantiles, and a joint histogram.

    Returns
    -------
    dict
        "electrons"; "shares" and "quantiles" by descriptor; "joint", shares by pairs of bins of r_s
        and s.
    """
    electrons, values = descriptors(grid)
    weights = electrons / electrons.sum()
    inside = {
        name: np.clip(value, EDGES[name][0], np.nextafter(EDGES[name][-1], 0.0))
        for name, value in values.items()
    }
    joint, _, _ = np.histogram2d(
        inside["r_s"], inside["s"], (EDGES["r_s"], EDGES["s"]), weights=weights
    )
    return {
        "electrons": float(electrons.sum()),
        "shares": {
            name: np.histogram(value, EDGES[name], weights=weights)[0].tolist()
            for name, value in inside.items()
        },
        "quantiles": {name: _quantiles(value, weights) for name, value in values.items()},
        "joint": joint.tolist(),
    }


def _quantiles(values: Array, weights: Array) -> list[float]:
    order = np.argsort(values)
    below = np.cumsum(weights[order])
    return [float(values[order][np.searchsorted(below, q * below[-1])]) for q in QUANTILES]


def overlap(one: Any, other: Any) -> float:
    """Common part of two distributions over the same bins: 1 if they are the same."""
    return float(np.minimum(np.asarray(one), np.asarray(other)).sum())


def unsampled(sampled: Any, used: Any) -> float:
    """Share of the used density in bins where the sampled one has less than `ABSENT` of it."""
    drawn, wanted = np.asarray(sampled), np.asarray(used)
    return float(wanted[drawn < ABSENT * wanted].sum())
