package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
)

// maxFrame bounds a message between pool and child.
const maxFrame = 16 << 20

// errTooLarge says that a message was not sent; the connection is still good.
var errTooLarge = fmt.Errorf("lab: more than %d MiB in one message: send less, or a reference", maxFrame>>20)

// writeFrame sends a message after its length in four bytes, big-endian.
func writeFrame(w io.Writer, body []byte) error {
	if len(body) > maxFrame {
		return errTooLarge
	}
	_, err := w.Write(append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(body)), uint32(len(body))), body...))
	return err
}

// readFrame is the inverse. io.EOF means that the other side ended between two
// messages. It allocates as bytes arrive, not as the length promises.
func readFrame(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > maxFrame {
		return nil, fmt.Errorf("lab: a message of %d bytes: want at most %d", size, maxFrame)
	}
	body, err := io.ReadAll(io.LimitReader(r, int64(size)))
	if err == nil && len(body) < int(size) {
		err = io.ErrUnexpectedEOF
	}
	return body, err
}

// MarshalBinary encodes a task: seed (8 bytes, big-endian), length of kind (2), kind,
// payload. It fails if the kind is too long.
func (t Task) MarshalBinary() ([]byte, error) {
	if len(t.Kind) > math.MaxUint16 {
		return nil, fmt.Errorf("lab: a kind of %d bytes: want at most %d", len(t.Kind), math.MaxUint16)
	}
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 10+len(t.Kind)+len(t.Payload)), t.Seed)
	b = binary.BigEndian.AppendUint16(b, uint16(len(t.Kind)))
	return append(append(b, t.Kind...), t.Payload...), nil
}

var errShort = errors.New("lab: a message ends early: are pool and worker of one version?")

// UnmarshalBinary is the inverse of MarshalBinary. The payload is not copied.
func (t *Task) UnmarshalBinary(b []byte) error {
	if len(b) < 10 {
		return errShort
	}
	kind := int(binary.BigEndian.Uint16(b[8:]))
	if len(b) < 10+kind {
		return errShort
	}
	*t = Task{Seed: binary.BigEndian.Uint64(b), Kind: string(b[10 : 10+kind]), Payload: b[10+kind:]}
	return nil
}

// AppendBinary appends an encoded result: cost (8 bytes, big-endian), length of error
// (4), error, payload. Its index is left out: it is known to the pool alone. The
// error is always nil.
func (r Result) AppendBinary(b []byte) ([]byte, error) {
	b = binary.BigEndian.AppendUint64(slices.Grow(b, 12+len(r.Err)+len(r.Payload)), math.Float64bits(r.Cost))
	b = binary.BigEndian.AppendUint32(b, uint32(len(r.Err)))
	return append(append(b, r.Err...), r.Payload...), nil
}

// UnmarshalBinary is the inverse of AppendBinary, with index 0. The payload is not
// copied.
func (r *Result) UnmarshalBinary(b []byte) error {
	if len(b) < 12 {
		return errShort
	}
	text := uint64(binary.BigEndian.Uint32(b[8:]))
	if uint64(len(b)) < 12+text {
		return errShort
	}
	*r = Result{Cost: math.Float64frombits(binary.BigEndian.Uint64(b)), Err: string(b[12 : 12+text]), Payload: b[12+text:]}
	return nil
}

func encodeResult(r Result) []byte {
	b, _ := r.AppendBinary(nil) // never fails
	return b
}
