"""Cards: what a trained model, or lists of responses, say of themselves on a hub.

recipe + what its stages put down --> facts (lineage, data, licences, scores) --> templates --> README.md
                                       `-> without paths, addresses and keys of this machine
"""

from tunalm.reporting.cards.public import public_rows
from tunalm.reporting.cards.writing import card_of, write_card

__all__ = ["card_of", "public_rows", "write_card"]
