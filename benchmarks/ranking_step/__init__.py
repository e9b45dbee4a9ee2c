"""One training step over ranked lists: the authors' trainer, a strong modern one, and tunalm."""
