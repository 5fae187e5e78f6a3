"""Which plane waves there are, and how fields travel between them and the FFT grid.

Contract: a `PlaneWaveBasis` belongs to one crystal, cutoff and set of k-points and is never
changed. Orbitals are (nspin, nk, nband, npw), zero where the mask is; densities are (nspin, nG)
on the density sphere or (nspin, n1, n2, n3) on the grid, bohr^-3. Nothing here knows energies or
occupations.
"""
