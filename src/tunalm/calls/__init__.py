"""What is asked once and paid once: the ledger of every call, the budget, prices, and asking itself. No HTTP here."""
