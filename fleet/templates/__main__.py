"""The Pulumi program: it deploys the spec that the stack's config names."""

from fleet.spec.deploy import main

main()
