"""Cards: what a trained model, or lists of responses, say of themselves on a hub, written from what a run knows.

A card is README.md beside what it speaks of, Markdown under entries in YAML. It holds no path of this machine, no
address and no key.
"""

from tunalm.reporting.cards.rows import public_rows
from tunalm.reporting.cards.writing import card_of, write_card

__all__ = ["card_of", "public_rows", "write_card"]
