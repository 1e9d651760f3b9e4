package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	dht "github.com/shoalnet/shoal"
	"github.com/shoalnet/shoal/store"
)

// The files of a node's data directory. Those of text hold one address a line.
const (
	identityFile = "identity"
	recordsDir   = "records"
	addressFile  = "address"  // full addresses of the node: what --join reads
	contactsFile = "contacts" // full addresses of peers that it knew
	listenFile   = "listen"   // addresses that it listened on
)

// dataDir is a node's data directory, opened: nobody else has its records.
type dataDir struct {
	path     string
	identity dht.Identity
	records  *store.Datastore
	contacts []dht.PeerInfo
	listen   []string
}

// openDir opens a data directory and makes one where there is none or an empty
// one. What is there is read before anything is written: where something is
// wrong with it, it is left as it is.
func openDir(path string) (*dataDir, error) {
	d := &dataDir{path: path}
	names, err := os.ReadDir(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if len(names) > 0 {
		if err := d.readBack(); err != nil {
			return nil, err
		}
	}
	if d.identity, err = openIdentity(path); err != nil {
		return nil, err
	}
	if d.records, err = store.OpenDatastore(d.file(recordsDir)); err != nil {
		return nil, err
	}
	return d, nil
}

// openIdentity opens the identity of a directory and makes both where there is
// none.
func openIdentity(dir string) (dht.Identity, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	identity, err := dht.OpenIdentity(filepath.Join(dir, identityFile))
	return identity, bare(err)
}

// readBack reads the text files of a directory that holds something.
func (d *dataDir) readBack() error {
	if _, err := os.Stat(d.file(identityFile)); err != nil {
		return fmt.Errorf("data directory %s holds files but no identity: choose an empty or a new one, or restore it: %w", d.path, err)
	}
	lines, err := d.lines(contactsFile)
	if err == nil {
		d.contacts, err = dht.ParsePeers(lines...)
	}
	if err != nil {
		return fmt.Errorf("%s is damaged and was left as it is: remove or restore it: %w", d.file(contactsFile), bare(err))
	}
	if d.listen, err = d.lines(listenFile); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	return nil
}

func (d *dataDir) file(name string) string { return filepath.Join(d.path, name) }

// lines reads a text file; one that is not there has none.
func (d *dataDir) lines(name string) ([]string, error) {
	lines, err := readLines(d.file(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return lines, err
}

// save writes where the node is and whom it knows. Without contacts those of the
// last time stay.
func (d *dataDir) save(node *dht.DHT) error {
	addresses, err := dht.Addresses(node.Host())
	if err != nil {
		return bare(err)
	}
	var listen, contacts []string
	for _, addr := range node.Host().Network().ListenAddresses() {
		listen = append(listen, addr.String())
	}
	for _, info := range node.Contacts() {
		for _, addr := range info.Addrs {
			contacts = append(contacts, addr.String()+"/p2p/"+info.ID.String())
		}
	}
	err = errors.Join(d.write(addressFile, addresses), d.write(listenFile, listen))
	if len(contacts) > 0 {
		err = errors.Join(err, d.write(contactsFile, contacts))
	}
	return err
}

// write replaces a text file whole.
func (d *dataDir) write(name string, lines []string) error {
	if err := store.Replace(d.file(name), []byte(strings.Join(lines, "\n")+"\n")); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	return nil
}

func (d *dataDir) close() error { return d.records.Close() }
