"""Servers that speak the OpenAI protocol: one call at a time, many at once, whatever they send back."""
