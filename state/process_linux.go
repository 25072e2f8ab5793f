package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// processOf returns which process on this machine is at the other end of a connection, as "PID START": its number and
// when it was started; empty if that is not one of Pulumi's, or it cannot be told.
//
// A proxy or a tunnel has another name: it lives on when an update behind it ends, and may end while that goes on.
func processOf(remote, local string) string {
	inode := socketInode(remote, local)
	if inode == "" {
		return ""
	}
	wanted := "socket:[" + inode + "]"
	descriptors, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, descriptor := range descriptors {
		if target, err := os.Readlink(descriptor); err != nil || target != wanted {
			continue
		}
		pid := strings.Split(descriptor, "/")[2]
		name, err := os.ReadFile("/proc/" + pid + "/comm")
		if start := started(pid); err == nil && start != "" && strings.HasPrefix(string(name), "pulumi") {
			return pid + " " + start
		}
	}
	return ""
}

// isGone says whether a process that processOf told of has ended.
func isGone(process string) bool {
	pid, start, _ := strings.Cut(process, " ")
	return process != "" && started(pid) != start
}

// started is field 22 of /proc/PID/stat, proc_pid_stat(5); empty if there is no such process, or only what its parent
// has still to collect of it.
func started(pid string) string {
	text, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return ""
	}
	// A name in parentheses may hold anything.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return ""
	}
	return fields[19]
}

// socketInode looks a connection up in /proc/net/tcp, from the other end's point of view.
func socketInode(remote, local string) string {
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		file, err := os.Open(table)
		if err != nil {
			continue
		}
		defer file.Close()
		wanted := []string{kernelAddress(remote, table), kernelAddress(local, table)}
		lines := bufio.NewScanner(file)
		for lines.Scan() {
			fields := strings.Fields(lines.Text())
			if len(fields) > 9 && fields[1] == wanted[0] && fields[2] == wanted[1] {
				return fields[9]
			}
		}
	}
	return ""
}

// kernelAddress writes an address as the kernel's tables have it: words of four bytes in the machine's order.
func kernelAddress(address, table string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return ""
	}
	ip := net.ParseIP(host).To4()
	if strings.HasSuffix(table, "6") {
		ip = net.ParseIP(host).To16()
	}
	if ip == nil {
		return ""
	}
	var text strings.Builder
	for word := range len(ip) / 4 {
		fmt.Fprintf(&text, "%08X", binary.NativeEndian.Uint32(ip[4*word:]))
	}
	var number int
	if _, err := fmt.Sscan(port, &number); err != nil {
		return ""
	}
	return fmt.Sprintf("%s:%04X", text.String(), number)
}
