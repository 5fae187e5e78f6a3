"""Hard densities, and the run of exported files in a process that cannot import this package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

# Nothing but torch and numpy can be imported; the paths are those of files and of a folder for
# the results.
ALONE = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"deepchem_xc", "deepchem", "pyscf", "ase"}:
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Blocker())
try:
    import deepchem_xc
except ImportError:
    pass
else:
    raise SystemExit("deepchem_xc was imported")
import pathlib, torch
for folder in map(pathlib.Path, sys.argv[1:]):
    program = torch.export.load(folder / "functional.pt2").module()
    batches = torch.load(folder / "inputs.pt")
    torch.save([list(program(*batch)) for batch in batches], folder / "outputs.pt")
assert "deepchem_xc" not in sys.modules
"""


def run_alone(*folders: Path) -> None:
    """Load `functional.pt2` of each folder by torch alone; from `inputs.pt` to `outputs.pt`."""
    run = subprocess.run(
        [sys.executable, "-I", "-c", ALONE, *map(str, folders)], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr


def hard_points(nspin: int) -> np.ndarray:
    """Points where functionals are screened or switched: (5, nr) or (2, 5, nr).

    Rows are n, its gradient, tau, as for the other tests.
    """
    rng = np.random.default_rng(3)
    direction = np.array([0.6, 0.0, -0.8])

    def channel(n: float, s: float, ratio: float) -> np.ndarray:
        """Density, gradient of this reduced length, tau in units of tau_W."""
        positive = max(n, 0.0)
        gradient = s * 6.0 * positive ** (4.0 / 3.0) * direction
        weizsaecker = (gradient**2).sum() / (8.0 * positive) if positive else 0.0
        return np.array([n, *gradient, ratio * weizsaecker])

    noise = np.array([-1e-13, *(1e-14 * rng.normal(size=3)), 1e-16])  # of an empty channel
    channels = [
        channel(0.0, 0.0, 0.0),  # vacuum
        channel(-1e-12, 0.0, 0.0),  # round-off in vacuum
        channel(1e-30, 1.0, 1.0),
        channel(3e-16, 1.0, 1.5),  # where vacuum is switched off
        channel(1e-15, 0.5, 2.0),
        channel(1e-9, 50.0, 1.1),  # tail of a density
        channel(0.3, 0.0, 0.0) + np.array([0.0, 0.0, 0.0, 0.0, 0.4]),  # zero gradient
        channel(0.3, 0.7, 1.0),  # one orbital
        channel(0.3, 0.7, 0.9),  # below one orbital
        channel(0.3, 0.7, 1.0 + 1e-9),
        channel(2.0, 1.0, 4.0),
        channel(1e4, 0.2, 30.0),
        noise,
    ]
    if nspin == 1:
        return np.stack(channels, axis=-1)
    pairs = [(one, other) for one in channels for other in channels]
    # An empty channel whose density is below the other's noise, beside a full one.
    pairs += [(channel(0.3, 0.7, 1.0), channel(0.3 * x, 0.7, 1.0)) for x in (1e-16, 1e-9, 1e-8)]
    return np.stack([np.stack(pair) for pair in pairs], axis=-1).transpose(0, 1, 2)


def invariants_of(rho: np.ndarray, family: int) -> list[Tensor]:
    """rho, sigma, tau of a program, as far as a family has them, from n, gradient, tau."""
    channels = rho[None] if rho.ndim == 2 else rho
    pairs = [(0, 0)] if len(channels) == 1 else [(0, 0), (0, 1), (1, 1)]
    sigma = [(channels[i, 1:4] * channels[j, 1:4]).sum(0) for i, j in pairs]
    found = channels[:, 0], np.stack(sigma), channels[:, 4]
    return [torch.tensor(x) for x in found[: {1: 1, 2: 2, 4: 3}[family]]]
