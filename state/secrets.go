package main

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const keySize = 32

// Box locks values with AES-256-GCM; each has a nonce of its own before it.
type Box struct{ sealer cipher.AEAD }

// NewBox returns the box of a key of 32 bytes.
func NewBox(key []byte) (Box, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return Box{}, err
	}
	sealer, err := cipher.NewGCMWithRandomNonce(block)
	return Box{sealer}, err
}

// Lock returns a value that only Unlock with the same purpose opens.
func (b Box) Lock(value []byte, purpose string) []byte {
	return b.sealer.Seal(nil, nil, value, []byte(purpose))
}

// Unlock returns what was locked; it fails where that was changed, or locked with another key or purpose.
func (b Box) Unlock(locked []byte, purpose string) ([]byte, error) {
	value, err := b.sealer.Open(nil, nil, locked, []byte(purpose))
	if err != nil {
		return nil, errors.New("the value was not encrypted by this stack's key")
	}
	return value, nil
}

func randomBytes(size int) []byte {
	bytes := make([]byte, size)
	_, _ = rand.Read(bytes) // It never fails (crypto/rand).
	return bytes
}

// openMaster returns the box of the key in a folder, which is made where there is none.
//
// It is not made where there is a database already: the keys in it were locked with the one that is missing.
func openMaster(folder string, fresh bool) (Box, error) {
	file := filepath.Join(folder, "key")
	key, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist) && fresh:
		key = randomBytes(keySize)
		if err := writeSecret(file, key); err != nil {
			return Box{}, err
		}
	case errors.Is(err, fs.ErrNotExist):
		return Box{}, fmt.Errorf("%s is missing: put it back from a backup; secrets of stacks are locked with it", file)
	case err != nil:
		return Box{}, err
	}
	if len(key) != keySize {
		return Box{}, fmt.Errorf("%s has %d bytes and not %d: put it back from a backup", file, len(key), keySize)
	}
	return NewBox(key)
}

// writeSecret writes a whole file that only its owner reads, or none.
func writeSecret(file string, content []byte) error {
	scratch, err := os.CreateTemp(filepath.Dir(file), ".new-*") // Mode 0600.
	if err != nil {
		return err
	}
	defer os.Remove(scratch.Name()) //nolint:errcheck // It has its name by then.
	if _, err := scratch.Write(content); err != nil {
		return errors.Join(err, scratch.Close())
	}
	if err := errors.Join(scratch.Sync(), scratch.Close()); err != nil {
		return err
	}
	return os.Rename(scratch.Name(), file)
}
