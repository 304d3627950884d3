"""How the mask moves while an optimizer moves the weights."""

import lazy_loader

# Not before it is used: what lists and shows runs knows the methods' names, and needs no torch.
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submodules=["structures"])
