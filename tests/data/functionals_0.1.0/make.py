"""Written with release 0.1.0, whose files later versions read: ``python make.py``."""

import json
from pathlib import Path

import torch

from deepchem_xc.xc import ConstrainedMetaGGA, HybridXC, SpinParam, ValGrad, get_xc

HERE = Path(__file__).parent


def main() -> None:
    torch.manual_seed(0)
    t = torch.nn.Parameter(torch.tensor(0.75, dtype=torch.float64))
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    functionals = {
        "sum": t * get_xc("gga_x_pbe_sol") + (1 - t) * get_xc("lda_x") + get_xc("gga_c_pbe"),
        "network": HybridXC("PBE", network, aweight0=0.1),
        "constrained": ConstrainedMetaGGA(width=4, depth=2, start="random", base="pbe", seed=3),
    }
    n = torch.tensor([1e-3, 0.05, 0.3], dtype=torch.float64)
    grad = torch.stack((0.02 * n, 0.5 * n, -1.5 * n))
    kin = 2.0 * n ** (5 / 3) + grad.square().sum(0) / (8.0 * n)
    up, down = ValGrad(n, grad, kin=kin), ValGrad(0.4 * n, 0.2 * grad.roll(1, 0), kin=0.3 * kin)
    energies = {}
    for name, functional in functionals.items():
        functional.save(HERE / f"{name}.xc.safetensors")
        energies[name] = functional.get_edensityxc(SpinParam(u=up, d=down)).tolist()
    density = [{"value": x.value, "grad": x.grad, "kin": x.kin} for x in (up, down)]
    density = [{key: value.tolist() for key, value in channel.items()} for channel in density]
    content = {"density": density, "energies": energies}
    (HERE / "energies.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
