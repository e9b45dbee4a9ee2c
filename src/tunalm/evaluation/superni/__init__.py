"""Super-NaturalInstructions (Wang et al., 2022), English track: 119 unseen tasks."""
