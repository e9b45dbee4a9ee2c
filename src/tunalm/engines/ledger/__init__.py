"""The file in which every request to a language model, and every answer, is kept."""
