"""The blind human study (section 8, Table 2): people put the answers of anonymous systems in order.

predictions of a run ──► make ──► study.sqlite (what raters see) ──► serve ──► orders, saved as they are made
                          │                                                       │
                          └─► key.json (who wrote what) ──────► score ◄───────────┘ ──► scores.json, ratings.csv
"""
