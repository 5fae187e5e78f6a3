"""What is computed: lattice, atoms, symmetry and k-points, before any plane wave.

Contract: a `Crystal` is frozen, in bohr, and checked when it is made; lattice and positions are
tensors that may require gradients. Symmetry and k-points follow from its detached geometry.
Structures of ASE, pymatgen and files become one here, or are refused with what they say too much.
"""
