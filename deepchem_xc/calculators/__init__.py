"""The way out: crystals through ASE, and reference calculations of other codes."""

from __future__ import annotations

from deepchem_xc.calculators.plane_wave import PlaneWaveDFT

__all__ = ["PlaneWaveDFT"]
