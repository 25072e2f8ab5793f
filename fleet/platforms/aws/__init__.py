"""Amazon Web Services: EC2 instances in a VPC of the stack's own or an existing one."""
