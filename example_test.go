package shoal_test

import (
	"context"
	"fmt"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multihash"

	"github.com/shoalnet/shoal"
)

// Two peers on one machine: one has something, the other finds it. Errors are
// left out for brevity.
func Example() {
	ctx := context.Background()
	first, _ := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"))
	second, _ := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"))
	a, _ := shoal.New(ctx, first, shoal.WithPrefix("/shoal/example"))
	b, _ := shoal.New(ctx, second, shoal.WithPrefix("/shoal/example"),
		shoal.WithBootstrap(peer.AddrInfo{ID: first.ID(), Addrs: first.Addrs()}))

	digest, _ := multihash.Sum([]byte("a book"), multihash.SHA2_256, -1)
	book := cid.NewCidV1(cid.Raw, digest)
	_ = a.Provide(ctx, book, false)
	found, _ := b.FindProviders(ctx, book)
	fmt.Println(book, "is held by the first peer:", len(found) == 1 && found[0].ID == first.ID())

	_, _, _, _ = a.Close(), b.Close(), first.Close(), second.Close()
	// Output: bafkreifogwleegorwjf3uefc7ouvkgqgegoxaguph77w5advbue7j45usu is held by the first peer: true
}
