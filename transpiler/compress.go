package main

import (
	"bytes"
	"encoding/base64"

	"github.com/klauspost/compress/gzip"
)

// compress gives text as base64 of gzip. The compressor is a pinned library
// and not the caller's zlib, whose output differs between versions: user data
// that differs is another node.
func compress(text string) reply {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err == nil {
		_, err = w.Write([]byte(text))
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return reply{Error: err.Error()}
	}
	return reply{Data: base64.StdEncoding.EncodeToString(b.Bytes())}
}
