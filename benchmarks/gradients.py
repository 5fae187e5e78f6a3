"""Time derivatives through the self-consistent field, relative to the field itself.

For silicon, aluminium and nickel, with the settings of ``scf.py``::

    python benchmarks/gradients.py                            # minutes; nickel takes most of them
    python benchmarks/gradients.py --systems si,al --no-check

Printed, and written as JSON: processor seconds of a calculation without gradients and of one
converged for them; of the energy's gradient; of the gradient of a loss on the density (preparing
the states, and the adjoint equation) at several tolerances, each with its error. The error is
that of the gradient with respect to PBE's three constants, relative to a reference: a calculation
converged much more tightly, which is itself compared with central differences (``--no-check``
omits these). Ratios are of processor time, measured one after the other in one process.
"""

from __future__ import annotations

import argparse
import resource
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from scf_systems import ABINIT_SYSTEMS, chosen, mesh

from deepchem_xc._files import write_json
from deepchem_xc.planewave import Crystal, PlaneWaveBasis, SCFResult, scf
from deepchem_xc.planewave.result import GRADIENT_TOLERANCE
from deepchem_xc.tables import as_table
from deepchem_xc.xc import PBE

TOLERANCES = (1e-4, 1e-5, 1e-6, GRADIENT_TOLERANCE)
TIGHT = {"energy": 1e-12, "density": 1e-9}
STEP = 0.004


def peak() -> float:
    """Largest memory of this process so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


def settings(system: dict[str, Any], device: str = "cpu") -> tuple[PlaneWaveBasis, dict[str, Any]]:
    """Basis and keywords of `scf` for a system of `scf_systems`."""
    symbols = tuple(symbol for symbol, _ in system["atoms"])
    crystal = Crystal(
        torch.tensor(system["lattice"], dtype=torch.float64),
        symbols,
        torch.tensor([position for _, position in system["atoms"]], dtype=torch.float64),
        magnetic_moments=tuple(system["moments"]) if "moments" in system else None,
    )
    kpoints = {"size": system["kmesh"], "gamma": True}
    basis = PlaneWaveBasis(
        crystal, system["ecut"], kpoints, fft_size=system["fft_size"], device=device
    )
    name, width = system.get("occupations", ("fixed", None))
    occupations = {"name": name} if width is None else {"name": name, "width": width}
    potential = system["pseudos"].split(".", 1)[1]
    return basis, {
        "occupations": occupations,
        "pseudopotentials": dict.fromkeys(symbols, potential),
    }


def loss_of(result: SCFResult) -> torch.Tensor:
    """Squared difference to superposed atoms, integrated."""
    basis = result.basis
    target = basis.to_grid(result.problem.atomic_density())
    return (result.density - target).square().sum() * float(basis.volume) / basis.ngrid


def timed(action: Any) -> tuple[Any, float]:
    """Result of a call and its processor seconds."""
    start = time.process_time()
    value = action()
    return value, time.process_time() - start


def gradient(
    result: SCFResult, functional: PBE, tolerance: float
) -> tuple[torch.Tensor, float, float]:
    """Gradient of the density loss, (3,), with the seconds of its two parts."""
    fresh = replace(result, gradient_tolerance=tolerance, _cache={})
    _, attaching = timed(lambda: fresh.ground_state)
    parameters = tuple(functional.parameters())
    found, solving = timed(lambda: torch.autograd.grad(loss_of(fresh), parameters))
    return torch.stack(found), attaching, solving


def differences(basis: PlaneWaveBasis, keywords: dict[str, Any], start: SCFResult) -> float:
    """Derivative of the density loss with respect to mu, of fourth order in the step."""

    def value(step: float) -> float:
        functional = PBE()
        functional.terms[0].mu += step
        return float(loss_of(scf(basis, functional, start=start, convergence=TIGHT, **keywords)))

    near, far = value(STEP) - value(-STEP), value(2 * STEP) - value(-2 * STEP)
    return (8.0 * near - far) / (12.0 * STEP)


def measure(system: dict[str, Any], check: bool, repeat: int) -> dict[str, Any]:
    """All measurements of one system."""
    basis, keywords = settings(system)
    functional = PBE(trainable=True)
    scf(basis, "PBE", convergence={"density": 1e-1, "energy": 1.0}, **keywords)  # warms up
    entry: dict[str, Any] = {"kpoints": basis.nk, "plane_waves": basis.npw}

    def best(action: Any) -> tuple[Any, float]:
        runs = [timed(action) for _ in range(repeat)]
        return min(runs, key=lambda run: run[1])

    _, entry["scf"] = best(lambda: scf(basis, "PBE", **keywords))
    result, entry["scf_for_gradients"] = best(lambda: scf(basis, functional, **keywords))
    entry["peak_scf_MiB"] = peak()
    _, entry["energy_gradient"] = timed(lambda: result.free_energy.backward())
    tight = scf(basis, functional, start=result.detach(), convergence=TIGHT, **keywords)
    reference, _, _ = gradient(tight, functional, 1e-10)
    scale = float(reference.abs().max())
    entry["gradients"] = {}
    for tolerance in TOLERANCES:
        runs = [gradient(result, functional, tolerance) for _ in range(repeat)]
        found, attaching, solving = min(runs, key=lambda run: run[1] + run[2])
        # The same equation at the tight ground state shows the error of the tolerance itself.
        alone, _, _ = gradient(tight, functional, tolerance)
        entry["gradients"][f"{tolerance:.0e}"] = {
            "states": attaching,
            "adjoint": solving,
            "error": float((found - reference).abs().max()) / scale,
            "error_of_the_equation": float((alone - reference).abs().max()) / scale,
        }
    entry["peak_MiB"] = peak()
    if check:
        expected = differences(basis, keywords, tight.detach())
        entry["reference_against_differences"] = abs(float(reference[1]) / expected - 1.0)
    return entry


def show(title: str, entry: dict[str, Any]) -> None:
    """Print one system."""
    base, tight = entry["scf"], entry["scf_for_gradients"]
    print(title)
    print(f"  SCF {base:.2f} s; converged for gradients {tight:.2f} s ({tight / base:.2f})")
    energy = entry["energy_gradient"]
    print(f"  gradient of the energy {energy:.3f} s ({energy / base:.3f})")
    print("  gradient of a density loss")
    rows = []
    for tolerance, run in entry["gradients"].items():
        both = run["states"] + run["adjoint"]
        row = [tolerance, f"{run['states']:.2f}", f"{run['adjoint']:.2f}", f"{both / base:.2f}"]
        rows.append([*row, f"{run['error']:.1e}", f"{run['error_of_the_equation']:.1e}"])
    header = ["tolerance", "states s", "adjoint s", "both / SCF", "error", "of the equation alone"]
    print(as_table(rows, header, indent="    "))
    print(
        f"  memory: SCF {entry['peak_scf_MiB']:.0f} MiB, with gradients {entry['peak_MiB']:.0f} MiB"
    )
    if "reference_against_differences" in entry:
        print(f"  reference against differences: {entry['reference_against_differences']:.1e}")
    print(flush=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--systems", default="", help="comma-separated, for example si,al")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=2, help="best of so many")
    parser.add_argument("--no-check", dest="check", action="store_false", help="no differences")
    parser.add_argument("--output", type=Path, default=Path("benchmark-results/gradients.json"))
    options = parser.parse_args()
    wanted = [name.strip().lower() for name in options.systems.split(",") if name.strip()]
    torch.set_num_threads(options.threads)
    report: dict[str, Any] = {}
    for name in chosen(ABINIT_SYSTEMS, wanted):
        system = ABINIT_SYSTEMS[name]
        report[name] = measure(system, options.check, options.repeat)
        show(f"{name}, {system['ecut']:g} Ha, {mesh(system['kmesh'])}", report[name])
        write_json(options.output, report)
    print(f"written: {options.output}")


if __name__ == "__main__":
    main()
