package main

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/coreos/ignition/v2/config/v3_6/types"
)

// quadletFolder is where Podman's generator looks for what becomes a service.
const quadletFolder = "/etc/containers/systemd/"

// quadletSuffix says what a Quadlet file's service is called beside its name
// (podman-systemd.unit(5)).
var quadletSuffix = map[string]string{
	".container": "", ".kube": "", ".pod": "-pod", ".network": "-network", ".volume": "-volume", ".image": "-image",
	".build": "-build",
}

// ownParents gives the folders that a user's files need, below the user's
// home, to that user. Ignition itself makes missing folders root's, in which
// the user's programs then cannot write.
func ownParents(config types.Config) types.Config {
	homes := homesOf(config.Passwd.Users)
	declared := map[string]bool{}
	owned := map[string]types.Node{}
	note := func(n types.Node) {
		declared[n.Path] = true
		for _, home := range homes(n.User) {
			for folder := path.Dir(n.Path); strings.HasPrefix(folder, home+"/"); folder = path.Dir(folder) {
				if known, ok := owned[folder]; !ok || n.Path < known.Path {
					owned[folder] = n
				}
			}
		}
	}
	for _, f := range config.Storage.Files {
		note(f.Node)
	}
	for _, d := range config.Storage.Directories {
		note(d.Node)
	}
	for _, l := range config.Storage.Links {
		note(l.Node)
	}
	var made []types.Directory
	for _, folder := range slices.Sorted(maps.Keys(owned)) {
		if !declared[folder] {
			n := owned[folder]
			made = append(made, types.Directory{Node: types.Node{Path: folder, User: n.User, Group: n.Group}})
		}
	}
	// A merged config is shared with other nodes': its list must not grow.
	config.Storage.Directories = slices.Concat(config.Storage.Directories, made)
	return config
}

// homesOf returns a function that gives the home folders of a user: none for
// root and for one that cannot be known.
func homesOf(users []types.PasswdUser) func(types.NodeUser) []string {
	return func(owner types.NodeUser) []string {
		var name string
		if owner.Name != nil {
			name = *owner.Name
		}
		for _, u := range users {
			if u.Name == name || (owner.ID != nil && u.UID != nil && *owner.ID == *u.UID) {
				if u.HomeDir != nil {
					return []string{path.Clean(*u.HomeDir)}
				}
				name = u.Name
			}
		}
		if name == "" || name == "root" {
			return nil
		}
		// /home is a link to /var/home on Fedora CoreOS.
		return []string{"/home/" + name, "/var/home/" + name}
	}
}

// generatedUnits reports units that are enabled or disabled though Podman's
// generator makes them: systemd cannot, and says so only on the node.
func generatedUnits(config types.Config) []entry {
	made := map[string]string{}
	for _, f := range config.Storage.Files {
		ext := path.Ext(f.Path)
		if suffix, ok := quadletSuffix[ext]; ok && strings.HasPrefix(f.Path, quadletFolder) {
			made[strings.TrimSuffix(path.Base(f.Path), ext)+suffix+".service"] = f.Path
		}
	}
	var out []entry
	for i, u := range config.Systemd.Units {
		if source, ok := made[u.Name]; ok && u.Enabled != nil {
			out = append(out, entry{
				Level: "error",
				Path:  fmt.Sprintf("$.systemd.units.%d.enabled", i),
				Message: fmt.Sprintf("%s is generated from %s, so it cannot be enabled or disabled; "+
					"an [Install] section in that file does it", u.Name, source),
			})
		}
	}
	return out
}
