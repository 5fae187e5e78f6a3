"""Write the entries of `load_gpaw_benchmark` from gpaw_eos.json.

gpaw_benchmark.yaml has PAW, gpaw_benchmark_gth.yaml GTH potentials.

The settings are those of ``deepchem-xc benchmark``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from deepchem_xc._atomic import replacing
from deepchem_xc.against_gpaw import CASES, Case
from deepchem_xc.against_gpaw.gpaw_reference import GPAW_SETTINGS, load_gpaw_eos
from deepchem_xc.losses import UNIT_DEVIATIONS

HERE = Path(__file__).parent
# Wide enough for the LDA, whose calcium has 10 % less volume than PBE's.
SCALES = (0.88, 0.92, 0.96, 1.0, 1.04, 1.08, 1.12)
# Relative errors that count as one in the loss.
UNITS = {"lattice_constant": 1e-3, "bulk_modulus": 0.02}


def entries_of(case: Case) -> list[dict[str, Any]]:
    """Entries of a crystal, one a property."""
    result = load_gpaw_eos()[case.system]
    fit = result["fit"]["energy"]
    layered = GPAW_SETTINGS[case.system].layered
    atoms = case.atoms()
    structure: dict[str, Any] = {
        "symbols": atoms.get_chemical_symbols(),
        "cell": atoms.cell.tolist(),
        "scaled_positions": atoms.get_scaled_positions().round(12).tolist(),
    }
    if case.magmom:
        structure["magmoms"] = [case.magmom] * len(atoms)
    keywords = case.keywords()
    kpts = {"size": list(case.kpts), "gamma": True}
    system = {"structure": structure, **keywords, "kpts": kpts}
    values = {
        "lattice_constant": fit["a"],
        "bulk_modulus": fit["layer_modulus" if layered else "bulk_modulus"],
    }
    entries = [
        {
            "name": f"{case.system}:{name}",
            "e_type": name,
            "true_val": round(value, 6),
            **({"dimension": 2} if layered else {}),
            "scales": list(SCALES),
            "weight": round((UNIT_DEVIATIONS[name] / (UNITS[name] * value)) ** 2, 4),
            "systems": [system],
        }
        for name, value in values.items()
    ]
    if case.magmom:
        (moment,) = [point["magmom"] for point in result["points"] if point["scale"] == 1.0]
        name = "magnetic_moment"
        label = {"e_type": name, "true_val": round(moment, 4), "systems": [system]}
        entries.append({"name": f"{case.system}:{name}", **label})
    return entries


class _WithoutAliases(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def main() -> None:
    """Write the files."""
    for potentials, name in (("paw", "gpaw_benchmark.yaml"), ("gth", "gpaw_benchmark_gth.yaml")):
        entries = [entry for case in CASES[potentials].values() for entry in entries_of(case)]
        with replacing(HERE / name) as file:
            file.write(
                "# Made by gpaw_benchmark.py from gpaw_eos.json. eV, Angstrom, GPa, N/m, mu_B.\n"
            )
            yaml.dump(
                entries, file, _WithoutAliases, sort_keys=False, default_flow_style=None, width=100
            )


if __name__ == "__main__":
    main()
