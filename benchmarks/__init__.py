"""Benchmarks: tunalm against baselines that are written here, on the same data in one run."""
