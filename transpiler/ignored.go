package main

import (
	"fmt"
	"strings"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// notIgnored gives those of the names of a build's files, relative to its
// folder, that an ignore file in Docker's syntax does not exclude, by the
// library with which Docker and Podman read it.
func notIgnored(text string, names []string) reply {
	patterns, err := ignorefile.ReadAll(strings.NewReader(text))
	if err != nil {
		return reply{Error: err.Error()}
	}
	for _, pattern := range patterns {
		if _, err := patternmatcher.New([]string{pattern}); err != nil {
			return reply{Error: fmt.Sprintf("%s is no pattern", pattern)}
		}
	}
	matcher, err := patternmatcher.New(patterns)
	if err != nil {
		return reply{Error: err.Error()}
	}
	out := reply{}
	for _, name := range names {
		ignored, err := matcher.MatchesOrParentMatches(name)
		if err != nil {
			return reply{Error: err.Error()}
		}
		if !ignored {
			out.Names = append(out.Names, name)
		}
	}
	return out
}
