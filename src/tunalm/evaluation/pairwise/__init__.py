"""Two models' answers to the same questions, compared by a judge: Vicuna QA and every set of questions like it.

questions + answers of a model + answers of another --> pairs --> requests to the judge (one order, or both)
reviews, fresh or stored --> parsing --> one PairVerdict per question --> win rates, intervals, habits of the judge
"""
