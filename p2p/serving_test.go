package p2p

import (
	"bufio"
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/multiformats/go-multiaddr"

	"github.com/shoalnet/shoal/sim"
)

// serveEnv names in the environment of a child process what it serves: the kind
// of peer and how many addresses it knows of each member of its table.
const serveEnv = "SHOAL_TEST_SERVE"

var profileFlag = flag.String("serving-profile", "", "serving: files for profiles of the servers, of which the names begin so")

// BenchmarkServing has one client ask servers, each in a process of its own, for
// the nearest peers to many keys: go-libp2p-kad-dht and ours, with the same
// identity, table and addresses, and a bare handler, which answers as many bytes
// without a look at the request, over one QUIC connection on loopback. They take
// turns. What counts is the processor time of the server's process alone.
func BenchmarkServing(b *testing.B) {
	for _, addrs := range []int{1, 4} {
		for _, load := range []struct{ streams, depth int }{{1, 1}, {8, 1}, {1, 32}, {4, 32}} {
			b.Run(fmt.Sprintf("addrs=%d/streams=%d/depth=%d", addrs, load.streams, load.depth), func(b *testing.B) {
				servers := []*served{startServer(b, "stock", addrs), startServer(b, "ours", addrs), startServer(b, "bare", addrs)}
				const requests, turns = 4000, 4
				for b.Loop() {
					for range turns {
						for _, s := range servers {
							s.load(b, load.streams, load.depth, requests/turns)
						}
					}
				}
				stock, ours, bare := servers[0].perCore(), servers[1].perCore(), servers[2].perCore()
				b.ReportMetric(stock, "stock-req/s/core")
				b.ReportMetric(ours, "ours-req/s/core")
				b.ReportMetric(bare, "bare-req/s/core")
				b.ReportMetric(ours/stock, "ours/stock")
				b.ReportMetric(bare/stock, "bare/stock")
				// What the implementation adds to what the transport costs.
				b.ReportMetric((1/stock-1/bare)/(1/ours-1/bare), "own-part")
			})
		}
	}
}

// served is a server in another process, and a client that is connected to it.
type served struct {
	host    host.Host
	peer    peer.ID
	in      io.WriteCloser
	out     *bufio.Reader
	keys    [][]byte // encoded requests with their lengths
	asked   int
	seconds float64
}

func startServer(b *testing.B, kind string, addrs int) *served {
	b.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestServeBenchmark$", "-test.count=1", "-serving-profile="+*profileFlag)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d", serveEnv, kind, addrs))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	must(b, err)
	out, err := cmd.StdoutPipe()
	must(b, err)
	must(b, cmd.Start())
	h := loopback(b, identity(b, 1))
	b.Cleanup(func() {
		_ = in.Close() // the server ends
		_ = h.Close()
		_ = cmd.Wait()
	})
	s := &served{host: h, in: in, out: bufio.NewReader(out), keys: findNodes(1000)}
	info, err := peer.AddrInfoFromString(s.line(b))
	must(b, err)
	must(b, h.Connect(b.Context(), *info))
	s.peer = info.ID
	s.exchange(b, 4, 8, 2000) // warm
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// loopback is a host on a free port of this machine.
func loopback(t testing.TB, priv crypto.PrivKey) host.Host {
	t.Helper()
	h, err := libp2p.New(libp2p.Identity(priv), libp2p.ListenAddrStrings("/ip4/127.0.0.1/udp/0/quic-v1"),
		libp2p.Transport(libp2pquic.NewTransport), libp2p.ResourceManager(&network.NullResourceManager{}),
		libp2p.DisableRelay(), libp2p.DisableMetrics())
	must(t, err)
	return h
}

// findNodes returns requests for the nearest peers to names that nobody has.
func findNodes(n int) (frames [][]byte) {
	for i := range n {
		frames = append(frames, framed(encoded(pb.NewMessage(pb.Message_FIND_NODE, []byte(named(i)), 0))))
	}
	return frames
}

// line reads a line of the server's.
func (s *served) line(b *testing.B) string {
	b.Helper()
	for {
		line, err := s.out.ReadString('\n')
		must(b, err)
		if rest, ok := strings.CutPrefix(line, "served: "); ok {
			return strings.TrimSpace(rest)
		}
	}
}

// cpu is the processor time that the server has used.
func (s *served) cpu(b *testing.B) time.Duration {
	b.Helper()
	_, err := fmt.Fprintln(s.in)
	must(b, err)
	d, err := time.ParseDuration(s.line(b))
	must(b, err)
	return d
}

func (s *served) perCore() float64 { return float64(s.asked) / s.seconds }

// load asks and counts.
func (s *served) load(b *testing.B, streams, depth, requests int) {
	b.Helper()
	before := s.cpu(b)
	s.exchange(b, streams, depth, requests)
	s.seconds += (s.cpu(b) - before).Seconds()
	s.asked += requests
}

// exchange sends requests over some streams, on each of which so many may be
// under way.
func (s *served) exchange(b *testing.B, streams, depth, requests int) {
	b.Helper()
	var all sync.WaitGroup
	for i := range streams {
		all.Go(func() {
			if err := s.stream(b.Context(), i, depth, requests/streams); err != nil {
				b.Error(err)
			}
		})
	}
	all.Wait()
}

func (s *served) stream(ctx context.Context, from, depth, requests int) error {
	st, err := s.host.NewStream(ctx, s.peer, kadID)
	if err != nil {
		return err
	}
	defer func() { _ = st.Reset() }()
	room := make(chan struct{}, depth)
	go func() {
		for i := range requests {
			room <- struct{}{}
			if _, err := st.Write(s.keys[(from*97+i)%len(s.keys)]); err != nil {
				return // the reader fails, too
			}
		}
	}()
	replies := bufio.NewReaderSize(st, 1<<16)
	for range requests {
		size, err := binary.ReadUvarint(replies)
		if err != nil {
			return err
		}
		if size < 1000 {
			return fmt.Errorf("a reply of %d bytes does not name twenty peers", size)
		}
		if _, err := replies.Discard(int(size)); err != nil {
			return err
		}
		<-room
	}
	return nil
}

// TestServeBenchmark is the server process of BenchmarkServing.
func TestServeBenchmark(t *testing.T) {
	kind, addrs, ok := strings.Cut(os.Getenv(serveEnv), " ")
	if !ok {
		t.Skip("a process of BenchmarkServing")
	}
	var each int
	_, err := fmt.Sscan(addrs, &each)
	must(t, err)
	l := newLayout(t, 1, 300, 0)
	h := loopback(t, l.keys[0])
	var members []peer.AddrInfo
	for _, j := range l.tables[0] {
		members = append(members, peer.AddrInfo{ID: l.ids[j], Addrs: addressesOf(j, each)})
	}
	serveAs(t, kind, h, members)
	fmt.Printf("served: %s/p2p/%s\n", h.Addrs()[0], h.ID())
	if *profileFlag != "" {
		file, err := os.Create(*profileFlag + kind)
		must(t, err)
		must(t, pprof.StartCPUProfile(file))
		defer pprof.StopCPUProfile()
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		fmt.Printf("served: %v\n", sim.CPUTime())
	}
}

// serveAs starts a server of a kind that knows the members of its table.
func serveAs(t *testing.T, kind string, h host.Host, members []peer.AddrInfo) {
	t.Helper()
	if kind == "bare" {
		msg := pb.NewMessage(pb.Message_FIND_NODE, nil, 0)
		msg.CloserPeers = pb.RawPeerInfosToPBPeers(members[:nearest])
		h.SetStreamHandler(kadID, bareServer(framed(encoded(msg))))
		return
	}
	bed := &bed{t: t, ctx: t.Context()}
	var a actor
	if kind == "ours" {
		// One client asks for as much as it can get.
		unlimited := undisturbed(t).WithNumber("p2p.request_rate", 1e6).WithNumber("p2p.request_burst", 1e6)
		a = newOurActor(bed, h, unlimited, 1)
	} else {
		a = newStockActor(bed, h, false)
	}
	for _, info := range members {
		a.learn(info, 50*time.Millisecond)
	}
}

// framed puts the length of a message in front of it.
func framed(msg []byte) []byte {
	return append(binary.AppendUvarint(nil, uint64(len(msg))), msg...)
}

// bareServer answers every request with the same bytes, without a look at it: what
// the transport alone costs. Requests that came together are answered together.
func bareServer(reply []byte) network.StreamHandler {
	return func(s network.Stream) {
		defer func() { _ = s.Reset() }()
		in := bufio.NewReaderSize(s, burstIn)
		var out []byte
		for {
			size, err := binary.ReadUvarint(in)
			if err == nil {
				_, err = in.Discard(int(size))
			}
			if err != nil {
				return
			}
			if out = append(out, reply...); in.Buffered() > 0 && len(out) < burstOut {
				continue
			}
			if _, err := s.Write(out); err != nil {
				return
			}
			out = out[:0]
		}
	}
}

// addressesOf returns what a public peer may listen on.
func addressesOf(i, n int) []maddr {
	ip := ipOf(i)
	return []maddr{
		multiaddr.StringCast(fmt.Sprintf("/ip4/%s/udp/4001/quic-v1", ip)),
		multiaddr.StringCast(fmt.Sprintf("/ip4/%s/tcp/4001", ip)),
		multiaddr.StringCast(fmt.Sprintf("/ip6/2001:db8::%x/udp/4001/quic-v1", i)),
		multiaddr.StringCast(fmt.Sprintf("/ip6/2001:db8::%x/tcp/4001", i)),
	}[:n]
}
