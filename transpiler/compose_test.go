package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/coreos/ignition/v2/config/util"
	ign "github.com/coreos/ignition/v2/config/v3_6"
	"github.com/coreos/ignition/v2/config/v3_6/types"
)

// generated is a config with some of every kind that Ignition merges; names
// come from a small set, so that two configs often have one in common.
func generated(r *rand.Rand) types.Config {
	var c types.Config
	c.Ignition.Version = types.MaxVersion.String()
	some := func(what func(name string)) {
		for n := range 4 {
			if r.IntN(3) == 0 {
				what(string(rune('a' + n)))
			}
		}
	}
	text := func() *string {
		if r.IntN(3) == 0 {
			return nil
		}
		return util.StrToPtr(fmt.Sprintf("data:,%d", r.IntN(3)))
	}
	number := func() *int {
		if r.IntN(3) == 0 {
			return nil
		}
		return util.IntToPtr(r.IntN(512))
	}
	node := func(prefix, name string) types.Node {
		return types.Node{Path: "/" + prefix + "/" + name, User: types.NodeUser{ID: number()}}
	}
	some(func(name string) {
		f := types.File{Node: node("f", name)}
		f.Contents.Source, f.Mode = text(), number()
		if r.IntN(4) == 0 {
			f.Append = []types.Resource{{Source: util.StrToPtr("data:,more")}}
			f.Contents = types.Resource{}
		}
		c.Storage.Files = append(c.Storage.Files, f)
	})
	some(func(name string) {
		d := types.Directory{Node: node("d", name)}
		d.Mode = number()
		c.Storage.Directories = append(c.Storage.Directories, d)
	})
	some(func(name string) {
		l := types.Link{Node: node("l", name)}
		l.Target = util.StrToPtr(fmt.Sprintf("/t%d", r.IntN(2)))
		c.Storage.Links = append(c.Storage.Links, l)
	})
	some(func(name string) {
		u := types.Unit{Name: name + ".service", Mask: util.BoolToPtr(r.IntN(2) == 0)}
		some(func(drop string) {
			u.Dropins = append(u.Dropins, types.Dropin{Name: drop + ".conf", Contents: util.StrToPtr("[Unit]\n")})
		})
		c.Systemd.Units = append(c.Systemd.Units, u)
	})
	some(func(name string) {
		u := types.PasswdUser{Name: name, UID: number()}
		some(func(key string) {
			u.SSHAuthorizedKeys = append(u.SSHAuthorizedKeys, types.SSHAuthorizedKey("ssh-ed25519 "+key))
		})
		c.Passwd.Users = append(c.Passwd.Users, u)
	})
	some(func(name string) {
		c.Passwd.Groups = append(c.Passwd.Groups, types.PasswdGroup{Name: name, Gid: number()})
	})
	some(func(name string) {
		d := types.Disk{Device: "/dev/" + name, WipeTable: util.BoolToPtr(r.IntN(2) == 0)}
		some(func(label string) {
			d.Partitions = append(d.Partitions, types.Partition{Label: util.StrToPtr(label), SizeMiB: number()})
		})
		c.Storage.Disks = append(c.Storage.Disks, d)
	})
	some(func(name string) {
		c.Storage.Filesystems = append(c.Storage.Filesystems, types.Filesystem{
			Device: "/dev/disk/" + name, Format: util.StrToPtr("xfs"), Label: util.StrToPtr(name),
		})
	})
	some(func(name string) {
		argument := types.KernelArgument("k=" + name)
		c.KernelArguments.ShouldExist = append(c.KernelArguments.ShouldExist, argument)
	})
	return c
}

func TestComposingIsIgnitionsOwnMerge(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			composeAndCompare(t, rand.New(rand.NewPCG(seed, 1)), 250)
		})
	}
}

func composeAndCompare(t *testing.T, r *rand.Rand, rounds int) {
	compared := 0
	for round := range rounds {
		s := newStore()
		var handles []int
		var want types.Config
		for n := range 2 + r.IntN(4) {
			c := generated(r)
			text, err := canonical(c)
			if err != nil {
				t.Fatal(err)
			}
			handle, slot := s.reserve()
			p, out := load(request{Kind: "ignition", Text: text})
			if p == nil {
				t.Fatalf("%s: %+v\n%s", out.Error, out.Report, text)
			}
			slot.part = p
			close(slot.done)
			handles = append(handles, handle)
			if n == 0 {
				want = c
			} else {
				want = ign.Merge(want, c)
			}
		}
		got := s.compose(s.slots, request{Handles: handles, MaxVersion: types.MaxVersion.String()})
		if got.Error != "" && got.Error != "the merged config is not valid" {
			t.Fatalf("round %d: %s", round, got.Error)
		}
		if got.Config == "" {
			continue // Ignition merges these too, but no machine would take the result.
		}
		compared++
		want.Ignition.Version = got.Version
		text, err := canonical(want)
		if err != nil {
			t.Fatal(err)
		}
		if got.Config != text {
			t.Fatalf("round %d: got\n%s\nwant\n%s", round, got.Config, text)
		}
	}
	if compared < rounds/2 {
		t.Fatalf("only %d of the merged configs were valid", compared)
	}
}

func TestRepliesComeInTheOrderOfTheRequests(t *testing.T) {
	var in bytes.Buffer
	for n := range 200 {
		fmt.Fprintf(&in, `{"op":"load","kind":"ignition","text":%q}`+"\n",
			fmt.Sprintf(`{"ignition":{"version":"3.0.0"},"passwd":{"users":[{"name":"u%d"}]}}`, n))
		fmt.Fprintf(&in, `{"op":"compose","handles":[%d,1],"max_version":"3.6.0"}`+"\n", n+1)
	}
	var out bytes.Buffer
	if err := serve(&in, &out); err != nil {
		t.Fatal(err)
	}
	replies := json.NewDecoder(&out)
	for n := range 200 {
		var loaded, composed reply
		if err := replies.Decode(&loaded); err != nil || loaded.Handle != n+1 {
			t.Fatalf("%d: %v %+v", n, err, loaded)
		}
		if err := replies.Decode(&composed); err != nil || !strings.Contains(composed.Config, fmt.Sprintf(`"u%d"`, n)) {
			t.Fatalf("%d: %v %+v", n, err, composed)
		}
	}
}

func TestTheFoldersOfAUsersFilesBelongToTheUser(t *testing.T) {
	file := func(path, user string) types.File {
		return types.File{Node: types.Node{Path: path, User: types.NodeUser{Name: util.StrToPtr(user)}}}
	}
	var c types.Config
	c.Passwd.Users = []types.PasswdUser{{Name: "app", UID: util.IntToPtr(2001), HomeDir: util.StrToPtr("/var/lib/app")}}
	c.Storage.Files = []types.File{
		file("/var/home/core/.config/systemd/user/x.service", "core"),
		file("/home/root/x/y", "root"),
		file("/etc/deep/x", "core"),
		{Node: types.Node{Path: "/var/lib/app/a/b", User: types.NodeUser{ID: util.IntToPtr(2001)}}},
	}
	c.Storage.Directories = []types.Directory{{Node: types.Node{Path: "/var/home/core/.config/systemd"}}}
	var made []string
	for _, d := range ownParents(c).Storage.Directories[1:] {
		made = append(made, d.Path)
	}
	want := "/var/home/core/.config /var/home/core/.config/systemd/user /var/lib/app/a"
	if got := strings.Join(made, " "); got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
}
