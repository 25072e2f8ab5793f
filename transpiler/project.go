package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/interpolation"
	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/override"
	"github.com/compose-spec/compose-go/v2/paths"
	"github.com/compose-spec/compose-go/v2/template"
	"github.com/compose-spec/compose-go/v2/transform"
	"github.com/compose-spec/compose-go/v2/tree"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/compose-spec/compose-go/v2/validation"
	"github.com/sirupsen/logrus"
)

// A Compose project is read by compose-go: interpolation, the schema, merges,
// canonical forms and env files are its. What is done here is to walk from file
// to file (include, extends, env_file), since compose-go opens whatever a path
// leads to, and to keep the place of every value, of which it keeps none.

// besideFile begins a path in the model that is relative to a Compose file,
// followed by that path, absolute: a path without it is the node's.
const besideFile = "/.beside-compose-file"

// largestFile is more than anybody writes by hand, in bytes.
const largestFile = 8 << 20

// longestChain is how many files may include, and services extend, one another.
const longestChain = 50

func init() {
	// compose-go warns of what is an error here, or does not matter.
	logrus.SetOutput(io.Discard)
}

// problem is one reason why there is no model.
type problem struct {
	Message string `json:"message"`
	Unknown string `json:"unknown,omitempty"` // a key that the specification does not have; Message is empty then
	Outside bool   `json:"outside,omitempty"` // it is that a file is not in the root
	Syntax  bool   `json:"syntax,omitempty"`  // it is that a file is no YAML; often without a line
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
}

// refused is the error of problems that are noted already.
var refused = errors.New("the project has problems")

// project is one Compose project while it is read.
type project struct {
	root     string // what files have to be in, wherever symbolic links lead; empty: anywhere
	problems []problem
	unknown  []problem // keys that the specification does not have; the model is without them
}

// readProject answers a request for a Compose project.
func readProject(req request) (out reply) {
	p := &project{}
	// compose-go takes parts for what its schema does not promise. No other request may end by that.
	defer func() {
		if failed := recover(); failed != nil {
			p.note("compose-go, which reads Compose files, fails on this one: a part of it is empty, or of another kind than it "+
				"should be", place{file: req.Path})
			out = reply{Problems: append(p.problems, p.unknown...)}
		}
	}()
	if req.Root != "" {
		root, err := filepath.EvalSymlinks(req.Root)
		if err != nil {
			return reply{Error: err.Error()}
		}
		p.root = root
	}
	raw, err := p.read(req.Path, "The Compose file", place{file: req.Path})
	environment := variables(req.Variables, raw)
	if err == nil {
		environment, err = p.dotEnv(filepath.Dir(req.Path), environment)
	}
	var model map[string]any
	at := places{}
	if err == nil {
		model, at, err = p.load([]string{req.Path}, filepath.Dir(req.Path), environment, nil)
	}
	if err == nil {
		if services, ok := model["services"].(map[string]any); !ok || len(services) == 0 {
			p.note("There are no `services`", at.of("services"))
		}
		p.environments(model, at, environment)
	} else if !errors.Is(err, refused) {
		p.note(err.Error(), place{file: req.Path})
	}
	out = reply{Problems: append(p.problems, p.unknown...)}
	if len(p.problems) == 0 {
		out.Model, out.Places = withoutExtensions(model, nil), at.listed()
	}
	return out
}

// variables are those of the request, and the project's name where the Compose
// file says it. Compose would take the folder's name otherwise, which is another
// one on another machine.
func variables(given map[string]string, raw []byte) map[string]string {
	out := map[string]string{}
	if name := namePattern.FindSubmatch(raw); name != nil {
		out[nameVariable] = string(name[1])
	}
	maps.Copy(out, given)
	return out
}

const nameVariable = "COMPOSE_PROJECT_NAME"

var namePattern = regexp.MustCompile(`(?m)^name:[ \t]+["']?([a-z0-9][a-z0-9_-]*)["']?[ \t]*(?:#.*)?$`)

func (p *project) note(message string, at place) {
	p.problems = append(p.problems, problem{Message: message, File: at.file, Line: at.line, Column: at.column})
}

// read gives the bytes of a file that the project names.
func (p *project) read(path string, what string, at place) ([]byte, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		p.note(fmt.Sprintf("%s %s cannot be read: %s", what, path, reason(err)), at)
		return nil, refused
	}
	if p.root != "" && !within(real, p.root) {
		p.problems = append(p.problems, problem{
			Message: fmt.Sprintf("%s is %s, which leads to %s", what, path, real),
			Outside: true, File: at.file, Line: at.line, Column: at.column,
		})
		return nil, refused
	}
	info, err := os.Stat(real)
	if err == nil && !info.Mode().IsRegular() {
		p.note(fmt.Sprintf("%s %s is no file", what, path), at)
		return nil, refused
	}
	var raw []byte
	if err == nil && info.Size() > largestFile {
		p.note(fmt.Sprintf("%s %s is larger than %d MiB", what, path, largestFile>>20), at)
		return nil, refused
	}
	if err == nil {
		raw, err = os.ReadFile(real)
	}
	if err != nil {
		p.note(fmt.Sprintf("%s %s cannot be read: %s", what, path, reason(err)), at)
		return nil, refused
	}
	return raw, nil
}

func reason(err error) string {
	var failed *os.PathError
	if errors.As(err, &failed) {
		return failed.Err.Error()
	}
	return err.Error()
}

// dotEnv adds to an environment what the file .env of a folder says, where
// there is one.
func (p *project) dotEnv(folder string, environment map[string]string) (map[string]string, error) {
	path := filepath.Join(folder, ".env")
	if info, err := os.Stat(path); err != nil || info.IsDir() {
		return environment, nil
	}
	return p.withEnvFile(path, "", place{file: path}, environment, environment)
}

// withEnvFile adds what an env file says to what is set already, which stays.
func (p *project) withEnvFile(
	path, format string, at place, environment, set map[string]string,
) (map[string]string, error) {
	raw, err := p.read(path, "The env file", at)
	if err != nil {
		return nil, err
	}
	read, missing := map[string]string{}, map[string]bool{}
	lookup := func(name string) (string, bool) {
		value, ok := environment[name]
		if _, known := read[name]; !ok && !known {
			missing[name] = true // and may have a default
		}
		return value, ok
	}
	if err := dotenv.ParseWithFormat(bytes.NewReader(raw), path, read, lookup, format); err != nil {
		p.note(fmt.Sprintf("The env file %s cannot be read: %s", path, firstLine(err)), at)
		return nil, refused
	}
	for i, line := range strings.Split(string(raw), "\n") {
		if what := bare(line, missing); what != "" {
			p.note(what, place{file: path, line: i + 1, column: 1})
			err = refused
		}
	}
	out := maps.Clone(set)
	for key, value := range read {
		if _, ok := out[key]; !ok {
			out[key] = value
		}
	}
	return out, err
}

var (
	bareReference = regexp.MustCompile(`\$\$|\$([A-Za-z_][A-Za-z0-9_]*)|\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)
	bareName      = regexp.MustCompile(`^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*$`)
)

// bare says what is wrong with a line of an env file that takes the value of a
// variable that is not set, for which compose-go takes an empty text. It quotes
// nothing: the line may be a password with a dollar sign.
func bare(line string, missing map[string]bool) string {
	if strings.HasPrefix(strings.TrimSpace(line), "#") {
		return ""
	}
	if name := bareName.FindStringSubmatch(line); name != nil && missing[name[1]] {
		return "The line has no value, and there is no variable of its name"
	}
	for _, names := range bareReference.FindAllStringSubmatch(line, -1) {
		if missing[names[1]] || missing[names[2]] {
			return "A `$` begins a reference here to a variable that is not set: write a dollar sign itself as `$$`, or put " +
				"the value into single quotes"
		}
	}
	return ""
}

// firstLine is what an error says, without what it quotes of a file.
func firstLine(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n")
	return strings.TrimSuffix(envText.ReplaceAllString(text, ""), ":")
}

// envText is where dotenv's errors quote a file, which may hold what is secret.
var envText = regexp.MustCompile(`( in variable name)? near .*| ".*"$`)

// load reads one or more files, of which later ones override earlier ones, to
// one model in canonical form, with absolute paths.
func (p *project) load(
	files []string, folder string, environment map[string]string, including []string,
) (map[string]any, places, error) {
	if len(including) > longestChain {
		p.note(fmt.Sprintf("The files include one another more than %d deep", longestChain), place{file: files[0]})
		return nil, nil, refused
	}
	details := types.ConfigDetails{WorkingDir: besideFile + folder, Environment: types.Mapping{}}
	at := places{}
	options := loader.ToOptions(&details, nil)
	for _, path := range files {
		if slices.Contains(including, path) {
			p.note("The file includes itself, by "+strings.Join(including, ", "), place{file: path})
			return nil, nil, refused
		}
		cfg, own, err := p.document(path, environment, options)
		if err != nil {
			return nil, nil, err
		}
		if err := p.include(cfg, own, folder, environment, append(including, path)); err != nil {
			return nil, nil, err
		}
		if err := p.extendAll(cfg, own, path, environment, options); err != nil {
			return nil, nil, err
		}
		if p.check(cfg, own, path); len(p.problems) > 0 {
			return nil, nil, refused
		}
		delete(cfg, "version")
		withContexts(cfg)
		withDevices(cfg, folder)
		at.override(own)
		details.ConfigFiles = append(details.ConfigFiles, types.ConfigFile{Filename: path, Config: cfg})
	}
	model, err := loader.LoadModelWithContext(context.Background(), details, func(o *loader.Options) {
		o.SkipValidation = true    // done above, so that every problem is reported
		o.SkipDefaultValues = true // what is written is told from what is not
		o.SkipInclude, o.SkipExtends, o.SkipNormalization, o.SkipConsistencyCheck = true, true, true, true
		o.Interpolate.Substitute = asItIs
		o.SetProjectName("project", true)
	})
	if err == nil {
		err = validation.Validate(model)
	}
	if err != nil {
		p.note(sentence(err.Error()), at.mentioned(err.Error(), files[0]))
		return nil, nil, refused
	}
	return model, at, nil
}

// withContexts gives every build the folder that it has by default.
func withContexts(cfg map[string]any) {
	services, _ := cfg["services"].(map[string]any)
	for _, each := range services {
		service, _ := each.(map[string]any)
		if build, ok := service["build"].(map[string]any); ok && build["context"] == nil {
			build["context"] = "."
		}
	}
}

// withDevices gives every volume that is a folder beside the file that folder's
// path, which compose-go does only where the volume names its driver.
func withDevices(cfg map[string]any, folder string) {
	volumes, _ := cfg["volumes"].(map[string]any)
	for _, each := range volumes {
		volume, _ := each.(map[string]any)
		options, _ := volume["driver_opts"].(map[string]any)
		device, _ := options["device"].(string)
		o, _ := options["o"].(string)
		if device != "" && !filepath.IsAbs(device) && slices.Contains(strings.Split(o, ","), "bind") {
			options["device"] = filepath.Join(besideFile+folder, device)
		}
	}
}

// asItIs takes the place of interpolation where it is done already.
func asItIs(text string, _ template.Mapping) (string, error) { return text, nil }

// document reads one file, with its variables filled in.
func (p *project) document(
	path string, environment map[string]string, options *loader.Options,
) (map[string]any, places, error) {
	raw, err := p.read(path, "The Compose file", place{file: path})
	if err != nil {
		return nil, nil, err
	}
	d := document{file: path, lookup: lookupIn(environment), at: places{}}
	cfg := d.parse(raw)
	p.problems = append(p.problems, d.problems...)
	if len(d.problems) > 0 {
		return nil, nil, refused
	}
	casts := interpolation.Options{
		LookupValue: interpolation.LookupValue(d.lookup), Substitute: asItIs, TypeCastMapping: options.Interpolate.TypeCastMapping,
	}
	typed, err := interpolation.Interpolate(cfg, casts)
	if err != nil {
		for _, line := range strings.Split(err.Error(), "\n") {
			where, _, _ := strings.Cut(strings.TrimPrefix(line, "error while interpolating "), ": ")
			p.note(fmt.Sprintf("The value is none that `%s` can have", where), d.at.mentioned(where, path))
		}
		return nil, nil, refused
	}
	return typed, d.at, nil
}

// include adds the models of the files that a file includes.
func (p *project) include(
	cfg map[string]any, at places, folder string, environment map[string]string, including []string,
) error {
	entries, ok := cfg["include"].([]any)
	if !ok && cfg["include"] != nil {
		p.note("`include` is a list of files", at.of("include"))
		return refused
	}
	for i, entry := range entries {
		where := at.of("include", strconv.Itoa(i))
		var files, envFiles []string
		base := ""
		switch v := entry.(type) {
		case string:
			files = []string{v}
		case map[string]any:
			files, envFiles = texts(v["path"]), texts(v["env_file"])
			if text, ok := v["project_directory"].(string); ok {
				base = beside(folder, text)
			}
			for _, key := range slices.Sorted(maps.Keys(v)) {
				if !slices.Contains([]string{"path", "env_file", "project_directory"}, key) {
					p.unknown = append(p.unknown, unknownKey(key, at.of("include", strconv.Itoa(i), key)))
				}
			}
		}
		if len(files) == 0 || slices.ContainsFunc(append(files, envFiles...), elsewhere) {
			p.note("A file that is included is named by its path: what is fetched from elsewhere could be another one "+
				"tomorrow, so put a copy of it into the project", where)
			return refused
		}
		for j := range files {
			files[j] = beside(folder, files[j])
			// So that errors say who includes what cannot be read.
			if _, err := p.read(files[j], "The included file", where); err != nil {
				return err
			}
		}
		if base == "" {
			base = filepath.Dir(files[0])
		}
		own, err := environment, error(nil)
		if len(envFiles) == 0 {
			own, err = p.dotEnv(base, environment)
		}
		for _, file := range envFiles {
			if err == nil && file != os.DevNull {
				own, err = p.withEnvFile(beside(folder, file), "", where, own, own)
			}
		}
		if err != nil {
			return err
		}
		model, places, err := p.load(files, base, own, including)
		if err != nil {
			return err
		}
		p.environments(model, places, own)
		if err := adopt(cfg, model); err != nil {
			p.note(sentence(err.Error()), where)
			return refused
		}
		at.adopt(places)
	}
	delete(cfg, "include")
	return nil
}

// adopt adds the resources of an included model; those of the file itself
// override them.
func adopt(cfg, included map[string]any) error {
	for _, kind := range []string{"services", "jobs", "volumes", "networks", "secrets", "configs", "models"} {
		from, ok := included[kind].(map[string]any)
		if !ok {
			continue
		}
		into, ok := cfg[kind].(map[string]any)
		if !ok {
			into = map[string]any{}
		}
		for _, name := range slices.Sorted(maps.Keys(from)) {
			own, ok := into[name]
			if !ok || reflect.DeepEqual(own, from[name]) {
				into[name] = from[name]
				continue
			}
			merged, err := override.MergeYaml(from[name], own, tree.NewPath(kind, name))
			if err != nil {
				return err
			}
			into[name] = merged
		}
		cfg[kind] = into
	}
	return nil
}

// extendAll gives every service what it extends.
func (p *project) extendAll(
	cfg map[string]any, at places, path string, environment map[string]string, options *loader.Options,
) error {
	services, _ := cfg["services"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(services)) {
		e := extender{p, environment, options, map[string]*extended{}, nil}
		if err := e.extend(&extended{path, services, at}, name); err != nil {
			return err
		}
	}
	return nil
}

// extended is a file of which services are extended.
type extended struct {
	path     string
	services map[string]any
	at       places
}

type extender struct {
	p           *project
	environment map[string]string
	options     *loader.Options
	files       map[string]*extended
	chain       []string // services that extend the next one
}

// extend replaces a service by it and what it extends.
func (e *extender) extend(file *extended, name string) error {
	service, ok := file.services[name].(map[string]any)
	if !ok || service["extends"] == nil {
		return nil
	}
	where := file.at.of("services", name, "extends")
	ref, other := "", file
	switch v := service["extends"].(type) {
	case string:
		ref = v
	case map[string]any:
		ref, _ = v["service"].(string)
		if path, ok := v["file"].(string); ok {
			var err error
			if other, err = e.file(file, path, where); err != nil {
				return err
			}
		}
	}
	base, ok := other.services[ref].(map[string]any)
	if !ok {
		e.p.note(fmt.Sprintf("%s extends the service %q, which %s does not have", name, ref, other.path), where)
		return refused
	}
	link := file.path + "\x00" + name
	if slices.Contains(e.chain, link) || len(e.chain) > longestChain {
		e.p.note(fmt.Sprintf("%s extends itself, by way of others", name), where)
		return refused
	}
	e.chain = append(e.chain, link)
	if err := e.extend(other, ref); err != nil {
		return err
	}
	base, err := e.canonical(other, file, ref)
	if err != nil {
		return err
	}
	own := maps.Clone(service)
	delete(own, "extends")
	merged, err := override.ExtendService(base, own)
	if err != nil {
		e.p.note(sentence(err.Error()), where)
		return refused
	}
	delete(merged, "extends")
	file.services[name] = merged
	file.at.inherit([]string{"services", name}, other.at, []string{"services", ref})
	return nil
}

// canonical is a copy of a service that is extended; of another file's, with
// the paths that it has there.
func (e *extender) canonical(other, file *extended, name string) (map[string]any, error) {
	base := deepCopy(other.services[name])
	if other != file {
		whole := map[string]any{"services": map[string]any{name: base}}
		whole, err := transform.Canonical(whole, false)
		if err == nil {
			err = paths.ResolveRelativePaths(whole, besideFile+filepath.Dir(other.path), nil)
		}
		if err != nil {
			e.p.note(sentence(err.Error()), other.at.mentioned(err.Error(), other.path))
			return nil, refused
		}
		base = whole["services"].(map[string]any)[name]
	}
	return base.(map[string]any), nil
}

func (e *extender) file(from *extended, path string, where place) (*extended, error) {
	if elsewhere(path) {
		e.p.note("A service is extended from a file of the project, not from elsewhere", where)
		return nil, refused
	}
	path = beside(filepath.Dir(from.path), path)
	if known, ok := e.files[path]; ok {
		return known, nil
	}
	if path == from.path {
		return from, nil
	}
	if _, err := e.p.read(path, "The extended file", where); err != nil {
		return nil, err
	}
	cfg, at, err := e.p.document(path, e.environment, e.options)
	if err != nil {
		return nil, err
	}
	services, _ := cfg["services"].(map[string]any)
	e.files[path] = &extended{path, services, at}
	return e.files[path], nil
}

// environments puts the values of env files, and of variables that are named
// without one, into the services' environments.
func (p *project) environments(model map[string]any, at places, environment map[string]string) {
	services, _ := model["services"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(services)) {
		service, ok := services[name].(map[string]any)
		if !ok {
			continue
		}
		own := asMapping(service["environment"])
		for _, key := range slices.Sorted(maps.Keys(own)) {
			if own[key] == nil {
				if value, ok := environment[key]; ok {
					own[key] = value
				}
			}
		}
		read := map[string]string{}
		entries, _ := service["env_file"].([]any)
		for i, entry := range entries {
			file, ok := entry.(map[string]any)
			if !ok {
				continue
			}
			path, _ := file["path"].(string)
			format, _ := file["format"].(string)
			where := at.of("services", name, "env_file", strconv.Itoa(i))
			path = strings.TrimPrefix(path, besideFile)
			if _, err := os.Stat(path); err != nil && file["required"] == false {
				continue
			}
			// Those of an earlier file are known to a later one, which replaces them.
			known := maps.Clone(environment)
			for key, value := range read {
				if _, ok := known[key]; !ok {
					known[key] = value
				}
			}
			more, err := p.withEnvFile(path, format, where, known, map[string]string{})
			if err != nil {
				continue
			}
			maps.Copy(read, more)
		}
		for key, value := range read {
			if _, ok := own[key]; !ok {
				own[key] = value
			}
		}
		delete(service, "env_file")
		if len(own) > 0 || service["environment"] != nil {
			service["environment"] = own
		}
	}
}

// asMapping gives {A: 1, B: null} for that or for [A=1, B].
func asMapping(value any) map[string]any {
	out := map[string]any{}
	switch v := value.(type) {
	case map[string]any:
		maps.Copy(out, v)
	case []any:
		for _, item := range v {
			key, text, ok := strings.Cut(fmt.Sprint(item), "=")
			out[key] = text
			if !ok {
				out[key] = nil
			}
		}
	}
	return out
}

func texts(value any) []string {
	var out []string
	switch v := value.(type) {
	case string:
		out = []string{v}
	case []any:
		for _, item := range v {
			out = append(out, fmt.Sprint(item))
		}
	}
	return out
}

func beside(folder, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(folder, path)
}

var elsewherePattern = regexp.MustCompile(`^(?:[A-Za-z][A-Za-z0-9+.-]*:|git@|github\.com/)`)

// elsewhere says whether a path is one of another machine.
func elsewhere(path string) bool { return elsewherePattern.MatchString(path) }

func sentence(text string) string {
	text = strings.ReplaceAll(strings.TrimSpace(text), besideFile, "")
	return strings.ToUpper(text[:1]) + text[1:]
}

func deepCopy(value any) any {
	switch v := value.(type) {
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = deepCopy(item)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, item := range v {
			out[key] = deepCopy(item)
		}
		return out
	default:
		return value
	}
}

// writtenKey holds the short form of a volume or device, of which compose-go
// leaves out options that it does not know, and adds others.
const writtenKey = "x-fleet-written"

// longForm is an item of a service's volumes or devices in the long form, with
// the short one as it is written.
func longForm(kind, text string) (any, error) {
	short := text
	// compose-go takes d:/data for a path of Windows, of which a node has none: it is a volume.
	letter := kind == "volumes" && oneLetter.MatchString(text)
	if letter {
		short = text[:1] + text
	}
	whole := map[string]any{"services": map[string]any{"x": map[string]any{kind: []any{short}}}}
	whole, err := transform.Canonical(whole, false)
	if err != nil {
		return nil, err
	}
	items := whole["services"].(map[string]any)["x"].(map[string]any)[kind].([]any)
	item, ok := plain(items[0]).(map[string]any)
	if !ok {
		return text, nil
	}
	if letter {
		item["source"] = text[:1]
	}
	item[writtenKey] = text
	return item, nil
}

var oneLetter = regexp.MustCompile(`^[A-Za-z]:/`)

// freeKeys are mappings whose keys are the user's: a name that begins with x-
// is a name there.
var freeKeys = map[string]bool{
	"services": true, "networks": true, "volumes": true, "secrets": true, "configs": true, "depends_on": true,
	"environment": true, "labels": true, "args": true, "sysctls": true, "driver_opts": true, "annotations": true,
	"options": true, "extra_hosts": true, "ulimits": true, "storage_opt": true, "additional_contexts": true,
}

// withoutExtensions is the model less the keys that the specification leaves
// to others.
func withoutExtensions(value any, parent []string) any {
	switch v := value.(type) {
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = withoutExtensions(item, append(parent, ""))
		}
		return out
	case map[string]any:
		out := map[string]any{}
		free := len(parent) > 0 && freeKeys[parent[len(parent)-1]] && !(len(parent) == 2 && freeKeys[parent[0]])
		for key, item := range v {
			if free || key == writtenKey || !strings.HasPrefix(key, "x-") {
				out[key] = withoutExtensions(item, append(slices.Clone(parent), key))
			}
		}
		return out
	default:
		return value
	}
}
