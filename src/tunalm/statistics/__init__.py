"""How sure numbers are, and how far orders and raters agree. Nothing here knows of models or stages."""
