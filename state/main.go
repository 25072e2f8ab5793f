// Command fleet-state keeps the states of Pulumi stacks: it speaks what Pulumi's command line asks of its service, with
// journals, so that an update writes what changed and not the whole state at every step.
//
//	fleet-state serve [--folder FOLDER] [--listen ADDRESS] [--tls-cert FILE --tls-key FILE]
//	fleet-state token NAME [--folder FOLDER]
//	fleet-state token --remove NAME [--folder FOLDER]
//
// FOLDER holds state.db (SQLite), `key`, which the keys of the stacks' secrets are locked with, and `token`, the access
// token of who started the server first. Without `key`, state.db discloses no secret of a stack that has Pulumi's
// service keep its secrets.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"os/user"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "Error: %v\n", err)
		var wrong usageError
		if errors.As(err, &wrong) {
			os.Exit(2)
		}
		os.Exit(1)
	}
}

// usageError is a command line that is not understood.
type usageError struct{ error }

const usage = "use `fleet-state serve` or `fleet-state token NAME`; each has --help"

func run(arguments []string) error {
	if len(arguments) == 0 {
		return usageError{errors.New(usage)}
	}
	flags := flag.NewFlagSet(arguments[0], flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	folder := flags.String("folder", defaultFolder(), "where the states are kept")
	var listen, certificate, key string
	var remove bool
	switch arguments[0] {
	case "serve":
		flags.StringVar(&listen, "listen", "127.0.0.1:4780", "the address to listen at")
		flags.StringVar(&certificate, "tls-cert", "", "a file with a certificate and those above it, PEM")
		flags.StringVar(&key, "tls-key", "", "a file with its key, PEM")
	case "token":
		flags.BoolVar(&remove, "remove", false, "take NAME's tokens away")
	default:
		return usageError{errors.New(usage)}
	}
	err := flags.Parse(arguments[1:])
	if errors.Is(err, flag.ErrHelp) {
		flags.SetOutput(os.Stdout)
		flags.PrintDefaults()
		return nil
	}
	if err != nil {
		return usageError{err}
	}
	if arguments[0] == "token" {
		if flags.NArg() != 1 || flags.Arg(0) == "" {
			return usageError{errors.New("`fleet-state token` takes one name")}
		}
		return withStore(*folder, func(store *Store) error { return changeToken(store, flags.Arg(0), remove) })
	}
	if flags.NArg() != 0 {
		return usageError{fmt.Errorf("%s is one argument too many", flags.Arg(0))}
	}
	if (certificate == "") != (key == "") {
		return usageError{errors.New("--tls-cert and --tls-key go together")}
	}
	return withStore(*folder, func(store *Store) error { return serve(store, *folder, listen, certificate, key) })
}

// defaultFolder is where programs of a user keep their state (XDG Base Directory Specification).
func defaultFolder() string {
	if home := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, "fleet")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ".fleet-state"
	}
	return filepath.Join(home, ".local", "state", "fleet")
}

func withStore(folder string, do func(*Store) error) error {
	store, err := OpenStore(folder)
	if err != nil {
		return err
	}
	err = do(store)
	return errors.Join(err, store.Close())
}

func changeToken(store *Store, name string, remove bool) error {
	if remove {
		return store.RemoveTokens(name)
	}
	token, err := store.NewToken(name)
	if err == nil {
		fmt.Println(token)
	}
	return err
}

// serve answers until it is told to stop.
func serve(store *Store, folder, listen, certificate, key string) error {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return usageError{fmt.Errorf("--listen %s is no address such as 127.0.0.1:4780: %w", listen, err)}
	}
	if address := net.ParseIP(host); certificate == "" && (address == nil || !address.IsLoopback()) {
		return usageError{fmt.Errorf("%s is reached from other machines, and states would pass in plain text: "+
			"give --tls-cert and --tls-key, or listen at 127.0.0.1 behind a proxy that has TLS", listen)}
	}
	tokenFile, err := firstToken(store, folder)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	scheme := "http"
	if certificate != "" {
		pair, err := tls.LoadX509KeyPair(certificate, key)
		if err != nil {
			return fmt.Errorf("the certificate cannot be read: %w", err)
		}
		listener = tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12})
		scheme = "https"
	}
	server := &http.Server{
		Handler:           NewAPI(store),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.New(os.Stderr, "", log.LstdFlags),
	}
	url := fmt.Sprintf("%s://%s", scheme, listener.Addr())
	fmt.Printf("States in %s are served at %s.\n", folder, url)
	fmt.Printf("Log in with: PULUMI_ACCESS_TOKEN=$(cat %s) pulumi login %s\n", tokenFile, url)
	ended, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ended.Done():
		patience, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		return server.Shutdown(patience)
	}
}

// firstToken makes the token of who starts the server first, and returns the file that has it.
func firstToken(store *Store, folder string) (string, error) {
	file := filepath.Join(folder, "token")
	has, err := store.HasTokens()
	if err != nil || has {
		return file, err
	}
	name := "owner"
	if current, err := user.Current(); err == nil && current.Username != "" {
		name = current.Username
	}
	token, err := store.NewToken(name)
	if err != nil {
		return "", err
	}
	return file, writeSecret(file, []byte(token+"\n"))
}
