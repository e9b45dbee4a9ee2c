"""What calls cost: prices, a limit on the money, and what was spent."""
