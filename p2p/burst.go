package p2p

import (
	"encoding/binary"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

const (
	// burstFirst is how much is read where nobody knows when something comes: enough
	// for the usual request.
	burstFirst = 128
	// burstIn is how much of a stream is read at once where more was announced.
	burstIn = 4 << 10
	// burstOut is how many bytes of replies are held back while more requests wait.
	burstOut = 32 << 10
	// burstHold is how long a reply is held back for one that takes longer.
	burstHold = time.Millisecond
)

// burst is a stream that a peer opened to us. Where the peer sent several requests
// without waiting, they are read at once and the replies to them leave together:
// packets and system calls are what serving costs most. It holds little memory while
// nothing is under way. It is used by one goroutine.
//
// One timer, which requests do not touch, watches over how long the peer is waited
// for: a deadline of the stream's own costs a timer a read.
type burst struct {
	stream   network.Stream
	settings *atomic.Pointer[settings]
	silence  time.Duration // how long the next message may take to begin

	in     []byte // read and not taken, a part of first or buffer
	first  [burstFirst]byte
	buffer *[]byte // of burstPool; nil while nothing of it is used
	out    *[]byte // replies held back, of replyPool; nil for none
	visit  *visit  // for which they count
	owed   int     // so many bytes

	began time.Time
	due   atomic.Int64 // nanoseconds since began, when the stream is reset; 0 while nobody waits
	watch *time.Timer
	ended atomic.Bool // nobody watches any more
}

var (
	burstPool = sync.Pool{New: func() any { b := make([]byte, burstIn); return &b }}
	replyPool = sync.Pool{New: func() any { b := make([]byte, 0, burstOut+4<<10); return &b }}
)

// begin starts to watch over the stream, whose peer has to say something soon.
func (s *burst) begin() {
	s.began, s.silence = time.Now(), s.settings.Load().inboundFirst
	s.watch = time.AfterFunc(s.step(), s.look)
}

// step is how often it is looked whether the stream is overdue: as often as the
// shortest limit, so that none is passed by while the timer runs for a longer one.
func (s *burst) step() time.Duration {
	set := s.settings.Load()
	return min(set.inboundFirst, set.inboundIdle, set.inboundMessage)
}

// look resets the stream if it is overdue.
func (s *burst) look() {
	left := s.step()
	if due := time.Duration(s.due.Load()); due > 0 {
		if left = min(left, due-time.Since(s.began)); left <= 0 {
			_ = s.stream.Reset()
			return
		}
	}
	s.watch.Reset(left)
	if s.ended.Load() { // meanwhile: end could not stop what had fired
		s.watch.Stop()
	}
}

// within returns when something is due that may take so long from now.
func (s *burst) within(limit time.Duration) (due int64) { return int64(time.Since(s.began) + limit) }

// ReadByte returns the next byte of a length. It implements io.ByteReader.
func (s *burst) ReadByte() (byte, error) {
	for len(s.in) == 0 {
		if err := s.flush(); err != nil {
			return 0, err
		}
		s.recycle()
		if err := s.read(s.first[:0], burstFirst, s.within(s.silence)); err != nil {
			return 0, err
		}
	}
	b := s.in[0]
	s.in = s.in[1:]
	return b, nil
}

// read adds what comes to what is there, which has room for so many bytes.
func (s *burst) read(there []byte, room int, due int64) error {
	s.due.Store(due)
	n, err := s.stream.Read(there[len(there):room])
	s.due.Store(0)
	if s.in = there[:len(there)+n]; n > 0 {
		return nil // an error comes again
	}
	return err
}

// want returns the next bytes without taking them, at most burstIn.
func (s *burst) want(size int, due int64) ([]byte, error) {
	if len(s.in) < size {
		if err := s.gather(); err != nil {
			return nil, err
		}
	}
	for len(s.in) < size {
		if err := s.read(s.in, burstIn, due); err != nil {
			return nil, unexpected(err)
		}
	}
	return s.in[:size], nil
}

// gather moves what was read to the front of a buffer with room for more, after the
// replies left.
func (s *burst) gather() error {
	if s.buffer == nil {
		s.buffer = burstPool.Get().(*[]byte)
	}
	s.in = (*s.buffer)[:copy(*s.buffer, s.in)]
	return s.flush()
}

// take returns the next message, of so many bytes, which are good until the next
// call.
func (s *burst) take(size int, due int64) ([]byte, error) {
	if size <= burstIn {
		raw, err := s.want(size, due)
		if err == nil {
			s.in = s.in[size:]
		}
		return raw, err
	}
	if err := s.flush(); err != nil {
		return nil, err
	}
	raw := make([]byte, size)
	n := copy(raw, s.in)
	s.in = s.in[n:]
	s.due.Store(due)
	_, err := io.ReadFull(s.stream, raw[n:])
	s.due.Store(0)
	return raw, unexpected(err)
}

// unexpected is the end of a stream in the middle of a message.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (s *burst) recycle() {
	if s.buffer != nil {
		burstPool.Put(s.buffer)
		s.in, s.buffer = nil, nil
	}
}

// lengthRoom has room for the length of any message.
const lengthRoom = 4

var errLarge = errors.New("p2p: a reply is larger than a message may be")

// reply adds a message, which write appends, to those that leave with the next
// flush, for which it does not wait. It returns its size.
func (s *burst) reply(write func([]byte) ([]byte, error)) (size int, err error) {
	if s.out == nil {
		s.out = replyPool.Get().(*[]byte)
	}
	start := len(*s.out)
	raw, err := write(append(*s.out, make([]byte, lengthRoom)...))
	if size = len(raw) - start - lengthRoom; err == nil && size >= 1<<(7*lengthRoom) {
		err = errLarge
	}
	if err != nil {
		return 0, err // what was added is not part of out
	}
	n := binary.PutUvarint(raw[start:], uint64(size))
	copy(raw[start+n:], raw[start+lengthRoom:])
	*s.out = raw[:start+n+size]
	return size, nil
}

// flush sends the replies that were held back.
func (s *burst) flush() error {
	if s.out == nil {
		return nil
	}
	out := s.out
	s.out = nil
	s.due.Store(s.within(s.settings.Load().inboundMessage))
	_, err := s.stream.Write(*out)
	s.due.Store(0)
	if cap(*out) <= 2*burstOut {
		*out = (*out)[:0]
		replyPool.Put(out)
	}
	s.paid()
	return err
}

// paid counts replies no more.
func (s *burst) paid() {
	if s.owed > 0 {
		s.visit.release(s.owed)
		s.owed = 0
	}
}

// end ends the watch and gives back what a stream that was left early still holds.
func (s *burst) end() {
	s.ended.Store(true)
	s.watch.Stop()
	s.recycle()
	s.out = nil
	s.paid()
}
