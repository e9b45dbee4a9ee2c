"""The proxy ranking model (PRM, section 3 of the paper): a small decoder with a head that gives a response a score.

The loss is the negative log-likelihood of the judge's order when the scores s are the strengths of a Plackett-Luce
model (ListMLE, Xia et al. 2008); `other_losses.plackett_luce_losses` computes it and says what becomes of ties:

    L = - sum over k of log [ exp(s_k) / sum over j in {k} + {j: rank_j > rank_k} of exp(s_j) ]

`scores` reads sequences, `heldout` finds out how far the scores agree with the judge, `run` is the stage.
"""
