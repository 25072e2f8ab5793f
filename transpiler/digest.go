package main

import (
	"context"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// patience is how long one registry may take to answer.
const patience = 30 * time.Second

// digest asks the registry of a container image's reference for the digest of
// what the reference names now: for an image of several architectures, that of
// its index. Credentials are those of Docker and Podman on this machine.
func digest(reference string) reply {
	ref, err := name.ParseReference(reference)
	if err != nil {
		return reply{Error: err.Error()}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	options := []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)}
	found, err := remote.Head(ref, options...)
	if err != nil {
		// An answer to HEAD has no body, and so no reason.
		var manifest *remote.Descriptor
		if manifest, err = remote.Get(ref, options...); err != nil {
			return reply{Error: err.Error()}
		}
		found = &manifest.Descriptor
	}
	return reply{Data: found.Digest.String()}
}
