package main

import (
	"reflect"
	"strconv"
	"strings"

	"github.com/coreos/ignition/v2/config/merge"
	"github.com/coreos/ignition/v2/config/util"
	"github.com/coreos/ignition/v2/config/v3_6/types"
)

// loss is a value that one snippet set and a later one took away.
type loss struct {
	Path   string `json:"path"`   // where it stood in the merge so far: "$.storage.files.0.mode"
	Kind   string `json:"kind"`   // the list or section it is in: "storage.files"
	Key    string `json:"key"`    // the entry's own name: "/etc/hostname"; empty where it is no list's
	Field  string `json:"field"`  // what of the entry: "mode"; empty where all of it went
	Loser  int    `json:"loser"`  // index of the part that set it
	Winner int    `json:"winner"` // index of the part that took its place
}

// leaf is one value that is set, with the keyed list entry it belongs to.
type leaf struct {
	path  string
	value any
	kind  string
	key   string
	field string
	entry string // path of the entry
}

// prune turns a config struct into what JSON would hold of it, less all that
// is unset. The second result says whether anything is left.
func prune(v any) (any, bool) { return pruneValue(reflect.ValueOf(v), false) }

func pruneValue(v reflect.Value, keep bool) (any, bool) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil, false
		}
		return pruneValue(v.Elem(), true)
	case reflect.Struct:
		out := map[string]any{}
		pruneFields(v, out)
		return out, keep || len(out) > 0
	case reflect.Slice:
		out := make([]any, 0, v.Len())
		for i := range v.Len() {
			item, _ := pruneValue(v.Index(i), true)
			out = append(out, item)
		}
		return out, len(out) > 0
	default:
		return v.Interface(), keep || !v.IsZero()
	}
}

func pruneFields(v reflect.Value, out map[string]any) {
	for i := range v.NumField() {
		meta := v.Type().Field(i)
		name, _, _ := strings.Cut(meta.Tag.Get("json"), ",")
		if name == "" && meta.Anonymous {
			pruneFields(v.Field(i), out)
			continue
		}
		if item, ok := pruneValue(v.Field(i), false); ok {
			out[name] = item
		}
	}
}

// leaves lists every value that is set, with paths as merge's transcript
// writes them.
func leaves(config types.Config) []leaf {
	var out []leaf
	collect(reflect.ValueOf(config), leaf{path: "$"}, &out)
	return out
}

func collect(v reflect.Value, at leaf, out *[]leaf) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return
		}
		if v.Elem().Kind() == reflect.Struct {
			collect(v.Elem(), at, out)
			return
		}
		at.value = v.Elem().Interface()
		*out = append(*out, at)
	case reflect.Struct:
		for i := range v.NumField() {
			meta := v.Type().Field(i)
			name, _, _ := strings.Cut(meta.Tag.Get("json"), ",")
			if name == "" { // embedded: as if its fields stood here
				collect(v.Field(i), at, out)
				continue
			}
			next := at
			next.path += "." + name
			if at.entry == "" {
				next.kind = strings.TrimPrefix(next.kind+"."+name, ".")
			} else {
				next.field = strings.TrimPrefix(next.field+"."+name, ".")
			}
			collect(v.Field(i), next, out)
		}
	case reflect.Slice:
		for i := range v.Len() {
			item := v.Index(i)
			next := at
			next.path += "." + strconv.Itoa(i)
			if at.entry == "" {
				next.entry, next.key = next.path, util.CallKey(item)
			} else if item.Kind() == reflect.Struct {
				next.field += "[" + util.CallKey(item) + "]"
			}
			collect(item, next, out)
		}
	default:
		if v.IsZero() {
			return
		}
		at.value = v.Interface()
		*out = append(*out, at)
	}
}

// findLosses compares what the earlier config set with what became of it.
// Ignition's own transcript of the merge says where each value went; a value
// that went nowhere was lost, unless the later config says the same.
func findLosses(earlier, result types.Config, transcript merge.Transcript, source func(string) int, winner int) []loss {
	kept := map[string]string{}
	for _, mapping := range transcript.Mappings {
		if mapping.From.Tag == merge.TAG_PARENT {
			kept[mapping.From.String()] = mapping.To.String()
		}
	}
	var after map[string]any
	var losses []loss
	gone := map[string]bool{} // entries reported whole
	for _, l := range leaves(earlier) {
		if _, ok := kept[l.path]; ok {
			continue
		}
		if after == nil {
			after = map[string]any{}
			for _, r := range leaves(result) {
				after[r.path] = r.value
			}
		}
		if to, ok := destination(l.path, kept); ok && after[to] == l.value {
			continue
		}
		found := loss{Path: l.path, Kind: l.kind, Key: l.key, Field: l.field, Loser: source(l.path), Winner: winner}
		if l.entry != "" {
			if _, ok := kept[l.entry]; !ok {
				if gone[l.entry] {
					continue
				}
				gone[l.entry] = true
				found.Field = ""
			}
		}
		losses = append(losses, found)
	}
	return losses
}

// destination says where a value would stand in the result: the place its
// nearest surviving ancestor went to, and the rest of its path.
func destination(path string, kept map[string]string) (string, bool) {
	for prefix := path; ; {
		cut := strings.LastIndexByte(prefix, '.')
		if cut < 0 {
			// The root itself is never transcribed.
			return path, true
		}
		prefix = prefix[:cut]
		if to, ok := kept[prefix]; ok {
			return to + path[len(prefix):], true
		}
	}
}

// nameEntries says of each finding about a merged config which entry it is
// about: an index into a merged list means nothing to anybody.
func nameEntries(config types.Config, findings []entry) {
	if len(findings) == 0 {
		return
	}
	all := leaves(config)
	for i, f := range findings {
		for _, l := range all {
			if l.key != "" && strings.HasPrefix(f.Path+".", l.entry+".") {
				findings[i].Key = l.key
				break
			}
		}
	}
}
