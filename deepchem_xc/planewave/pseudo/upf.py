"""Reader of norm-conserving UPF version 2 files, the format of Quantum ESPRESSO.

Reference: the description of the Unified Pseudopotential Format by P. Giannozzi and others at
pseudopotentials.quantum-espresso.org. The files hold Rydberg units; Hartree come out.
"""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .functionals import functional_label
from .numeric import NumericPseudopotential, RadialProjectors

__all__ = ["read_upf"]


def read_upf(path: str | os.PathLike, symbol: str) -> NumericPseudopotential:
    """Read a norm-conserving UPF version 2 pseudopotential.

    Parameters
    ----------
    path : str or path
        The file.
    symbol : str
        Chemical symbol that it must be of.

    Returns
    -------
    NumericPseudopotential
        With core correction and atomic density, if the file has them.

    Raises
    ------
    ValueError
        If the file is not UPF version 2, is damaged or cut short, is ultrasoft, PAW, a bare
        Coulomb potential or has spin-orbit coupling, or is for another element.
    FileNotFoundError
        If there is no such file.

    Examples
    --------
    >>> read_upf("Si_ONCV_PBE_sr.upf", "Si").valence  # doctest: +SKIP
    4.0
    """
    try:
        root = _parse(path)
        header = root.find("PP_HEADER")
        if header is None:
            raise ValueError("there is no PP_HEADER")
        _check_kind(header, symbol)
        r = _values(root, "PP_MESH/PP_R")
        rab = _values(root, "PP_MESH/PP_RAB", len(r))
        core = density = None
        if _flag(header, "core_correction"):
            core = _values(root, "PP_NLCC", len(r))
        if root.find("PP_RHOATOM") is not None:
            shell = _values(root, "PP_RHOATOM", len(r))  # 4 pi r^2 n(r)
            # the value at r = 0 carries no weight
            density = shell / (4.0 * np.pi * np.where(r > 0.0, r, np.inf) ** 2)
        functional = header.get("functional", "")
        return NumericPseudopotential(
            symbol,
            Path(path).name,
            float(header.get("z_valence", "nan")),
            functional_label(functional) or functional.strip() or None,
            r,
            0.5 * _values(root, "PP_LOCAL", len(r)),
            _projectors(root, int(header.get("number_of_proj", "0")), len(r)),
            core,
            density,
            rab,
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _parse(path: str | os.PathLike) -> ElementTree.Element:
    text = Path(path).read_text(errors="replace")
    version = re.search(r"<UPF\s+version\s*=\s*[\"']\s*(\d+)", text)
    if version is None:
        old = "<PP_HEADER" in text
        raise ValueError(
            "UPF version 1 is not supported; convert the file (upfconv of Quantum ESPRESSO)"
            if old
            else "not a UPF file: there is no <UPF version=...>"
        )
    if version.group(1) != "2":
        raise ValueError(f"UPF version {version.group(1)} is not supported, only version 2")
    # free text for people, often not valid XML
    text = re.sub(r"<PP_INFO.*?</PP_INFO>", "", text[version.start() :], flags=re.DOTALL)
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ValueError(f"the file is damaged or cut short ({error})") from error


def _check_kind(header: ElementTree.Element, symbol: str) -> None:
    element = header.get("element", "").strip()
    if element.lower() != symbol.lower():
        raise ValueError(f"a pseudopotential of {element or 'no element'} was given for {symbol}")
    kind = header.get("pseudo_type", "").strip().upper()
    if kind not in ("NC", "SL") or _flag(header, "is_ultrasoft") or _flag(header, "is_paw"):
        raise ValueError(
            f"pseudo_type {kind!r}: ultrasoft and PAW potentials are not supported, use a "
            "norm-conserving one (for example ONCV files of PseudoDojo or SG15)"
        )
    if _flag(header, "is_coulomb"):
        raise ValueError("a bare Coulomb potential (is_coulomb) is not supported")
    if _flag(header, "has_so"):
        raise ValueError(
            "spin-orbit coupling (has_so) is not supported, use the scalar-relativistic file"
        )


def _projectors(root: ElementTree.Element, count: int, size: int) -> list[RadialProjectors]:
    if count == 0:
        return []
    momenta, functions = [], []
    extent = 0
    for i in range(1, count + 1):
        tag = f"PP_NONLOCAL/PP_BETA.{i}"
        values = _values(root, tag)
        if len(values) > size:
            raise ValueError(f"{tag} holds {len(values)} numbers for {size} mesh points")
        attributes = root.find(tag)
        assert attributes is not None  # _values has found it
        momenta.append(int(attributes.get("angular_momentum", "-1")))
        extent = max(extent, int(attributes.get("cutoff_radius_index", "0")))
        functions.append(np.pad(values, (0, size - len(values))))
    if min(momenta) < 0:
        raise ValueError("a projector (PP_BETA) has no angular_momentum")
    # what stands beyond the largest cut-off radius is noise
    betas = np.array(functions)
    if extent > 0:
        betas[:, extent:] = 0.0
    coupling = 0.5 * _values(root, "PP_NONLOCAL/PP_DIJ", count * count).reshape(count, count)
    l_of = np.array(momenta)
    scale = np.abs(coupling).max(initial=1e-300)
    if np.abs(coupling[l_of[:, None] != l_of]).max(initial=0.0) > 1e-8 * scale:
        raise ValueError("PP_DIJ couples projectors of different angular momentum")
    if np.abs(coupling - coupling.T).max() > 1e-6 * scale:
        raise ValueError("PP_DIJ is not symmetric")
    channels = []
    for l in sorted(set(momenta)):
        own = np.nonzero(l_of == l)[0]
        block = coupling[np.ix_(own, own)]
        channels.append(RadialProjectors(l, betas[own], 0.5 * (block + block.T)))
    return channels


def _values(root: ElementTree.Element, tag: str, size: int | None = None) -> NDArray:
    node = root.find(tag)
    if node is None:
        raise ValueError(f"there is no {tag}")
    values = np.array((node.text or "").replace("D", "E").split(), dtype=np.float64)
    wanted = size if size is not None else int(node.get("size", len(values)))
    if len(values) != wanted or len(values) == 0:
        raise ValueError(f"{tag} holds {len(values)} numbers instead of {wanted}")
    return values


def _flag(node: ElementTree.Element, name: str) -> bool:
    return node.get(name, "F").strip().strip(".").upper() in ("T", "TRUE")
