"""What a run says: `table` and `showing` in the terminal, and `report`, one HTML file.

Nothing is imported here, because plots are slow to import and the terminal needs none.
"""
