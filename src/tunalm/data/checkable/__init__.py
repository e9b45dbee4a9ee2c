"""Built-in instructions that a program can check: generated, the same everywhere, with a held-out split.

`generate` makes the rows of a split (families.py), `check` scores a response to one of them (checkers.py). The two
splits share families and phrasings but no parameter: words, numbers and topics are parted in words.py.
"""

from tunalm.data.checkable.checkers import check
from tunalm.data.checkable.families import FAMILIES, VERSION, generate

__all__ = ["FAMILIES", "VERSION", "check", "generate"]
