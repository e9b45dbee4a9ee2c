"""Two models' answers to the same questions, compared by a judge: Vicuna QA and every set of questions like it."""
