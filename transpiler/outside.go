package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"gopkg.in/yaml.v3"
)

// localKeys are the keys of Butane, in all of its variants, whose values name
// local files.
var localKeys = map[string]bool{"local": true, "contents_local": true, "ssh_authorized_keys_local": true}

// localFile is a local file that a Butane document names.
type localFile struct {
	node *yaml.Node // what names it
	real string     // where it is, wherever symbolic links lead
}

// entry is a finding about it.
func (l localFile) entry(message string) entry {
	return entry{Level: "error", Message: message, Line: int64(l.node.Line), Column: int64(l.node.Column)}
}

// outside finds the local files that a Butane document names and that lead out
// of a folder, wherever symbolic links lead.
func outside(raw []byte, filesDir, root string) []entry {
	root, err := filepath.EvalSymlinks(root)
	if err != nil {
		return []entry{{Level: "error", Message: err.Error()}}
	}
	var out []entry
	for _, local := range localFiles(raw, filesDir) {
		if !within(local.real, root) {
			what := fmt.Sprintf("The local file is %s, which leads to %s", local.node.Value, local.real)
			out = append(out, local.entry(what))
		}
	}
	return out
}

// localFiles lists the local files that a Butane document names and that are
// there. The document is read with the library that Butane reads it with: two
// that understand it differently would leave a way out.
func localFiles(raw []byte, filesDir string) []localFile {
	var document yaml.Node
	if yaml.Unmarshal(raw, &document) != nil {
		return nil // Butane says so itself
	}
	var out []localFile
	seen := map[*yaml.Node]bool{}
	var walk func(node *yaml.Node, isPath bool)
	walk = func(node *yaml.Node, isPath bool) {
		if node.Alias != nil {
			walk(node.Alias, isPath)
			return
		}
		if node.Kind == yaml.ScalarNode {
			if real := leadsTo(node, filesDir); isPath && real != "" {
				out = append(out, localFile{node, real})
			}
			return
		}
		// What is a path by one way to it need not be one by another.
		if seen[node] && !isPath {
			return
		}
		seen[node] = true
		if node.Kind != yaml.MappingNode {
			for _, item := range node.Content {
				walk(item, isPath && node.Kind == yaml.SequenceNode)
			}
			return
		}
		for i := 0; i+1 < len(node.Content); i += 2 {
			walk(node.Content[i+1], localKeys[text(node.Content[i])])
		}
	}
	walk(&document, false)
	return out
}

// text is a scalar as Butane gets it, whatever its tag.
func text(node *yaml.Node) string {
	var value string
	if node.Decode(&value) != nil {
		return node.Value
	}
	return value
}

// leadsTo is the real path of a local file; empty where there is none.
func leadsTo(node *yaml.Node, filesDir string) string {
	real, err := filepath.EvalSymlinks(filepath.Join(filesDir, filepath.FromSlash(text(node))))
	if err != nil {
		return ""
	}
	return real
}

func within(path, folder string) bool {
	rel, err := filepath.Rel(folder, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}
