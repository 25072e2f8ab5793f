"""Google Cloud: Compute Engine instances in a network of the stack's own or an existing one."""
