package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"gopkg.in/yaml.v3"
)

const (
	deepest       = 100      // levels that a document may have, as fleet's own reader has it
	mostByAliases = 100_000  // nodes that aliases may stand for in a document, all together
	largestLocal  = 64 << 20 // bytes of a local file
)

// unbounded finds what nobody could work on in a Butane document: aliases that
// stand for more than fits in memory, or for themselves, and levels without
// end. What reads the document after this goes through all of its values.
func unbounded(raw []byte) *entry {
	var document yaml.Node
	if yaml.Unmarshal(raw, &document) != nil {
		return nil // Butane says so itself
	}
	type extent struct{ size, levels int }
	known := map[*yaml.Node]extent{}
	byAliases := 0
	var found *entry
	refuse := func(node *yaml.Node, what string) extent {
		if found == nil {
			found = &entry{Level: "error", Message: what, Line: int64(node.Line), Column: int64(node.Column)}
		}
		return extent{}
	}
	var measure func(node *yaml.Node, depth int) extent
	measure = func(node *yaml.Node, depth int) extent {
		if found != nil {
			return extent{}
		}
		if node.Kind == yaml.AliasNode {
			whole, ok := known[node.Alias]
			if !ok {
				return refuse(node, "an alias stands for what it is itself in")
			}
			if byAliases += whole.size; byAliases > mostByAliases {
				return refuse(node, fmt.Sprintf("aliases stand for more than %d values", mostByAliases))
			}
			if depth+whole.levels > deepest {
				return refuse(node, fmt.Sprintf("it is nested more than %d levels deep", deepest))
			}
			return whole
		}
		if depth > deepest {
			return refuse(node, fmt.Sprintf("it is nested more than %d levels deep", deepest))
		}
		whole := extent{size: 1, levels: 1}
		for _, item := range node.Content {
			part := measure(item, depth+1)
			whole.size += part.size
			whole.levels = max(whole.levels, part.levels+1)
		}
		known[node] = whole
		return whole
	}
	// The document itself is a node around its content.
	measure(&document, 0)
	return found
}

// unreadable finds the local files that a Butane document names and that are
// not files: a pipe would be waited for, and a device may never end.
func unreadable(raw []byte, filesDir string) []entry {
	var out []entry
	for _, local := range localFiles(raw, filesDir) {
		info, err := os.Stat(local.real)
		if err != nil {
			continue // Butane says so itself
		}
		if !info.IsDir() {
			if what := unfit(info); what != "" {
				out = append(out, local.entry(fmt.Sprintf("The local file %s %s", local.node.Value, what)))
			}
			continue
		}
		// A tree. Links in it become links on the node.
		_ = filepath.WalkDir(local.real, func(path string, file fs.DirEntry, err error) error {
			if err != nil || file.IsDir() || file.Type()&fs.ModeSymlink != 0 {
				return nil // Butane says so itself
			}
			if info, err := file.Info(); err == nil && unfit(info) != "" {
				out = append(out, local.entry(fmt.Sprintf("The local file %s %s", path, unfit(info))))
			}
			return nil
		})
	}
	return out
}

// unfit says why a file cannot be read whole; it is empty where it can.
func unfit(info fs.FileInfo) string {
	switch mode := info.Mode(); {
	case mode&fs.ModeNamedPipe != 0:
		return "is a pipe"
	case mode&fs.ModeSocket != 0:
		return "is a socket"
	case !mode.IsRegular():
		return "is a device"
	case info.Size() > largestLocal:
		return fmt.Sprintf("is larger than %d MiB", largestLocal>>20)
	}
	return ""
}
