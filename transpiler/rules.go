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

// ownHomes gives what lies below a user's home to that user, where nothing says
// whose it is: Butane's trees say nothing, and Ignition makes it root's.
func ownHomes(config types.Config) types.Config {
	homes := map[string]types.PasswdUser{}
	for _, u := range append([]types.PasswdUser{{Name: "core"}}, config.Passwd.Users...) {
		for _, home := range homesOfUser(u) {
			// A user whose home is /etc or /var/lib owns nothing of it by that.
			if strings.Count(home, "/") > 1 && !systemFolders[home] {
				homes[home] = u
			}
		}
	}
	own := func(n types.Node) types.Node {
		if n.User.Name != nil || n.User.ID != nil || n.Group.Name != nil || n.Group.ID != nil {
			return n
		}
		for folder := path.Dir(n.Path); folder != "/" && folder != "."; folder = path.Dir(folder) {
			if u, ok := homes[folder]; ok {
				n.User.Name = &u.Name
				n.Group.Name = groupOf(u)
				break
			}
		}
		return n
	}
	// A merged config is shared with other nodes': its lists must not change.
	config.Storage.Files = slices.Clone(config.Storage.Files)
	for i := range config.Storage.Files {
		config.Storage.Files[i].Node = own(config.Storage.Files[i].Node)
	}
	config.Storage.Directories = slices.Clone(config.Storage.Directories)
	for i := range config.Storage.Directories {
		config.Storage.Directories[i].Node = own(config.Storage.Directories[i].Node)
	}
	config.Storage.Links = slices.Clone(config.Storage.Links)
	for i := range config.Storage.Links {
		config.Storage.Links[i].Node = own(config.Storage.Links[i].Node)
	}
	return config
}

// systemFolders are those of many that some system user has for its home.
var systemFolders = map[string]bool{
	"/usr/local": true, "/usr/share": true, "/var/cache": true, "/var/empty": true, "/var/home": true, "/var/lib": true,
	"/var/log": true, "/var/opt": true, "/var/run": true, "/var/spool": true, "/var/srv": true, "/var/tmp": true,
	"/var/usrlocal": true,
}

// groupOf is a user's own group, by name; nil where it has none, or one that
// only the node knows.
func groupOf(u types.PasswdUser) *string {
	if u.PrimaryGroup != nil && *u.PrimaryGroup != "" {
		return u.PrimaryGroup
	}
	if u.NoUserGroup != nil && *u.NoUserGroup {
		return nil
	}
	return &u.Name
}

// homesOfUser are the paths of a user's home: none of root's, whose files are
// root's anyway.
func homesOfUser(u types.PasswdUser) []string {
	if u.Name == "root" {
		return nil
	}
	if u.HomeDir != nil && *u.HomeDir != "" {
		return []string{path.Clean(*u.HomeDir)}
	}
	// /home is a link to /var/home on Fedora CoreOS.
	return []string{"/home/" + u.Name, "/var/home/" + u.Name}
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
				return homesOfUser(u)
			}
		}
		if name == "" {
			return nil
		}
		return homesOfUser(types.PasswdUser{Name: name})
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
