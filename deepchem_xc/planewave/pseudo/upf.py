"""Reader of norm-conserving UPF version 2 files, the format of Quantum ESPRESSO.

Reference: the description of the Unified Pseudopotential Format by P. Giannozzi and others at
pseudopotentials.quantum-espresso.org. The files use Rydberg units; they are converted to Hartree.
"""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .files import read_count, read_number, read_numbers, read_text
from .functionals import functional_label
from .numeric import NumericPseudopotential, RadialProjectors

__all__ = ["read_upf"]

_ATTRIBUTE = re.compile(r"\s*[\w.:-]+\s*=\s*(?:\"[^\"]*\"|'[^']*')")
_PROJECTOR = re.compile(r"PP_BETA\.")
# Largest fraction of a projector's square beyond its cut-off radius.
_NOISE = 1e-4


def read_upf(path: str | os.PathLike, symbol: str) -> NumericPseudopotential:
    """Read a norm-conserving UPF version 2 pseudopotential.

    Parameters
    ----------
    path : str or path
        The file.
    symbol : str
        Chemical symbol that it must have.

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
    A soft proton without projectors, written to such a file (energies in Rydberg):

    >>> from deepchem_xc.planewave.pseudo import read_upf
    >>> import tempfile
    >>> from scipy.special import erf
    >>> r = np.maximum(0.01 * np.arange(601), 1e-9)
    >>> local = -2.0 * erf(2.0 * r) / r
    >>> nodes = {"R": r, "RAB": np.full(601, 0.01), "LOCAL": local}
    >>> tags = {k: f"<PP_{k}>{' '.join(map(str, v))}</PP_{k}>" for k, v in nodes.items()}
    >>> header = '<PP_HEADER element="H" pseudo_type="NC" z_valence="1.0" number_of_proj="0"/>'
    >>> text = f"{header}<PP_MESH>{tags['R']}{tags['RAB']}</PP_MESH>{tags['LOCAL']}"
    >>> path = Path(tempfile.mkdtemp()) / "H.upf"
    >>> _ = path.write_text(f'<UPF version="2.0.1">{text}</UPF>')
    >>> read_upf(path, "H").valence
    1.0
    """
    try:
        root = _parse(read_text(path))
        header = root.find("PP_HEADER")
        if header is None:
            raise ValueError("there is no PP_HEADER")
        _check_kind(root, header, symbol)
        r = _values(root, "PP_MESH/PP_R")
        rab = _values(root, "PP_MESH/PP_RAB", len(r))
        for node, name in ((header, "mesh_size"), (root.find("PP_MESH"), "mesh")):
            if node is not None and node.get(name) and _count(node, name) != len(r):
                raise ValueError(
                    f"{node.tag}: {name} is {node.get(name)}, but PP_R holds {len(r)} numbers"
                )
        density = None
        if root.find("PP_RHOATOM") is not None:
            shell = _values(root, "PP_RHOATOM", len(r))  # 4 pi r^2 n(r)
            # The value at r = 0 has no weight.
            density = shell / (4.0 * np.pi * np.where(r > 0.0, r, np.inf) ** 2)
        functional = header.get("functional", "")
        return NumericPseudopotential(
            symbol,
            Path(path).name,
            read_number(header.get("z_valence", "missing"), "PP_HEADER: z_valence"),
            functional_label(functional) or functional.strip() or None,
            r,
            0.5 * _values(root, "PP_LOCAL", len(r)),
            _projectors(root, header, r),
            _core_density(root, header, len(r)),
            density,
            rab,
        )
    except ValueError as error:
        text = str(error)
        raise ValueError(text if text.startswith(str(path)) else f"{path}: {text}") from error


def _parse(text: str) -> ElementTree.Element:
    version = re.search(r"<UPF\s+version\s*=\s*[\"']\s*(\d+)", text)
    if version is None:
        if "<PP_HEADER" in text:
            raise ValueError(
                "UPF version 1 is not supported; convert the file to version 2 (upfconv.x -u of "
                "Quantum ESPRESSO), or choose a psp8 or UPF 2 file (PseudoDojo, SG15)"
            )
        raise ValueError("not a UPF file: there is no <UPF version=...>")
    if version.group(1) != "2":
        raise ValueError(f"UPF version {version.group(1)} is not supported, only version 2")
    # These hold free text for people, which is often not valid XML.
    text = re.sub(
        r"<(PP_INFO|PP_INPUTFILE)\b.*?</\1>", "", text[version.start() :], flags=re.DOTALL
    )
    try:
        return ElementTree.fromstring(_with_valid_attributes(text))
    except ElementTree.ParseError as error:
        raise ValueError(f"the file is damaged or cut short ({error})") from error


def _with_valid_attributes(text: str) -> str:
    """Text in which & and < in the attributes of PP_HEADER (author, comment) are escaped."""
    start = text.find("<PP_HEADER")
    at = start + len("<PP_HEADER")
    if start < 0:
        return text
    parts = [text[:at]]
    while (attribute := _ATTRIBUTE.match(text, at)) is not None:
        value = re.sub(r"&(?!(?:amp|lt|gt|quot|apos|#\w+);)", "&amp;", attribute.group(0))
        parts.append(value.replace("<", "&lt;"))
        at = attribute.end()
    return "".join(parts) + text[at:]


def _check_kind(root: ElementTree.Element, header: ElementTree.Element, symbol: str) -> None:
    element = header.get("element", "").strip()
    if element.lower() != symbol.lower():
        raise ValueError(f"a pseudopotential of {element or 'no element'} was given for {symbol}")
    kind = header.get("pseudo_type", "").strip().upper()
    if kind not in ("NC", "SL") or _flag(header, "is_ultrasoft") or _flag(header, "is_paw"):
        raise ValueError(
            f"pseudo_type {kind!r}: ultrasoft and PAW potentials are not supported, use a "
            "norm-conserving one (for example ONCV files of PseudoDojo or SG15)"
        )
    for tag in ("PP_PAW", "PP_NONLOCAL/PP_AUGMENTATION"):
        if _holds_something(root, tag):
            raise ValueError(f"{tag}: ultrasoft and PAW potentials are not supported")
    if _flag(header, "is_coulomb"):
        raise ValueError("a bare Coulomb potential (is_coulomb) is not supported")
    if (
        _flag(header, "has_so")
        or _holds_something(root, "PP_SPIN_ORB")
        or header.get("relativistic", "").strip().lower() == "full"
    ):
        raise ValueError(
            "spin-orbit coupling (has_so) is not supported, use the scalar-relativistic file"
        )


def _core_density(
    root: ElementTree.Element, header: ElementTree.Element, size: int
) -> NDArray | None:
    """Partial core density in bohr^-3, shape (size,); None if the file has none."""
    if _flag(header, "core_correction"):
        return _values(root, "PP_NLCC", size)
    if root.find("PP_NLCC") is not None and _values(root, "PP_NLCC", size).any():
        raise ValueError(
            "there is a core density (PP_NLCC), but core_correction is "
            f"{header.get('core_correction', 'missing')}: one of the two is wrong"
        )
    return None


def _projectors(
    root: ElementTree.Element, header: ElementTree.Element, r: NDArray
) -> list[RadialProjectors]:
    size = len(r)
    tags = [node.tag for node in root.iter() if _PROJECTOR.match(node.tag)]
    count = _count(header, "number_of_proj") if "number_of_proj" in header.attrib else len(tags)
    expected = [f"PP_BETA.{i + 1}" for i in range(count)]
    if sorted(tags) != sorted(expected):
        raise ValueError(
            f"number_of_proj is {count}, but the projectors in the file are "
            f"{', '.join(tags) or 'none'}"
        )
    if count == 0:
        for tag in ("PP_NONLOCAL/PP_DIJ", "PP_SEMILOCAL"):
            if _holds_something(root, tag):
                raise ValueError(f"there is a {tag}, but there are no projectors (PP_BETA)")
        return []
    momenta, functions = [], []
    extent = 0
    for tag in (f"PP_NONLOCAL/{name}" for name in expected):
        values = _values(root, tag)
        if len(values) > size:
            raise ValueError(f"{tag} holds {len(values)} numbers for {size} mesh points")
        attributes = root.find(tag)
        assert attributes is not None  # _values found it
        if "angular_momentum" not in attributes.attrib:
            raise ValueError(f"{tag} has no angular_momentum")
        momenta.append(_count(attributes, "angular_momentum"))
        if "cutoff_radius_index" in attributes.attrib:
            extent = max(extent, _count(attributes, "cutoff_radius_index"))
        functions.append(np.pad(values, (0, size - len(values))))
    if "l_max" in header.attrib and max(momenta) > _count(header, "l_max"):
        raise ValueError(
            f"l_max is {header.get('l_max')}, but there are projectors of l={max(momenta)}"
        )
    # Beyond the largest cut-off radius there is only noise.
    betas = np.array(functions)
    if extent > 0:
        lost = np.square(betas[:, extent:]).sum(1) / np.square(betas).sum(1).clip(min=1e-300)
        if lost.max() > _NOISE:
            raise ValueError(
                f"cutoff_radius_index is at most {extent}, but PP_BETA.{int(lost.argmax()) + 1} "
                "is not zero beyond it: one of the two is wrong"
            )
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
    """Numbers of a node; their count must match its size attribute and `size`."""
    nodes = root.findall(tag)
    if len(nodes) != 1:
        raise ValueError(f"there is no {tag}" if not nodes else f"{tag} occurs twice")
    node = nodes[0]
    values = read_numbers((node.text or "").split(), tag)
    said = _count(node, "size") if "size" in node.attrib else len(values)
    wanted = said if size is None else size
    if len(values) != wanted or len(values) != said or len(values) == 0:
        raise ValueError(
            f"{tag} holds {len(values)} numbers instead of {wanted if said == wanted else said}"
            + ("" if said == wanted else f" (its size) or {wanted}")
        )
    return values


def _holds_something(root: ElementTree.Element, tag: str) -> bool:
    """Whether a node has children, or numbers other than zero."""
    node = root.find(tag)
    return node is not None and (len(node) > 0 or re.search("[1-9]", node.text or "") is not None)


def _count(node: ElementTree.Element, name: str) -> int:
    return read_count(node.get(name, "missing"), f"{node.tag}: {name}")


def _flag(node: ElementTree.Element, name: str) -> bool:
    """Whether an attribute is true; false if it is missing."""
    value = node.get(name, "F").strip().strip(".").upper()
    if value not in ("T", "TRUE", "F", "FALSE"):
        raise ValueError(f"{node.tag}: {name} is {node.get(name)!r}, expected T or F")
    return value in ("T", "TRUE")
