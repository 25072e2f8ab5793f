// Command transpiler is fleet's child process: it translates Butane to
// Ignition, validates and merges, with the real libraries of both projects.
//
// It reads one JSON request a line from standard input and writes one JSON
// reply a line to standard output, in order, until the input ends. A caller may
// send up to 64 requests ahead of the replies: they are worked on in parallel.
// There are six requests:
//
//   - load takes one snippet and answers with a handle for it, or with the
//     reasons why it is not valid, each with its line and column;
//   - compose takes handles in order and answers with the one merged,
//     validated config as canonical JSON, and with what the merge lost;
//   - project takes the path of a Compose file and answers with its model in
//     canonical form, as compose-go reads it, and with the place of everything
//     in it, or with every reason why there is none;
//   - ignored takes an ignore file of a build and names of files, and answers
//     with those names that it does not exclude;
//   - compress takes a text and answers with base64 of its gzip;
//   - digest takes a container image's reference and answers with the digest
//     that its registry has for it.
//
// Nothing of a request outlives the process, and no reply but digest's, which
// asks a server, depends on the clock, the environment or the order of map keys.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
)

// request is one line of input. Which fields count depends on Op.
type request struct {
	Op string `json:"op"`

	// load
	Kind     string `json:"kind"`      // "butane" or "ignition"
	Text     string `json:"text"`      // the snippet as the user wrote it; for compress, any text; for digest, a reference; for ignored, the ignore file
	FilesDir string `json:"files_dir"` // folder that Butane's local files resolve in; empty: none allowed
	Root     string `json:"root"`      // folder that they must be in, wherever symbolic links lead; empty: anywhere

	// compose
	Handles    []int  `json:"handles"`
	MaxVersion string `json:"max_version"` // newest Ignition spec allowed, for example "3.5.0"

	// project; Root counts as for load
	Path      string            `json:"path"`      // of the Compose file, absolute
	Variables map[string]string `json:"variables"` // what ${NAME} stands for

	// ignored
	Names []string `json:"names"` // of files, relative to the build's folder
}

// reply is one line of output.
type reply struct {
	Error  string  `json:"error,omitempty"` // why there is no result
	Report []entry `json:"report,omitempty"`

	Handle  int     `json:"handle,omitempty"`  // load
	Outside []entry `json:"outside,omitempty"` // load: local files that are not in the root

	Config  string `json:"config,omitempty"`  // compose: canonical Ignition JSON
	Version string `json:"version,omitempty"` // compose: its spec version
	Losses  []loss `json:"losses,omitempty"`  // compose

	Model    any       `json:"model,omitempty"`    // project
	Places   [][]any   `json:"places,omitempty"`   // project: of the model's parts
	Problems []problem `json:"problems,omitempty"` // project

	Names []string `json:"names,omitempty"` // ignored

	Data string `json:"data,omitempty"` // compress, digest
}

func main() {
	// The process is short-lived and small: memory is cheaper than collecting.
	debug.SetGCPercent(800)
	if err := serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "transpiler:", err)
		os.Exit(1)
	}
}

// ahead is how many requests may wait for their replies to be written.
const ahead = 64

// serve answers until the input ends.
func serve(in io.Reader, out io.Writer) error {
	queue := make(chan chan reply, ahead)
	var failed error
	go func() {
		defer close(queue)
		failed = readRequests(in, queue)
	}()
	w := bufio.NewWriter(out)
	replies := json.NewEncoder(w)
	replies.SetEscapeHTML(false)
	for pending := range queue {
		if err := replies.Encode(<-pending); err != nil {
			return err
		}
		if len(queue) == 0 {
			if err := w.Flush(); err != nil {
				return err
			}
		}
	}
	return failed
}

func readRequests(in io.Reader, queue chan<- chan reply) error {
	requests := json.NewDecoder(bufio.NewReaderSize(in, 1<<16))
	cores := make(chan struct{}, runtime.GOMAXPROCS(0))
	s := newStore()
	for {
		var req request
		if err := requests.Decode(&req); err == io.EOF {
			return nil
		} else if err != nil {
			return fmt.Errorf("reading a request: %w", err)
		}
		pending := make(chan reply, 1)
		queue <- pending
		work := s.begin(req)
		cores <- struct{}{}
		go func() {
			pending <- work()
			<-cores
		}()
	}
}

// begin takes requests in their order, since loading gives out handles, and
// returns the work to be done. Work only ever waits for that of an earlier
// request.
func (s *store) begin(req request) func() reply {
	switch req.Op {
	case "load":
		handle, slot := s.reserve()
		return func() reply {
			defer close(slot.done)
			p, out := load(req)
			if p != nil {
				slot.part, out.Handle = p, handle
			}
			return out
		}
	case "compose":
		slots := s.slots
		return func() reply { return s.compose(slots, req) }
	case "project":
		return func() reply { return readProject(req) }
	case "ignored":
		return func() reply { return notIgnored(req.Text, req.Names) }
	case "compress":
		return func() reply { return compress(req.Text) }
	case "digest":
		return func() reply { return digest(req.Text) }
	default:
		return func() reply { return reply{Error: fmt.Sprintf("unknown op %q", req.Op)} }
	}
}
