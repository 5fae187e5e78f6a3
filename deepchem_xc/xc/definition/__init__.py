"""What a functional or a network is, as plain data: written to files, and built again from it.

Contract: a functional or a network in, a definition out, and the other way round. A definition is
a dictionary of JSON values: {"class": name, "options": {...}}, the options being the arguments of
the constructor. Among them may be other functionals and networks, as definitions,
trainable numbers, and factors that are computed from such. Weights are not a part of it.

Building looks classes up in a list of the package's own and of those the caller names, and calls
their constructors: a definition can run nothing else.
"""

from .arguments import forgotten
from .building import build
from .known import own_classes
from .writing import definition_of

__all__ = ["build", "definition_of", "forgotten", "own_classes"]
