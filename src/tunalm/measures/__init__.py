"""Measures that know no model and no stage: ROUGE-L, rank correlation, means with intervals, rater agreement."""
