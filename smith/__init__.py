"""Smith's 1cycle paper (arXiv:1803.09820), reproduced in JAX."""

__version__ = "0.1.0"
