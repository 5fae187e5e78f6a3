"""Whether electrons can be placed at all: checks that need their number and no energies."""

from __future__ import annotations

import math

from deepchem_xc.occupations.smearing import FixedOccupations, Smearing

_USE_SMEARING = " Use a smearing, for example occupations={'name': 'fermi-dirac', 'width': ...}"


class TooFewBandsError(ValueError):
    """The bands cannot hold the electrons, or the highest one is not empty."""


def check_electrons(
    nelectrons: float, nspin: int, smearing: Smearing, moment: float | None = None
) -> None:
    """Raise ValueError unless some number of bands can hold the electrons.

    Parameters
    ----------
    nelectrons : float
        Electrons in the cell.
    nspin : int
        Spin channels, 1 or 2.
    smearing : Smearing
        Fixed occupations take whole states only.
    moment : float, optional
        Magnetic moment to hold fixed, mu_B.

    Raises
    ------
    ValueError
        For a number that is not positive, a moment without two channels or larger than the
        electrons can make, and electrons that leave a state partly filled without a smearing.

    Examples
    --------
    >>> from deepchem_xc.occupations.by_name import make_smearing
    >>> check_electrons(3.0, 1, make_smearing({"name": "fixed"}))
    Traceback (most recent call last):
    ValueError: 3 electrons cannot fill whole bands without spin. Use a smearing, ...
    >>> check_electrons(3.0, 2, make_smearing({"name": "fixed"}))
    """
    if not (math.isfinite(nelectrons) and nelectrons > 0):
        raise ValueError(f"the number of electrons must be positive, got {nelectrons}.")
    if moment is not None:
        if nspin != 2:
            raise ValueError(
                f"a fixed magnetic moment ({moment} mu_B) needs two spin channels; run the "
                "calculation spin-polarised."
            )
        if not abs(moment) <= nelectrons:
            raise ValueError(
                f"{nelectrons:g} electrons cannot make a magnetic moment of {moment} mu_B."
            )
    if isinstance(smearing, FixedOccupations):
        whole_states(nelectrons, nspin, moment)


def whole_states(nelectrons: float, nspin: int, moment: float | None = None) -> tuple[int, ...]:
    """Filled states at every k-point with integer occupations.

    Parameters
    ----------
    nelectrons, nspin, moment
        See `check_electrons`.

    Returns
    -------
    tuple of int
        Without spin the number of pairs; with spin the states of both channels together or, with
        a given moment, of each of the two.

    Raises
    ------
    ValueError
        If the electrons leave a state partly filled.

    Examples
    --------
    >>> whole_states(8.0, 1), whole_states(3.0, 2), whole_states(8.0, 2, moment=2.0)
    ((4,), (3,), (5, 3))
    """
    if nspin == 1:
        message = (
            f"{nelectrons:g} electrons cannot fill whole bands without spin.{_USE_SMEARING}, or "
            "two spin channels (spinpol=True)."
        )
        return (_integer(nelectrons / 2, message),)
    if moment is None:
        message = f"{nelectrons:g} electrons cannot fill whole states.{_USE_SMEARING}."
        return (_integer(nelectrons, message),)
    message = (
        f"{nelectrons:g} electrons with a moment of {moment:g} mu_B leave a fraction of an electron"
        f" in each channel.{_USE_SMEARING}, or another moment."
    )
    return tuple(_integer((nelectrons + sign * moment) / 2, message) for sign in (1, -1))


def check_bands(
    nbands: int, nelectrons: float, nspin: int, smearing: Smearing, moment: float | None = None
) -> None:
    """Raise `TooFewBandsError` unless this many bands hold the electrons.

    Parameters
    ----------
    nbands : int
        Bands per k-point and spin.
    nelectrons, nspin, smearing, moment
        See `check_electrons`, which they have to pass.

    Examples
    --------
    >>> from deepchem_xc.occupations.by_name import make_smearing
    >>> check_bands(4, 8.0, 1, make_smearing({"name": "fixed"}))
    >>> check_bands(4, 8.0, 1, make_smearing({"name": "fermi-dirac", "width": 0.01}))
    Traceback (most recent call last):
    deepchem_xc.occupations.electron_count.TooFewBandsError: fermi-dirac smearing needs empty ...
    """
    if nelectrons > 2 * nbands + 1e-9:
        raise TooFewBandsError(
            f"{nbands} bands hold at most {2 * nbands} electrons, not {nelectrons:g}. Raise nbands "
            f"to at least {math.ceil(nelectrons / 2)} (more with a smearing or a moment)."
        )
    if isinstance(smearing, FixedOccupations):
        if moment is not None and (count := max(whole_states(nelectrons, nspin, moment))) > nbands:
            raise TooFewBandsError(
                f"{nbands} bands cannot hold {count} electrons of one spin (moment {moment:g} "
                f"mu_B). Raise nbands to at least {count}."
            )
        return
    # Filled states of the fuller channel, or of both together, which have all bands.
    states = nbands * (2 if nspin == 2 and moment is None else 1)
    filled = nelectrons * nspin / 2 if moment is None else (nelectrons + abs(moment)) / 2
    if filled >= states - 1e-9:
        raise TooFewBandsError(
            f"{smearing.name} smearing needs empty bands: {filled:g} of {states} states would be "
            f"occupied. Raise nbands to at least {nbands + max(2, nbands // 5)}."
        )


def _integer(value: float, message: str) -> int:
    if abs(value - round(value)) > 1e-9:
        raise ValueError(message)
    return round(value)
