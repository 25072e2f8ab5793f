// Command transpiler is fleet's child process: it translates Butane to
// Ignition, validates and merges, with the real libraries of both projects.
//
// It reads one JSON request a line from standard input and writes one JSON
// reply a line to standard output, in order, until the input ends. There are
// two requests:
//
//   - load takes one snippet and answers with a handle for it, or with the
//     reasons why it is not valid, each with its line and column;
//   - compose takes handles in order and answers with the one merged,
//     validated config as canonical JSON, and with what the merge lost.
//
// Nothing of a request outlives the process, and no reply depends on the
// clock, the environment or the order of map keys.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime/debug"
)

// request is one line of input. Which fields count depends on Op.
type request struct {
	Op string `json:"op"`

	// load
	Kind     string `json:"kind"`      // "butane" or "ignition"
	Text     string `json:"text"`      // the snippet as the user wrote it
	FilesDir string `json:"files_dir"` // folder that Butane's local files resolve in; empty: none allowed

	// compose
	Handles    []int  `json:"handles"`
	MaxVersion string `json:"max_version"` // newest Ignition spec allowed, for example "3.5.0"
}

// reply is one line of output.
type reply struct {
	Error  string  `json:"error,omitempty"` // why there is no result
	Report []entry `json:"report,omitempty"`

	Handle int `json:"handle,omitempty"` // load

	Config  string `json:"config,omitempty"`  // compose: canonical Ignition JSON
	Version string `json:"version,omitempty"` // compose: its spec version
	Losses  []loss `json:"losses,omitempty"`  // compose
}

func main() {
	// The process is short-lived and small: memory is cheaper than collecting.
	debug.SetGCPercent(800)
	if err := serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "transpiler:", err)
		os.Exit(1)
	}
}

func serve(in io.Reader, out io.Writer) error {
	w := bufio.NewWriter(out)
	requests := json.NewDecoder(bufio.NewReaderSize(in, 1<<16))
	replies := json.NewEncoder(w)
	replies.SetEscapeHTML(false)
	s := newStore()
	for {
		var req request
		if err := requests.Decode(&req); err == io.EOF {
			return nil
		} else if err != nil {
			return fmt.Errorf("reading a request: %w", err)
		}
		if err := replies.Encode(s.answer(req)); err != nil {
			return err
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
}

func (s *store) answer(req request) reply {
	switch req.Op {
	case "load":
		return s.load(req)
	case "compose":
		return s.compose(req)
	default:
		return reply{Error: fmt.Sprintf("unknown op %q", req.Op)}
	}
}
