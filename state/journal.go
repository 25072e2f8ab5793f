package main

import (
	"encoding/json"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/blang/semver"
	"github.com/pulumi/pulumi/pkg/v3/backend"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
)

// emptyDeployment is the state of a stack that was never updated.
const emptyDeployment = `{"manifest":{"time":"0001-01-01T00:00:00Z","magic":"","version":""}}`

// replay returns the state that a journal makes of one, by Pulumi's own package.
//
// The entries are put in the order of their sequence: an update sends batches one after another, but nothing says so.
func replay(base apitype.UntypedDeployment, entries []apitype.JournalEntry) (after apitype.UntypedDeployment, err error) {
	defer func() {
		// The package asserts what a journal has to be.
		if reason := recover(); reason != nil {
			err = fmt.Errorf("the journal cannot be replayed: %v", reason)
		}
	}()
	var before apitype.DeploymentV3
	if err := json.Unmarshal(base.Deployment, &before); err != nil {
		return apitype.UntypedDeployment{}, fmt.Errorf("the state before cannot be read: %w", err)
	}
	slices.SortStableFunc(entries, func(a, b apitype.JournalEntry) int { return int(a.SequenceID - b.SequenceID) })
	replayer := backend.NewJournalReplayer(&before)
	for _, entry := range entries {
		if err := replayer.Add(entry); err != nil {
			return apitype.UntypedDeployment{}, fmt.Errorf("entry %d of the journal: %w", entry.SequenceID, err)
		}
	}
	typed, err := replayer.GenerateDeployment()
	if err != nil {
		return apitype.UntypedDeployment{}, err
	}
	// They come in no order; what is read twice is to be the same.
	slices.SortStableFunc(typed.Deployment.PendingOperations, func(a, b apitype.OperationV2) int {
		return strings.Compare(string(a.Resource.URN)+" "+string(a.Type), string(b.Resource.URN)+" "+string(b.Type))
	})
	untyped, err := typed.Deployment.ToUntypedDeployment(typed.Version, typed.Features)
	if err != nil {
		return apitype.UntypedDeployment{}, err
	}
	return *untyped, nil
}

// checkEntries refuses a batch that could not be replayed, while the update that sends it can still say so.
func checkEntries(entries []apitype.JournalEntry) error {
	for _, entry := range entries {
		if entry.Version < 1 || int64(entry.Version) > apitype.LatestJournalVersion {
			return fmt.Errorf("journal entry %d has version %d", entry.SequenceID, entry.Version)
		}
		if entry.Kind < apitype.JournalEntryKindBegin || entry.Kind > apitype.JournalEntryKindStateMigration {
			return fmt.Errorf("journal entry %d is of kind %d", entry.SequenceID, entry.Kind)
		}
		if entry.SequenceID < 1 {
			return fmt.Errorf("journal entry %d is not numbered", entry.SequenceID)
		}
	}
	return nil
}

// replayerVersion is the release of Pulumi's package that replays journals, as it was linked.
func replayerVersion() semver.Version {
	info, _ := debug.ReadBuildInfo()
	for _, module := range info.Deps {
		if module.Path == "github.com/pulumi/pulumi/pkg/v3" {
			version, err := semver.ParseTolerant(module.Version)
			if err != nil {
				panic(err) // Of a module, it is always one.
			}
			return version
		}
	}
	return semver.Version{}
}
