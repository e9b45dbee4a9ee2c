"""LMentry (Efrat, Honovich and Levy, 2022): elementary language tasks, scored by rules.

tasks.yaml (which answers are right) --> forms --> regular expressions, compiled once per task
data (41 sets of questions) + answers --> engine: score and certainty per answer --> totals: accuracy, robustness, score
"""
