"""Predictors of densities in files: one safetensors file each.

The tensors are the network's, named as in its state_dict. The metadata hold one JSON text under the
key "deepchem_xc": format, package, units, kind and hyperparameters of the network, functional,
pseudopotentials as they were given, hashes of potentials and atoms, training cutoff, the other code
where there is one, and a checksum of all these and the tensors.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deepchem_xc import __version__
from deepchem_xc._atomic import replacing
from deepchem_xc.densities.atom_network import AtomDensityNetwork
from deepchem_xc.densities.network import DensityNetwork
from deepchem_xc.densities.other_code import predictor_for
from deepchem_xc.densities.predictor import DensityPredictor
from deepchem_xc.densities.probe_network import ProbeDensityNetwork
from deepchem_xc.numerics.errors import DamagedFileError
from deepchem_xc.planewave.pseudo import load_pseudopotentials
from deepchem_xc.planewave.record.model_files import model_file, valid_models
from deepchem_xc.xc.file_format import KEY, digest

#: Networks by the name that models and files have for them.
NETWORKS: Mapping[str, type[DensityNetwork]] = {
    "atoms": AtomDensityNetwork,
    "points": ProbeDensityNetwork,
}
_FORMAT = "deepchem_xc density model 1"
_UNITS = {"density": "1/bohr^3", "length": "bohr", "cutoff": "Angstrom", "ecut": "eV"}


def save_predictor(
    predictor: DensityPredictor,
    path: str | os.PathLike[str],
    pseudopotentials: Any,
    ecut: float | None,
) -> None:
    """Write a network and what it was made for; the file is replaced when it is complete.

    Parameters
    ----------
    predictor : DensityPredictor
        With a network of this package.
    path : path
        Should end in .safetensors.
    pseudopotentials : object
        As they were given; written if they are names or paths, otherwise `load_predictor` has to
        be given them.
    ecut : float or None
        Cutoff of the training, eV.

    Raises
    ------
    ValueError
        For a network of another class, and NaN in its parameters.
    """
    from safetensors.torch import save

    network = predictor.network
    kinds = [name for name, kind in NETWORKS.items() if type(network) is kind]
    if not kinds:
        raise ValueError(
            f"files hold networks of this package ({', '.join(NETWORKS)}), not a "
            f"{type(network).__name__}: keep its state_dict yourself (torch.save)."
        )
    tensors = {n: t.detach().cpu().contiguous() for n, t in network.state_dict().items()}
    _check_finite(tensors)
    header: dict[str, Any] = {
        "format": _FORMAT,
        "package": __version__,
        "units": _UNITS,
        "network": kinds[0],
        "hyperparameters": dict(network.hyperparameters),
        "functional": predictor.functional,
        "pseudopotentials": None if predictor.other_code else _named(pseudopotentials),
        "potentials": predictor.potentials,
        "atoms": predictor.atoms,
        "ecut": ecut,
    }
    if predictor.other_code is not None:
        header["other_code"] = predictor.other_code
    header = json.loads(json.dumps(header, allow_nan=False))
    header["sha256"] = digest(header, tensors)
    content = save(tensors, metadata={KEY: json.dumps(header, allow_nan=False)})
    with replacing(path, "wb") as file:
        file.write(content)


def load_predictor(
    path: str | os.PathLike[str], pseudopotentials: Any = None
) -> tuple[DensityPredictor, dict[str, Any]]:
    """Predictor from a file, and the file's header.

    Parameters
    ----------
    path : path or str
        A file, or the name of one that is shipped in ``data/`` (`shipped_models`).
    pseudopotentials : optional
        Potentials of the elements; those that the file names by default.

    Raises
    ------
    FileNotFoundError
        If there is no such file; the message lists the names.
    DamagedFileError
        If it is not a complete file of a density model.
    ValueError
        If the potentials are not those that the model was made with, or if potentials are given
        for a model of another code's densities.
    """
    where = _found(path)
    header, tensors = _read(where)
    given = header["pseudopotentials"] if pseudopotentials is None else pseudopotentials
    other_code = header.get("other_code")
    if other_code is not None and given is not None:
        raise ValueError(
            f"{where} is for densities of another code ({other_code}), which have no potentials of "
            "this package: leave pseudopotentials out."
        )
    if given is None and other_code is None:
        raise ValueError(
            f"{where} was made with pseudopotentials that have no name: give pseudopotentials= "
            f"for {', '.join(header['potentials'])}."
        )
    try:
        network = NETWORKS[header["network"]](**header["hyperparameters"], seed=0)
        network.load_state_dict(tensors)
    except (KeyError, TypeError, RuntimeError, ValueError) as error:
        raise DamagedFileError(f"{where} does not fit any network here: {error}") from error
    predictor = predictor_for(network, given, header["functional"], other_code)
    for what, now in (("potentials", predictor.potentials), ("atoms", predictor.atoms)):
        other = [s for s in now if header[what].get(s) != now[s]]
        if other:
            raise ValueError(
                f"the {what} of {', '.join(other)} are not those that {where} was made with: give "
                "pseudopotentials= with the same content."
            )
    return predictor, header


def _found(path: str | os.PathLike[str]) -> Path:
    """The path itself, or that of a shipped file of this name."""
    found = model_file(path)
    if found is None and Path(path).is_file():
        return Path(path)
    if found is None:
        raise FileNotFoundError(
            f"there is no file {os.fspath(path)!r} to load a density model from, and "
            f"{valid_models()}."
        )
    return found


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(KEY)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if text is None:
            raise ValueError(f"its metadata have no entry {KEY!r}")
        header = json.loads(text)
        if header.get("format") != _FORMAT:
            raise ValueError(f"its format is {header.get('format')!r}, not {_FORMAT!r}")
        if header["sha256"] != digest(header, tensors):
            raise ValueError("its checksum does not match its content")
        if header["units"] != _UNITS:
            raise ValueError(f"its units are {header['units']}, not {_UNITS}")
        _check_finite(tensors)
    except (SafetensorError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise DamagedFileError(f"{path} is not a complete density model ({error}).") from error
    return header, tensors


def _check_finite(tensors: Mapping[str, Tensor]) -> None:
    bad = [n for n, t in tensors.items() if t.is_floating_point() and not torch.isfinite(t).all()]
    if bad:
        raise ValueError(
            f"the network's {', '.join(bad[:3])} contain NaN or infinite numbers: the training "
            "diverged; restore an earlier checkpoint and lower learning_rate"
        )


def _named(given: Any) -> Any:
    """Names and paths as JSON holds them; None if there are other objects among them."""
    if isinstance(given, str | os.PathLike):
        return os.fspath(given)
    if isinstance(given, Mapping):
        named = {str(key): _named(value) for key, value in given.items()}
        return None if None in named.values() else named
    return None


def valences_of(pseudopotentials: Any, elements: Sequence[str]) -> dict[str, float]:
    """Valence electrons of elements, by their potentials.

    Examples
    --------
    >>> valences_of("gth-pbe", ["Si"])
    {'Si': 4.0}
    """
    loaded = load_pseudopotentials(pseudopotentials, elements)
    return {symbol: float(pseudo.valence) for symbol, pseudo in loaded.items()}
