"""Proximal policy optimization against a proxy (Schulman et al. 2017), as AlpacaFarm ran it (Table 1, PPO-sim).

    instructions ──► roll-out: the policy writes responses ──► proxy scores, KL to the start, values ──► advantages
         ▲                                                                                                   │
         └────────────── the next roll-out ◄── clipped steps on policy and value model ◄────────────────────┘

`run_ppo` is imported from `tunalm.training.ppo.run`; the mathematics stands alone in `objective`.
"""
