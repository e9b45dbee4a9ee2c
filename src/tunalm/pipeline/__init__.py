"""Runs a recipe: named stages in order, those that are done are skipped, those that were interrupted resume.

recipe ──► resolve (names become paths) ──► fingerprint ──► done? skip : run ──► manifest, results, report
                                                 │
                                                 └──► plan: what is left to ask and to train on, times prices
"""
