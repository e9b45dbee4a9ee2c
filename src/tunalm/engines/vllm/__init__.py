"""Models that vLLM runs for this process."""
