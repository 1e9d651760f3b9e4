package learn

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// The kinds of layers as they are saved. Numbers are for ever; a changed layer
// gets a new one.
const (
	kindDense byte = iota + 1
	kindReLU
	kindTanh
	kindSigmoid
	kindNorm
	kindAttention
	kindResidual
	kindLSTM
	kindGRU
	kindLTC
	kindCfC
)

func (d *Dense) shape() (byte, []int)      { return kindDense, []int{d.In, d.Out} }
func (a *Activation) shape() (byte, []int) { return a.function, nil }
func (l *LayerNorm) shape() (byte, []int)  { return kindNorm, []int{l.Width} }
func (a *Attention) shape() (byte, []int)  { return kindAttention, []int{a.Tokens, a.Width, a.Heads} }
func (r *Residual) shape() (byte, []int)   { return kindResidual, []int{len(r.inner.layers)} }
func (l *LSTM) shape() (byte, []int)       { return kindLSTM, []int{l.in, l.hidden} }
func (g *GRU) shape() (byte, []int)        { return kindGRU, []int{g.in, g.hidden} }
func (l *LTC) shape() (byte, []int)        { return kindLTC, []int{l.in, l.hidden, l.Unfolds} }
func (c *CfC) shape() (byte, []int)        { return kindCfC, []int{c.in, c.hidden, c.Trunk} }

const (
	magic   = "SHOALNET"
	version = 1
	// What a decoder takes: more than any network here, and little enough that a
	// hostile file costs nothing. Parameters are bounded by the file's length.
	maxLayers, maxWidth, maxNesting = 256, 1 << 16, 4
)

// arity is how many numbers a kind is saved with.
var arity = map[byte]int{
	kindDense: 2, kindReLU: 0, kindTanh: 0, kindSigmoid: 0, kindNorm: 1, kindAttention: 3,
	kindResidual: 1, kindLSTM: 2, kindGRU: 2, kindLTC: 3, kindCfC: 3,
}

// ErrFormat is what Decode's errors wrap.
var ErrFormat = errors.New("learn: not a saved network")

// Append appends the network in a form that Decode reads on every machine: magic,
// version, layers, parameters as little-endian bits.
func (n *Network) Append(b []byte) []byte {
	b = append(b, magic...)
	b = append(b, version)
	b = n.chain.append(b)
	b = binary.AppendUvarint(b, uint64(len(n.weights)))
	for _, w := range n.weights {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(w))
	}
	return b
}

func (c *Chain) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(c.layers)))
	for _, l := range c.layers {
		kind, numbers := l.shape()
		b = append(b, kind)
		if r, ok := l.(*Residual); ok {
			b = r.inner.append(b)
			continue
		}
		for _, v := range numbers {
			b = binary.AppendUvarint(b, uint64(v))
		}
	}
	return b
}

// Decode reads what Append wrote, to the last byte. It takes no parameter that is
// not finite, and never more memory than a few times the length of its input, but
// for what a batch needs later. Every error wraps ErrFormat.
func Decode(mode Mode, b []byte) (*Network, error) {
	d := decoder{rest: b}
	if len(b) < len(magic)+1 || string(b[:len(magic)]) != magic {
		return nil, fmt.Errorf("%w: no magic", ErrFormat)
	}
	if v := b[len(magic)]; v != version {
		return nil, fmt.Errorf("%w: version %d: this program reads %d", ErrFormat, v, version)
	}
	d.rest = b[len(magic)+1:]
	layers := d.layers(0)
	count := d.number(math.MaxInt32)
	if d.err == nil && len(d.rest) != 4*count {
		d.fail("%d parameters in %d bytes", count, len(d.rest))
	}
	size := 0
	for _, l := range layers {
		size += l.Size()
	}
	if d.err == nil && size != count {
		d.fail("%d parameters for layers of %d", count, size)
	}
	if d.err != nil {
		return nil, d.err
	}
	n, err := NewNetwork(mode, nil, layers...)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	for i := range n.weights {
		w := math.Float32frombits(binary.LittleEndian.Uint32(d.rest[4*i:]))
		if w-w != 0 {
			return nil, fmt.Errorf("%w: parameter %d is %v", ErrFormat, i, w)
		}
		n.weights[i] = w
	}
	return n, nil
}

// decoder reads on until its first error.
type decoder struct {
	rest []byte
	seen int // layers
	err  error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s", ErrFormat, fmt.Sprintf(format, args...))
	}
}

// number reads a whole number from 0 to most.
func (d *decoder) number(most uint64) int {
	if d.err != nil {
		return 0
	}
	v, n := binary.Uvarint(d.rest)
	if n <= 0 || v > most {
		d.fail("a number is cut off or beyond %d", most)
		return 0
	}
	d.rest = d.rest[n:]
	return int(v)
}

func (d *decoder) layers(depth int) []Layer {
	count := d.number(maxLayers)
	if d.seen += count; d.seen > maxLayers || depth > maxNesting {
		d.fail("more than %d layers or nested deeper than %d", maxLayers, maxNesting)
	}
	var layers []Layer
	for range count {
		l := d.layer(depth)
		if d.err != nil {
			return nil
		}
		layers = append(layers, l)
	}
	return layers
}

func (d *decoder) layer(depth int) Layer {
	if len(d.rest) == 0 {
		d.fail("a layer is cut off")
		return nil
	}
	kind := d.rest[0]
	d.rest = d.rest[1:]
	if kind == kindResidual {
		inner := Chain{layers: d.layers(depth + 1)}
		if d.err != nil {
			return nil
		}
		if err := inner.fits(); err != nil {
			d.fail("%v", err)
			return nil
		}
		if in, out := inner.Widths(); in != out {
			d.fail("a residual from %d to %d columns", in, out)
			return nil
		}
		return &Residual{inner: inner}
	}
	count, ok := arity[kind]
	if !ok {
		d.fail("no layer of kind %d", kind)
		return nil
	}
	var v [3]int
	for i := range count {
		if v[i] = d.number(maxWidth); v[i] < 1 {
			d.fail("a width of %d", v[i])
			return nil
		}
	}
	return d.build(kind, v)
}

func (d *decoder) build(kind byte, v [3]int) Layer {
	switch kind {
	case kindDense:
		return NewDense(v[0], v[1])
	case kindNorm:
		return NewLayerNorm(v[0])
	case kindAttention:
		if v[1]%v[2] != 0 {
			d.fail("%d heads in a width of %d", v[2], v[1])
			return nil
		}
		return NewAttention(v[0], v[1], v[2])
	case kindLSTM:
		return NewLSTM(v[0], v[1])
	case kindGRU:
		return NewGRU(v[0], v[1])
	case kindLTC:
		return NewLTC(v[0], v[1], v[2])
	case kindCfC:
		return NewCfC(v[0], v[1], v[2])
	}
	return &Activation{function: kind}
}
