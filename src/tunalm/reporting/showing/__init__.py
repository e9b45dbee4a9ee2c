"""Reading what runs leave: `tunalm show`.

    lists, pairs, predictions with scores, a ledger --> Items --> one a screen, or one page that filters and sorts
    a run, finished or in progress -------------------> a table of its stages

Everything that is shown was written by others: control characters become visible and do nothing.
"""

from tunalm.reporting.showing.items import Item, Order, read_items, select
from tunalm.reporting.showing.page import write_items
from tunalm.reporting.showing.screens import browse, print_items
from tunalm.reporting.showing.stages import ledger_table, stages_table

__all__ = [
    "Item",
    "Order",
    "browse",
    "ledger_table",
    "print_items",
    "read_items",
    "select",
    "stages_table",
    "write_items",
]
