"""What is asked once and paid once. No HTTP here.

    requests --> asking.complete --> ledger: answered before --------------------------------> completions
                      |                                                                            ^
                      `--> needs, budget: refused? --> engine --> journal --> ledger, with its cost |
                                                        `-----> stopping: does anything succeed? ---'

`spending` reads from a ledger what its calls have cost; `prices` is the table that the user writes.
"""
