"""Lines and instances between processes: the registry in function, hosts in worlds, who asks."""
