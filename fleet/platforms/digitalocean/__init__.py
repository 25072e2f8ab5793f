"""DigitalOcean: droplets in a VPC of the stack's own or an existing one."""
