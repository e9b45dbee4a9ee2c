"""LMentry (Efrat, Honovich and Levy, 2022): elementary language tasks."""
