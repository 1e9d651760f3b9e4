package p2p

import (
	"context"
	"encoding/binary"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-msgio"
	msmux "github.com/multiformats/go-multistream"
)

// stream is one of our streams to a peer. It carries one request at a time.
type stream struct {
	network.Stream
	rw     io.ReadWriteCloser // the stream behind the selection of its protocol
	reader msgio.ReadCloser

	idle *time.Timer // ends it when nobody uses it
}

// newStream opens a stream on a connection. The protocol's name leaves together
// with the first request; if negotiate is set we wait for the peer to choose.
func newStream(ctx context.Context, conn network.Conn, names []protocol.ID, preferred protocol.ID, negotiate bool) (*stream, error) {
	raw, err := conn.NewStream(ctx)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = raw.Reset() })
	defer stop()
	var rw io.ReadWriteCloser = raw
	if negotiate {
		preferred, err = msmux.SelectOneOf(names, raw)
	}
	if err == nil {
		err = raw.SetProtocol(preferred)
	}
	if err != nil {
		_ = raw.Reset()
		return nil, err
	}
	if !negotiate {
		rw = msmux.NewMSSelect(raw, preferred)
	}
	return &stream{Stream: raw, rw: rw, reader: msgio.NewVarintReaderSize(rw, maxMessage)}, nil
}

// roundTrip writes a message and hands the reply to read, which is nil if none
// is expected. The end of the context resets the stream.
func (st *stream) roundTrip(ctx context.Context, msg []byte, read func([]byte) error) error {
	stop := context.AfterFunc(ctx, func() { _ = st.Reset() })
	defer stop()
	if err := writeFrame(st.rw, msg); err != nil || read == nil {
		return err
	}
	raw, err := st.reader.ReadMsg()
	if err == nil {
		err = read(raw)
	}
	st.reader.ReleaseMsg(raw)
	return err
}

// writeFrame writes a message after its length, in one write.
func writeFrame(w io.Writer, msg []byte) error {
	frame := binary.AppendUvarint(make([]byte, 0, len(msg)+binary.MaxVarintLen32), uint64(len(msg)))
	_, err := w.Write(append(frame, msg...))
	return err
}
