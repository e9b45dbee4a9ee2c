"""Super-NaturalInstructions (Wang et al., 2022), English track: 119 unseen tasks, scored by ROUGE-L.

task files --> data (definition, examples, rows) --> prompts --> questions of an evaluation
answers, or saved predictions --> metrics per row --> scoring: means over rows, tasks and categories
"""
