package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/coreos/ignition/v2/config/merge"
	ign "github.com/coreos/ignition/v2/config/v3_6"
	"github.com/coreos/ignition/v2/config/v3_6/types"
	"github.com/coreos/ignition/v2/config/validate"
)

// memoSize bounds how many merged tails are kept. A fleet has as many as it
// has groups times snippets.
const memoSize = 512

// merged is the result of merging parts in order.
type merged struct {
	config  types.Config
	version int // the highest that any part needs
	losses  []loss
}

// slot is the place of one loaded snippet.
type slot struct {
	done chan struct{} // closed when loading has ended
	part *part         // nil if it failed
}

// store holds what was loaded, by handle, and the merges of tails that many
// nodes have in common. Only the reader of requests adds slots; a filled one
// never changes.
type store struct {
	slots []*slot

	mu    sync.Mutex // of what follows
	tails map[string]merged
}

func newStore() *store { return &store{tails: map[string]merged{}} }

// reserve makes a slot and returns its handle, from 1.
func (s *store) reserve() (int, *slot) {
	made := &slot{done: make(chan struct{})}
	s.slots = append(s.slots, made)
	return len(s.slots), made
}

// compose merges parts, named by their handles.
func (s *store) compose(slots []*slot, req request) reply {
	if len(req.Handles) == 0 {
		return reply{Error: "nothing to compose"}
	}
	parts := make([]part, len(req.Handles))
	for i, h := range req.Handles {
		if h < 1 || h > len(slots) {
			return reply{Error: fmt.Sprintf("unknown handle %d", h)}
		}
		<-slots[h-1].done
		if slots[h-1].part == nil {
			return reply{Error: fmt.Sprintf("handle %d is of a snippet that failed", h)}
		}
		parts[i] = *slots[h-1].part
	}
	limit := minorOf(req.MaxVersion)
	if limit < 0 || limit > minorOf(types.MaxVersion.String()) {
		return reply{Error: fmt.Sprintf("unknown Ignition spec version %q", req.MaxVersion)}
	}

	m := join(parts[0], s.tail(parts[1:], req.Handles[1:]))
	if len(m.losses) == 0 {
		// Every field came through, so the parts' highest spec version is the
		// lowest that holds them all; what is left to check is the whole.
		return m.emit(limit)
	}
	// Merging is associative only while nothing is lost. What is emitted is
	// exactly Ignition's own merge, one config after the other, and what a
	// lost field needed may no longer be needed.
	m = mergeInOrder(parts)
	var err error
	if m.version, err = lowest(m.config, minorOf(types.MaxVersion.String())); err != nil {
		return reply{Error: err.Error(), Losses: m.losses}
	}
	return m.emit(limit)
}

// emit validates the merged config and writes it.
func (m merged) emit(limit int) reply {
	out := reply{Losses: m.losses, Version: specVersion(m.version)}
	if m.version > limit {
		out.Error = "spec version too new"
		return out
	}
	m.config = ownParents(ownHomes(m.config))
	m.config.Ignition.Version = types.MaxVersion.String()
	rpt := validate.ValidateWithContext(m.config, nil)
	generated := generatedUnits(m.config)
	out.Report = append(entries(rpt), generated...)
	nameEntries(m.config, out.Report)
	if rpt.IsFatal() || len(generated) > 0 {
		out.Error = "the merged config is not valid"
		return out
	}
	m.config.Ignition.Version = out.Version
	var err error
	if out.Config, err = canonical(m.config); err != nil {
		out.Error = err.Error()
	}
	return out
}

// tail merges from the right, so that nodes whose last snippets are the same
// share that work.
func (s *store) tail(parts []part, handles []int) *merged {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tailLocked(parts, handles)
}

func (s *store) tailLocked(parts []part, handles []int) *merged {
	if len(handles) == 0 {
		return nil
	}
	key := fmt.Sprint(handles)
	if known, ok := s.tails[key]; ok {
		return &known
	}
	made := join(parts[0], s.tailLocked(parts[1:], handles[1:]))
	if len(s.tails) >= memoSize {
		clear(s.tails)
	}
	s.tails[key] = made
	return &made
}

// join merges what comes after a part onto it.
func join(head part, tail *merged) merged {
	if tail == nil {
		return merged{config: head.config, version: head.version}
	}
	if len(tail.losses) > 0 {
		return *tail
	}
	result, transcript := merge.MergeStructTranscribe(head.config, tail.config)
	return merged{
		config:  result.(types.Config),
		version: max(head.version, tail.version),
		losses:  findLosses(head.config, result.(types.Config), transcript, func(string) int { return 0 }, 0),
	}
}

// mergeInOrder merges from the left, as Ignition does, and remembers which
// part each value came from so that a loss can name it.
func mergeInOrder(parts []part) merged {
	first := parts[0]
	m := merged{config: first.config, version: first.version}
	origin := map[string]int{}
	for _, leaf := range leaves(first.config) {
		origin[leaf.path] = 0
	}
	for i, child := range parts[1:] {
		result, transcript := merge.MergeStructTranscribe(m.config, child.config)
		next := result.(types.Config)
		source := func(path string) int { return origin[path] }
		m.losses = append(m.losses, findLosses(m.config, next, transcript, source, i+1)...)
		m.version = max(m.version, child.version)
		m.config = next

		after := map[string]int{}
		for _, mapping := range transcript.Mappings {
			from, to := mapping.From.String(), mapping.To.String()
			if mapping.From.Tag == merge.TAG_PARENT {
				after[to] = origin[from]
			} else {
				after[to] = i + 1
			}
		}
		origin = after
	}
	return m
}

// lowest finds the lowest spec version that holds config, which limit does.
func lowest(config types.Config, limit int) (int, error) {
	config.Ignition.Version = types.MaxVersion.String()
	want, err := canonical(config)
	if err != nil {
		return 0, err
	}
	for version := range limit {
		if fits(config, version, want) {
			return version, nil
		}
	}
	return limit, nil
}

// fits writes config in one spec version and has Ignition read it back: it
// must be valid there, and its upgrade to the newest spec must be want, which
// is config in the newest spec.
func fits(config types.Config, version int, want string) bool {
	config.Ignition.Version = specVersion(version)
	text, err := canonical(config)
	if err != nil {
		return false
	}
	back, _, err := ign.ParseCompatibleVersion([]byte(text))
	if err != nil {
		return false
	}
	got, err := canonical(back)
	return err == nil && got == want
}

// canonical is the one JSON text of a config: sorted keys, no white space,
// nothing that is unset.
func canonical(config types.Config) (string, error) {
	tree, _ := prune(config)
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(tree); err != nil {
		return "", err
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

func specVersion(minor int) string { return fmt.Sprintf("3.%d.0", minor) }

// minorOf reads the k of "3.k.0"; -1 for anything else.
func minorOf(version string) int {
	k, found := strings.CutPrefix(version, "3.")
	k, suffixed := strings.CutSuffix(k, ".0")
	minor, err := strconv.Atoi(k)
	if !found || !suffixed || err != nil || minor < 0 {
		return -1
	}
	return minor
}
