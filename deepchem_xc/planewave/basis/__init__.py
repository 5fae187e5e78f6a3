"""Plane waves, and transforms of fields between them and the FFT grid.

Contract: a `PlaneWaveBasis` belongs to one crystal, cutoff and set of k-points and never changes.
Orbitals are (nspin, nk, nband, npw), zero where the mask is zero; densities are (nspin, nG) on the
density sphere or (nspin, n1, n2, n3) on the grid, bohr^-3. Nothing here knows total energies or
occupations.
"""
