"""What another size, policy or timeout of a cache would bring, simulated on the trace."""
