"""N responses per instruction, drawn so that they differ if the recipe asks for it."""

from tunalm.sampling.sampler import run

__all__ = ["run"]
