// Command loop does what rendering a fleet cannot do without, in the shortest
// way: onto one config it merges what only a node has, validates the whole and
// prints it, for each of a number of nodes. `make bench` builds it with the
// versions that the transpiler is built with.
//
//	loop NODES CONFIG.ign
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strconv"

	ign "github.com/coreos/ignition/v2/config/v3_6"
	"github.com/coreos/ignition/v2/config/validate"
)

const own = `{"ignition":{"version":"3.6.0"},"storage":{"files":[{"path":"/etc/hostname","overwrite":true,` +
	`"mode":420,"contents":{"source":"data:,all-%d"}}]}}`

func main() {
	if err := render(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "loop:", err)
		os.Exit(1)
	}
}

func render(count, name string) error {
	nodes, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	shared, _, err := ign.ParseCompatibleVersion(text)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for node := range nodes {
		head, _, err := ign.ParseCompatibleVersion(fmt.Appendf(nil, own, node))
		if err != nil {
			return err
		}
		config := ign.Merge(head, shared)
		if report := validate.ValidateWithContext(config, nil); report.IsFatal() {
			return fmt.Errorf("node %d: %s", node, report.String())
		}
		text, err := json.Marshal(config)
		if err != nil {
			return err
		}
		out.Write(text)
		out.WriteByte('\n')
	}
	return nil
}
