"""How the mask moves while an optimizer moves the weights."""

from . import structures as structures
