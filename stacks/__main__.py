"""The Pulumi program: it deploys the spec that the stack's config names."""

from fleet.program.deploy import main

main()
