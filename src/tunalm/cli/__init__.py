"""The command line: each module parses one group of commands, imports late and calls what does the work."""
