package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/compose-spec/compose-go/v2/schema"
	"github.com/compose-spec/compose-go/v2/template"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"go.yaml.in/yaml/v4"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// place is where a value of a model stands; a line of 0 means somewhere in the
// file.
type place struct {
	file         string
	line, column int // of the value, if it is a scalar, else of its key
	key          int // column of the key, on keyLine
	keyLine      int
}

// places are those of a model, by path.
type places map[string]place

const separator = "\n"

func pathOf(parts ...string) string { return strings.Join(parts, separator) }

// of is the place of what is at a path, or of the nearest thing around it.
func (p places) of(parts ...string) place {
	for n := len(parts); n > 0; n-- {
		if at, ok := p[pathOf(parts[:n]...)]; ok {
			return at
		}
	}
	return p[""]
}

// adopt adds the places of an included model, which the file's own override.
func (p places) adopt(included places) {
	for path, at := range included {
		if _, ok := p[path]; !ok {
			p[path] = at
		}
	}
}

// override adds the places of a later file, which override.
func (p places) override(later places) {
	for path, at := range later {
		p[path] = at
	}
}

// inherit gives a service the places of what it extends, less those of items
// of lists that both have: there, an index says nothing.
func (p places) inherit(service []string, base places, extended []string) {
	from, to := pathOf(extended...)+separator, pathOf(service...)+separator
	lists := map[string]bool{}
	added := places{}
	for path, at := range base {
		rest, ok := strings.CutPrefix(path, from)
		if !ok {
			continue
		}
		if own, ok := p[to+rest]; ok {
			if list, index, ok := cutLast(rest); ok && isIndex(index) && own != at {
				lists[list] = true
			}
			continue
		}
		added[to+rest] = at
	}
	for path, at := range added {
		p[path] = at
	}
	for path := range p {
		if rest, ok := strings.CutPrefix(path, to); ok {
			for list := range lists {
				if item, ok := strings.CutPrefix(rest, list+separator); ok {
					if first, _, _ := strings.Cut(item, separator); isIndex(first) {
						delete(p, path)
					}
				}
			}
		}
	}
}

func cutLast(path string) (string, string, bool) {
	i := strings.LastIndex(path, separator)
	if i < 0 {
		return "", path, false
	}
	return path[:i], path[i+1:], true
}

func isIndex(part string) bool {
	_, err := strconv.Atoi(part)
	return err == nil
}

var (
	dotted = regexp.MustCompile(`\b(?:services|networks|volumes|secrets|configs|include)(?:\.[^\s:,]+)?`)
	quoted = regexp.MustCompile(`service "?([A-Za-z0-9._-]+)"?`)
)

// mentioned is the place that an error of compose-go is about: it names no
// lines, but often the path.
func (p places) mentioned(text, file string) place {
	if path := dotted.FindString(text); path != "" {
		parts := strings.Split(path, ".")
		// Names may have dots in them.
		for n := len(parts); n > 0; n-- {
			for m := 1; m <= n; m++ {
				joined := append([]string{parts[0]}, strings.Join(parts[1:min(m, n)], "."))
				joined = append(joined, parts[min(m, n):n]...)
				if at, ok := p[pathOf(slices.DeleteFunc(joined, func(s string) bool { return s == "" })...)]; ok {
					return at
				}
			}
		}
	}
	if name := quoted.FindStringSubmatch(text); name != nil {
		if at, ok := p[pathOf("services", name[1])]; ok {
			return at
		}
	}
	return place{file: file}
}

// listed is what a reply has of them: path, file, line and column of the value,
// line and column of the key.
func (p places) listed() [][]any {
	out := make([][]any, 0, len(p))
	for path, at := range p {
		out = append(out, []any{path, at.file, at.line, at.column, at.keyLine, at.key})
	}
	slices.SortFunc(out, func(a, b []any) int { return strings.Compare(a[0].(string), b[0].(string)) })
	return out
}

// document is one YAML document while it is read.
type document struct {
	file     string
	lookup   template.Mapping
	at       places
	problems []problem
	visits   int
}

// mostVisits is how many nodes a document may have, with aliases written out.
const mostVisits = 100_000

func (d *document) note(text string, node *yaml.Node) {
	d.problems = append(d.problems, problem{Message: text, File: d.file, Line: node.Line, Column: node.Column})
}

// parse reads the document, in which every variable is filled in.
func (d *document) parse(raw []byte) map[string]any {
	var root yaml.Node
	decoder := yaml.NewDecoder(strings.NewReader(string(raw)))
	if err := decoder.Decode(&root); err != nil {
		text := strings.TrimPrefix(err.Error(), "yaml: ")
		if errors.Is(err, io.EOF) {
			text = "the file is empty"
		}
		d.problems = append(d.problems, problem{
			Message: "The YAML cannot be read: " + text, Syntax: true, File: d.file,
		})
		return nil
	}
	var second yaml.Node
	if decoder.Decode(&second) == nil {
		d.note("A second YAML document begins here: write one", &second)
	}
	if len(root.Content) == 0 || root.Content[0].Kind != yaml.MappingNode {
		d.note("A Compose file is a mapping, with `services`", &root)
		return nil
	}
	d.at[""] = place{file: d.file, line: 1, column: 1, key: 1, keyLine: 1}
	value, _ := d.value(root.Content[0], nil, 0).(map[string]any)
	if d.visits > mostVisits {
		d.problems = []problem{{Message: "The aliases multiply to more than can be read", File: d.file}}
	}
	return value
}

func (d *document) value(node *yaml.Node, path []string, depth int) any {
	if d.visits++; d.visits > mostVisits || depth > deepest {
		d.visits = mostVisits + 1
		return nil
	}
	if node.Kind == yaml.AliasNode {
		return d.value(node.Alias, path, depth+1)
	}
	if tag := node.ShortTag(); node.Style&yaml.TaggedStyle != 0 && !standardTags[tag] {
		d.note(fmt.Sprintf("The tag `%s` is none that is understood here", node.Tag), node)
		return nil
	}
	switch node.Kind {
	case yaml.MappingNode:
		out := map[string]any{}
		d.mapping(node, path, depth, out, false)
		return out
	case yaml.SequenceNode:
		out := []any{}
		counted := 0
		for i, item := range node.Content {
			n := 1
			value := d.value(item, append(slices.Clone(path), strconv.Itoa(counted)), depth+1)
			if len(path) == 3 && path[0] == "services" && item.Kind == yaml.ScalarNode {
				value, n = d.shortForm(path[2], value, item)
			}
			for ; n > 0; n-- {
				d.noted(append(slices.Clone(path), strconv.Itoa(counted)), node.Content[i], node.Content[i])
				counted++
			}
			if text, ok := value.(string); ok {
				// [A=1] and [db] may become mappings.
				name, _, _ := strings.Cut(text, "=")
				d.noted(append(slices.Clone(path), name), item, item)
			}
			out = append(out, value)
		}
		return out
	case yaml.ScalarNode:
		return d.scalar(node, path)
	}
	return nil
}

// shortForm is the long form of an item of a service's list, and how many of
// them it is: a range of ports is one for each.
func (d *document) shortForm(kind string, value any, node *yaml.Node) (any, int) {
	text := fmt.Sprint(value)
	switch kind {
	case "ports":
		ports, err := types.ParsePortConfig(text)
		if err != nil {
			d.note(fmt.Sprintf("`%s` is no port: %s", text, err), node)
		}
		return value, max(1, len(ports))
	case "volumes", "devices":
		long, err := longForm(kind, text)
		if err != nil {
			d.note(fmt.Sprintf("`%s` cannot be read: %s", text, err), node)
			return value, 1
		}
		return long, 1
	}
	return value, 1
}

var standardTags = map[string]bool{
	"!!str": true, "!!int": true, "!!float": true, "!!bool": true, "!!null": true, "!!map": true, "!!seq": true,
}

func (d *document) noted(path []string, key, value *yaml.Node) {
	at := place{d.file, key.Line, key.Column, key.Column, key.Line}
	for value.Kind == yaml.AliasNode {
		value = value.Alias
	}
	if value.Kind == yaml.ScalarNode {
		at.line, at.column = value.Line, value.Column
	}
	d.at[pathOf(path...)] = at
}

// mapping adds the pairs of a mapping; those of one that is merged only where
// the key is not set.
func (d *document) mapping(node *yaml.Node, path []string, depth int, out map[string]any, merged bool) {
	seen := map[string]int{}
	var merges []*yaml.Node
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		for key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		if key.Kind != yaml.ScalarNode {
			d.note("A key is a text", key)
			continue
		}
		if key.ShortTag() == "!!merge" {
			merges = append(merges, value)
			continue
		}
		if line, ok := seen[key.Value]; ok {
			d.note(fmt.Sprintf("`%s` stands here for the second time; the first is on line %d", key.Value, line), key)
			continue
		}
		seen[key.Value] = key.Line
		if _, ok := out[key.Value]; ok && merged {
			continue
		}
		next := append(slices.Clone(path), key.Value)
		d.noted(next, key, value)
		out[key.Value] = d.value(value, next, depth+1)
	}
	for _, value := range merges {
		d.merge(value, path, depth+1, out)
	}
}

func (d *document) merge(node *yaml.Node, path []string, depth int, out map[string]any) {
	if d.visits++; d.visits > mostVisits || depth > deepest {
		d.visits = mostVisits + 1
		return
	}
	switch node.Kind {
	case yaml.AliasNode:
		d.merge(node.Alias, path, depth, out)
	case yaml.MappingNode:
		d.mapping(node, path, depth, out, true)
	case yaml.SequenceNode:
		for _, item := range node.Content {
			d.merge(item, path, depth+1, out)
		}
	default:
		d.note("`<<` takes a mapping, or a list of mappings", node)
	}
}

// isText says whether the schema wants a text where a number is written without
// quotes, as many do.
func isText(path []string) bool {
	return len(path) > 0 && textKeys[path[len(path)-1]] ||
		len(path) > 3 && path[0] == "services" && (path[2] == "command" || path[2] == "entrypoint" || path[3] == "test")
}

var textKeys = map[string]bool{"version": true, "user": true, "uid": true, "gid": true, "hostname": true, "memory": true}

func (d *document) scalar(node *yaml.Node, path []string) any {
	text := node.Value
	switch node.ShortTag() {
	case "!!null":
		return nil
	case "!!bool":
		return strings.EqualFold(text, "true")
	case "!!int", "!!float":
		if isText(path) {
			return text
		}
		// A number that would be written in another way is a text: 1.10 is no 1.1 in an environment.
		if number, err := strconv.ParseInt(text, 10, 64); err == nil && strconv.FormatInt(number, 10) == text {
			return int(number)
		}
		if number, err := strconv.ParseFloat(text, 64); err == nil && strings.Contains(text, ".") &&
			strconv.FormatFloat(number, 'f', -1, 64) == text {
			return number
		}
		return text
	}
	if !strings.Contains(text, "$") {
		return text
	}
	filled, err := template.Substitute(text, d.lookup)
	var missing *template.MissingRequiredError
	var invalid *template.InvalidTemplateError
	switch {
	case errors.As(err, &missing):
		said := ""
		if missing.Reason != "" {
			said = ", of which the file says: " + missing.Reason
		}
		d.note(fmt.Sprintf("`%s` names no variable that is set%s", missing.Variable, said), node)
	case errors.As(err, &invalid):
		d.note("A `$` stands here in a way that is no reference to a variable: a dollar sign itself is written `$$`", node)
	case err != nil:
		d.note(sentence(err.Error()), node)
	}
	for name := unset(filled); name != ""; name = unset(filled) {
		// What stands for it where it is only asked whether it is set is nothing, once for each time.
		asked := len(regexp.MustCompile(`\{`+regexp.QuoteMeta(name)+`:?\+`).FindAllString(text, -1))
		filled = strings.Replace(filled, unsetMark+name+unsetMark, "", asked)
		if strings.Contains(filled, unsetMark+name+unsetMark) {
			d.note(unsetMessage(name), node)
			return ""
		}
	}
	return filled
}

// unsetMark surrounds the name of a variable that is not set and has no
// default, in what would be its value: compose-go takes an empty text for it.
const unsetMark = "\x00"

// lookupIn gives the values of variables. What it gives for one that is not
// set, compose-go uses only if there is no default.
func lookupIn(values map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		if value, ok := values[name]; ok {
			return value, true
		}
		return unsetMark + name + unsetMark, false
	}
}

func unset(text string) string {
	_, rest, ok := strings.Cut(text, unsetMark)
	if !ok {
		return ""
	}
	name, _, _ := strings.Cut(rest, unsetMark)
	return name
}

func unsetMessage(name string) string { return fmt.Sprintf("`${%s}` names no variable", name) }

// check notes everything in which a file is not as the specification wants it.
func (p *project) check(cfg map[string]any, at places, file string) {
	compiled, err := compiledSchema()
	if err != nil {
		p.note(err.Error(), place{file: file})
		return
	}
	var invalid *jsonschema.ValidationError
	if errors.As(compiled.Validate(plain(cfg)), &invalid) {
		p.describe(invalid, cfg, at)
	}
}

func (p *project) describe(failed *jsonschema.ValidationError, cfg map[string]any, at places) {
	switch reasons := failed.ErrorKind.(type) {
	case *kind.FalseSchema:
		// Keys that no part of a service's schema has evaluated: unknown ones, and, where something else is wrong with
		// the service, others too.
		parts := failed.InstanceLocation
		if !schemaKeys()[parts[len(parts)-1]] {
			p.without(cfg, parts, at)
		}
		return
	case *kind.AdditionalProperties:
		for _, key := range reasons.Properties {
			p.without(cfg, append(slices.Clone(failed.InstanceLocation), key), at)
		}
		return
	case *kind.AnyOf, *kind.OneOf:
		// One of several forms: what is said of the one that was meant goes deepest.
		var deepest *jsonschema.ValidationError
		alike := true
		for _, cause := range failed.Causes {
			for len(cause.Causes) == 1 {
				cause = cause.Causes[0]
			}
			if deepest == nil || len(cause.InstanceLocation) > len(deepest.InstanceLocation) {
				alike = deepest == nil
				deepest = cause
			}
			alike = alike && len(cause.InstanceLocation) == len(failed.InstanceLocation)
		}
		if deepest != nil && !alike {
			p.describe(deepest, cfg, at)
			return
		}
	default:
		if len(failed.Causes) > 0 {
			for _, cause := range failed.Causes {
				p.describe(cause, cfg, at)
			}
			return
		}
	}
	name := "The file"
	if parts := failed.InstanceLocation; len(parts) > 0 {
		name = "`" + parts[len(parts)-1] + "`"
		if isIndex(parts[len(parts)-1]) && len(parts) > 1 {
			name = fmt.Sprintf("An item of `%s`", parts[len(parts)-2])
		}
	}
	p.note(name+" "+wanted(failed), at.of(failed.InstanceLocation...))
}

// without takes an unknown key out, so that what else is wrong is found too.
func (p *project) without(cfg map[string]any, path []string, at places) {
	key := path[len(path)-1]
	p.unknown = append(p.unknown, unknownKey(key, at.of(path...)))
	var around any = cfg
	for _, part := range path[:len(path)-1] {
		switch v := around.(type) {
		case map[string]any:
			around = v[part]
		case []any:
			if i, err := strconv.Atoi(part); err == nil && i < len(v) {
				around = v[i]
			}
		}
	}
	if mapping, ok := around.(map[string]any); ok {
		delete(mapping, key)
	}
}

func wanted(failed *jsonschema.ValidationError) string {
	words := map[string]bool{}
	var walk func(*jsonschema.ValidationError)
	walk = func(e *jsonschema.ValidationError) {
		if reasons, ok := e.ErrorKind.(*kind.Type); ok {
			for _, word := range reasons.Want {
				words[typeWords[word]] = true
			}
		}
		for _, cause := range e.Causes {
			walk(cause)
		}
	}
	walk(failed)
	if len(words) > 0 {
		var list []string
		for word := range words {
			list = append(list, word)
		}
		slices.Sort(list)
		return "should be " + strings.Join(list, " or ")
	}
	return "is not as Compose has it: " + failed.ErrorKind.LocalizedString(message.NewPrinter(language.English))
}

var typeWords = map[string]string{
	"string": "a text", "number": "a number", "integer": "a whole number", "boolean": "true or false",
	"object": "a mapping", "array": "a list", "null": "empty",
}

func unknownKey(key string, at place) problem {
	return problem{Unknown: key, File: at.file, Line: at.keyLine, Column: at.key}
}

// plain is a value in the types that the schema's library knows, which are
// JSON's.
func plain(value any) any {
	text, err := json.Marshal(value)
	if err != nil {
		return nil
	}
	var out any
	if json.Unmarshal(text, &out) != nil {
		return nil
	}
	return out
}

// schemaKeys are those of a service, which the schema has in several parts.
var schemaKeys = sync.OnceValue(func() map[string]bool {
	var whole struct {
		Defs map[string]struct {
			Properties map[string]any `json:"properties"`
		} `json:"$defs"`
		Definitions map[string]struct {
			Properties map[string]any `json:"properties"`
		} `json:"definitions"`
	}
	out := map[string]bool{}
	if json.Unmarshal([]byte(schema.Schema), &whole) == nil {
		for _, part := range []string{"service", "container_spec", "workload_spec", "job", "pre_start_hook"} {
			maps.Copy(out, trues(whole.Defs[part].Properties))
			maps.Copy(out, trues(whole.Definitions[part].Properties))
		}
	}
	return out
})

func trues(of map[string]any) map[string]bool {
	out := map[string]bool{}
	for key := range of {
		out[key] = true
	}
	return out
}

// compiledSchema is the specification's, compiled when it is first needed.
var compiledSchema = sync.OnceValues(func() (*jsonschema.Schema, error) {
	text, err := jsonschema.UnmarshalJSON(strings.NewReader(schema.Schema))
	if err != nil {
		return nil, err
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("compose-spec.json", text); err != nil {
		return nil, err
	}
	return compiler.Compile("compose-spec.json")
})
