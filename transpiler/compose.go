package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

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

// store holds what was loaded, by handle, and the merges of tails that many
// nodes have in common.
type store struct {
	parts []part
	tails map[string]merged
}

func newStore() *store { return &store{tails: map[string]merged{}} }

// add keeps a part and returns its handle, from 1.
func (s *store) add(p part) int {
	s.parts = append(s.parts, p)
	return len(s.parts)
}

func (s *store) compose(req request) reply {
	if len(req.Handles) == 0 {
		return reply{Error: "nothing to compose"}
	}
	for _, h := range req.Handles {
		if h < 1 || h > len(s.parts) {
			return reply{Error: fmt.Sprintf("unknown handle %d", h)}
		}
	}
	limit := minorOf(req.MaxVersion)
	if limit < 0 || limit > minorOf(types.MaxVersion.String()) {
		return reply{Error: fmt.Sprintf("unknown Ignition spec version %q", req.MaxVersion)}
	}

	m := s.mergeTail(req.Handles)
	if len(m.losses) == 0 {
		// Every field came through, so the parts' highest spec version is the
		// lowest that holds them all; what is left to check is the whole.
		return m.emit(limit)
	}
	// Merging is associative only while nothing is lost. What is emitted is
	// exactly Ignition's own merge, one config after the other, and what a
	// lost field needed may no longer be needed.
	m = s.mergeInOrder(req.Handles)
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
	m.config.Ignition.Version = types.MaxVersion.String()
	rpt := validate.ValidateWithContext(m.config, nil)
	out.Report = entries(rpt)
	if rpt.IsFatal() {
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

// mergeTail merges from the right, so that nodes whose last snippets are the
// same share that work.
func (s *store) mergeTail(handles []int) merged {
	head := s.parts[handles[0]-1]
	if len(handles) == 1 {
		return merged{config: head.config, version: head.version}
	}
	rest := handles[1:]
	key := fmt.Sprint(rest)
	tail, ok := s.tails[key]
	if !ok {
		tail = s.mergeTail(rest)
		if len(s.tails) >= memoSize {
			clear(s.tails)
		}
		s.tails[key] = tail
	}
	if len(tail.losses) > 0 {
		return tail
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
func (s *store) mergeInOrder(handles []int) merged {
	first := s.parts[handles[0]-1]
	m := merged{config: first.config, version: first.version}
	origin := map[string]int{}
	for _, leaf := range leaves(first.config) {
		origin[leaf.path] = 0
	}
	for i, h := range handles[1:] {
		child := s.parts[h-1]
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

// lowest finds the lowest spec version, up to limit, that holds config.
func lowest(config types.Config, limit int) (int, error) {
	config.Ignition.Version = types.MaxVersion.String()
	want, err := canonical(config)
	if err != nil {
		return 0, err
	}
	for version := 0; version <= limit; version++ {
		if err = fits(config, version, want); err == nil {
			return version, nil
		}
	}
	return 0, err
}

// fits writes config in one spec version and has Ignition read it back: it
// must be valid there, and its upgrade to the newest spec must be want, which
// is config in the newest spec.
func fits(config types.Config, version int, want string) error {
	config.Ignition.Version = specVersion(version)
	text, err := canonical(config)
	if err != nil {
		return err
	}
	back, _, err := ign.ParseCompatibleVersion([]byte(text))
	if err != nil {
		return err
	}
	got, err := canonical(back)
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("needs a spec version above %s", config.Ignition.Version)
	}
	return nil
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
