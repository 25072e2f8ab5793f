package main

import (
	"fmt"

	butane "github.com/coreos/butane/config"
	"github.com/coreos/butane/config/common"
	"github.com/coreos/ignition/v2/config/util"
	ign "github.com/coreos/ignition/v2/config/v3_6"
	"github.com/coreos/ignition/v2/config/v3_6/types"
	"github.com/coreos/vcontext/report"
)

// entry is one finding about a snippet or a merged config.
type entry struct {
	Level   string `json:"level"` // "error", "warning" or "info"
	Message string `json:"message"`
	Key     string `json:"key,omitempty"`    // of a merged config: the entry's own name, for example "/etc/hostname"
	Path    string `json:"path,omitempty"`   // for example "$.storage.files.0.mode"
	Line    int64  `json:"line,omitempty"`   // from 1; 0 where unknown
	Column  int64  `json:"column,omitempty"` // from 1
}

// part is one loaded snippet.
type part struct {
	config  types.Config
	version int // the lowest minor version of spec 3 that holds it
}

// load translates (for Butane) and validates one snippet. Every finding is
// reported; whether a warning is fatal is for the caller to decide. There is no
// part where the reply holds an error.
func load(req request) (*part, reply) {
	raw := []byte(req.Text)
	var findings []entry
	if req.Kind == "butane" {
		if found := unbounded(raw); found != nil {
			return nil, reply{Error: "it cannot be read", Report: []entry{*found}}
		}
		if req.FilesDir != "" {
			if found := unreadable(raw, req.FilesDir); len(found) > 0 {
				return nil, reply{Error: "a local file cannot be read", Report: found}
			}
		}
		if req.Root != "" && req.FilesDir != "" {
			if found := outside(raw, req.FilesDir, req.Root); len(found) > 0 {
				return nil, reply{Outside: found}
			}
		}
		translated, rpt, err := butane.TranslateBytes(raw, common.TranslateBytesOptions{
			TranslateOptions: common.TranslateOptions{
				FilesDir: req.FilesDir,
				// A compressor's output may change with its version, and with it
				// the digest. The whole config is compressed on delivery instead.
				NoResourceAutoCompression: true,
			},
			Raw: true, // the openshift variants: no MachineConfig around it
		})
		findings = entries(rpt)
		if err != nil {
			return nil, reply{Error: err.Error(), Report: findings}
		}
		raw = translated
	}
	config, rpt, err := ign.ParseCompatibleVersion(raw)
	if err != nil {
		return nil, reply{Error: describe(err, req.Kind), Report: append(findings, entries(rpt)...)}
	}
	if req.Kind == "ignition" {
		findings = entries(rpt)
	}
	version, err := lowest(config, declared(raw))
	if err != nil {
		return nil, reply{Error: err.Error(), Report: findings}
	}
	return &part{config, version}, reply{Report: findings}
}

// declared is the minor version that a config which Ignition has read says it
// is written in: the lowest that holds it is no higher.
func declared(raw []byte) int {
	version, _, err := util.GetConfigVersion(raw)
	if err != nil {
		return minorOf(types.MaxVersion.String())
	}
	return int(version.Minor)
}

func describe(err error, kind string) string {
	if kind == "butane" {
		// The translation itself succeeded, so only its target can be at fault.
		return fmt.Sprintf("this variant and version translate to an experimental Ignition spec: %v", err)
	}
	return err.Error()
}

func entries(rpt report.Report) []entry {
	var out []entry
	for _, e := range rpt.Entries {
		found := entry{Level: e.Kind.String(), Message: e.Message}
		if e.Context.Len() > 0 {
			found.Path = e.Context.String()
		}
		if p := e.Marker.StartP; p != nil {
			found.Line, found.Column = p.Line, p.Column
		}
		out = append(out, found)
	}
	return out
}
