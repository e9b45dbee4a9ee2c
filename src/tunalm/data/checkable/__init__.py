"""Built-in instructions that a program can check: generated, the same everywhere, with a held-out split.

`generate` makes the rows of a split (families.py), `check` scores a response to one of them (checkers.py). `train`
shares families and phrasings with the other splits but no parameter: words, numbers and topics are parted in words.py.
`heldout` is for choosing settings, `test` has other instructions, for what is reported.
"""

from tunalm.data.checkable.checkers import check
from tunalm.data.checkable.families import FAMILIES, VERSION, generate

__all__ = ["FAMILIES", "VERSION", "check", "generate"]
