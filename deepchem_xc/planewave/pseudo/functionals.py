"""The functional of a pseudopotential, and the check that it is the one in use."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from functools import lru_cache

from deepchem_xc._caller import users_stacklevel

from .base import AtomicPotential, Pseudopotential

__all__ = ["FunctionalMismatchWarning", "check_functional", "functional_label"]


class FunctionalMismatchWarning(UserWarning):
    """A pseudopotential was made with another functional than the calculation uses."""


# Spellings in other programs' files, in lower case without separators, by the name used here; they
# add to the names of whole functionals and their parts in xc/registry.py. Parametrisations of the
# LDA differ by less than pseudopotentials do and count as one.
_SPELLINGS = {
    "PBE": ("slapwpbxpbc", "slapwpbepbe", "gga"),
    "PBEsol": ("slapwpsxpsc",),
    "revPBE": ("slapwrevxpbc", "slapwrevxrevpbc"),
    "BLYP": ("slalypb88blyp", "slalypb88lyp"),
    "BP86": ("bp86", "bp", "slapwb88p86", "ggaxb88+ggacp86"),
    "PW91": ("pw91", "slapwggxggc", "ggaxpw91+ggacpw91"),
    "HCTH120": ("hcth120", "ggaxchcth120"),
    "HCTH407": ("hcth407", "ggaxchcth407"),
    "OLYP": ("olyp", "ggaxoptx+ggaclyp"),
    "HF": ("hf", "hfxxx"),
    "PBE0": ("pbe0", "pbeh", "hybggaxcpbeh"),
    "LDA": ("pz", "pw92", "pw", "vwn", "svwn", "spw92", "teter", "teter93", "ldaxcteter93"),
}


@lru_cache(maxsize=1)
def _labels() -> dict[str, str]:
    """Names of functionals used here, by spelling."""
    # Imported late, because DeepChem imports slowly.
    from deepchem_xc.xc.registry import whole_functionals

    found: dict[str, str] = {}
    for name, parts in whole_functionals().items():
        found |= {name.lower(): name, "+".join(part.replace("_", "") for part in parts): name}
    return found | {spelling: label for label, row in _SPELLINGS.items() for spelling in row}


def functional_label(name: str) -> str | None:
    """Common name of a functional, from any of its spellings.

    Parameters
    ----------
    name : str
        A name ("PBE"), a libxc string ("gga_x_pbe+gga_c_pbe") or Quantum ESPRESSO's notation
        ("SLA PW PBX PBC").

    Returns
    -------
    str or None
        "PBE", "LDA", ...; an unknown libxc string is returned in lower case; None for any other
        unknown name (such as a trained functional).

    Examples
    --------
    >>> from deepchem_xc.planewave.pseudo import functional_label
    >>> functional_label("SLA PW PBX PBC"), functional_label("gga_c_pbe + gga_x_pbe")
    ('PBE', 'PBE')
    >>> functional_label("lda_x+lda_c_pw"), functional_label("my network")
    ('LDA', None)
    """
    terms = sorted((re.sub(r"[\s_\-]", "", t.lower()) for t in name.split("+")), reverse=True)
    # The table lists exchange before correlation.
    terms.sort(key=lambda t: "ggac" in t or "ldac" in t)
    label = _labels().get("+".join(terms))
    if label is not None:
        return label
    if all(re.match(r"lda(x|c|xc|k)", t) for t in terms) or re.match(r"sla(pz|pw|vwn)", terms[0]):
        # Quantum ESPRESSO appends "NOGX NOGC" if there is no gradient correction.
        gradient = terms[0].startswith("sla") and not re.fullmatch(
            r"sla(pz|pw|vwn)(nogx)?(nogc)?", terms[0]
        )
        return None if gradient else "LDA"
    if all(re.match(r"(hyb)?(lda|m?gga)(x|c|xc)", t) for t in terms):
        return name.strip().lower()
    return None


def check_functional(
    pseudopotentials: Mapping[str, AtomicPotential], functional: str | None
) -> None:
    """Warn if a pseudopotential was made with another functional than the one in use.

    Trained functionals have no potentials of their own: with these, and others that are unknown,
    potentials are compared with each other alone.

    Parameters
    ----------
    pseudopotentials : mapping
        {symbol: potential}, norm-conserving or PAW.
    functional : str or None
        Name of the functional of the calculation, see `functional_label`.

    Warns
    -----
    FunctionalMismatchWarning
        Once, naming all potentials that do not match.

    Examples
    --------
    >>> import warnings
    >>> from deepchem_xc.planewave.pseudo import check_functional, load_pseudopotentials
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     check_functional(load_pseudopotentials("gth-pbe", ["Al", "Ni"]), "lda_x+lda_c_pw")
    >>> len(caught), "Al (GTH-PBE-q3: PBE)" in str(caught[0].message)
    (1, True)
    """
    label = functional_label(functional) if functional is not None else None
    known = {symbol: p for symbol, p in pseudopotentials.items() if p.functional is not None}
    if label is None:
        if len({p.functional for p in known.values()}) > 1:
            warnings.warn(
                f"these potentials were made with different functionals: {_listed(known)}. Take "
                "one functional for all elements, as families do (gth-pbe, paw-pbe, ...)",
                FunctionalMismatchWarning,
                stacklevel=users_stacklevel(),
            )
        return
    wrong = {symbol: p for symbol, p in known.items() if p.functional != label}
    if not wrong:
        return
    if any(isinstance(p, Pseudopotential) for p in pseudopotentials.values()):
        effect = (
            "This adds an error to energies and structures; choose potentials made with the same "
            "functional (families: gth-pbe, gth-pade for LDA, gth-pbesol, gth-blyp, gth-uzh-scan, "
            "..., paw-pbe, paw-lda)"
        )
    else:
        effect = (
            "The orbitals of their frozen cores are the other functional's, which changes "
            "structures little; but energies have another zero for each functional, so compare "
            "differences between structures alone (docs/paw.md)"
        )
    warnings.warn(
        f"the functional is {functional}, but these potentials were made with another: "
        f"{_listed(wrong)}. {effect}",
        FunctionalMismatchWarning,
        stacklevel=users_stacklevel(),
    )


def _listed(potentials: Mapping[str, AtomicPotential]) -> str:
    return ", ".join(f"{symbol} ({p.name}: {p.functional})" for symbol, p in potentials.items())
