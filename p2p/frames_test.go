package p2p

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/multiformats/go-varint"
)

// pieces is a stream whose bytes come in pieces of given sizes, again and again.
type pieces struct {
	network.Stream
	rest  []byte
	sizes []byte
	reads int
	out   bytes.Buffer
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.rest) == 0 {
		return 0, io.EOF
	}
	n := min(len(b), len(p.rest))
	if len(p.sizes) > 0 {
		n = min(n, 1+int(p.sizes[p.reads%len(p.sizes)])*8)
		p.reads++
	}
	copy(b, p.rest[:n])
	p.rest = p.rest[n:]
	return n, nil
}

func (p *pieces) Write(b []byte) (int, error) { return p.out.Write(b) }

func (p *pieces) Reset() error { return nil }

// maxFrame is how large a frame of the fuzzing may be: larger than what is read at
// once.
const maxFrame = 3 * burstIn

// frames reads frames as plainly as can be.
func frames(raw []byte) (all [][]byte, err error) {
	r := bufio.NewReader(bytes.NewReader(raw))
	for {
		size, err := varint.ReadUvarint(r)
		if err != nil || size > maxFrame {
			return all, err
		}
		frame := make([]byte, size)
		if _, err := io.ReadFull(r, frame); err != nil {
			return all, unexpected(err)
		}
		all = append(all, frame)
	}
}

// FuzzFrames has a stranger's frames come in any pieces: they are read as they were
// sent, a look ahead takes nothing, and they leave as they came.
func FuzzFrames(f *testing.F) {
	long := framed(bytes.Repeat([]byte("long"), 2*burstIn/4))
	usual := framed(rawPing)
	f.Add(bytes.Repeat(usual, 60), []byte{})
	f.Add(append(bytes.Repeat(usual, 3), long...), []byte{0})
	f.Add(append(long, usual...), []byte{3, 200, 0, 16})
	f.Add([]byte{0x80, 0x00}, []byte{0})            // a length that is longer than need be
	f.Add([]byte{5, 'c', 'u', 't'}, []byte{0, 1})   // cut off
	f.Add(append([]byte{0}, usual...), []byte{255}) // nothing, and something
	var set atomic.Pointer[settings]
	set.Store(&settings{inboundFirst: time.Hour, inboundIdle: time.Hour, inboundMessage: time.Hour})
	f.Fuzz(func(t *testing.T, raw, sizes []byte) {
		want, wantErr := frames(raw)
		s := &burst{stream: &pieces{rest: raw, sizes: sizes}, settings: &set}
		s.begin()
		defer s.end()
		for i := 0; ; i++ {
			size, err := varint.ReadUvarint(s)
			if err == nil && size <= maxFrame {
				if look := min(int(size), peeked); err == nil {
					_, err = s.want(look, 1)
				}
			}
			if err != nil || size > maxFrame {
				if i != len(want) || (wantErr == nil) != (err == nil) || errors.Is(wantErr, io.EOF) != errors.Is(err, io.EOF) {
					t.Fatalf("%d frames, then %v; want %d, then %v", i, err, len(want), wantErr)
				}
				break
			}
			got, err := s.take(int(size), 1)
			if err != nil {
				if i != len(want) || !errors.Is(wantErr, io.ErrUnexpectedEOF) {
					t.Fatalf("frame %d: %v, want %v", i, err, wantErr)
				}
				break
			}
			if i >= len(want) || !bytes.Equal(got, want[i]) {
				t.Fatalf("frame %d is %x", i, got)
			}
			if n, err := s.reply(func(b []byte) ([]byte, error) { return append(b, got...), nil }); err != nil || n != len(got) {
				t.Fatalf("a reply of %d bytes: %d, %v", len(got), n, err)
			}
		}
		if err := s.flush(); err != nil {
			t.Fatal(err)
		}
		if got, err := frames(s.stream.(*pieces).out.Bytes()); len(got) != len(want) || !errors.Is(err, io.EOF) {
			t.Fatalf("%d frames leave, %d came (%v)", len(got), len(want), err)
		}
	})
}
