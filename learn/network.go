package learn

import "fmt"

// Network is layers in a row, with all their parameters in one slice. It has one
// owner.
type Network struct {
	chain   Chain
	engine  *Engine
	weights []float32
	grads   []float32
	in, out int
}

// NewNetwork returns a network of fresh layers: a layer belongs to one network.
// Parameters are drawn from the dice; nil leaves them zero, to be set by
// SetWeights. It fails if neighbours do not fit, or no layer tells its width.
func NewNetwork(mode Mode, dice Dice, layers ...Layer) (*Network, error) {
	n := &Network{chain: Chain{layers: layers}, engine: NewEngine(mode)}
	if err := n.chain.fits(); err != nil {
		return nil, err
	}
	n.in, n.out = n.chain.Widths()
	if n.in == 0 {
		return nil, fmt.Errorf("learn: a network of %d layers without a width", len(layers))
	}
	n.weights, n.grads = make([]float32, n.chain.Size()), make([]float32, n.chain.Size())
	n.chain.bind(n.weights, n.grads)
	if dice != nil {
		n.chain.reset(dice)
	}
	return n, nil
}

// fits says which neighbours have different widths.
func (c *Chain) fits() error {
	width := 0
	for i, l := range c.layers {
		in, out := l.Widths()
		if in < 0 || out < 0 || in == 0 != (out == 0) {
			return fmt.Errorf("learn: layer %d maps %d to %d columns: want one or more", i, in, out)
		}
		if in == 0 {
			continue
		}
		if width != 0 && in != width {
			return fmt.Errorf("learn: layer %d takes %d columns, those before give %d", i, in, width)
		}
		width = out
	}
	return nil
}

// MLP returns dense layers of these widths with ReLUs between them.
func MLP(widths ...int) []Layer {
	var layers []Layer
	for i := 1; i < len(widths); i++ {
		if i > 1 {
			layers = append(layers, ReLU())
		}
		layers = append(layers, NewDense(widths[i-1], widths[i]))
	}
	return layers
}

// Widths returns the columns of input and output.
func (n *Network) Widths() (in, out int) { return n.in, n.out }

// Weights returns all parameters, not a copy: whoever changes them changes the
// network.
func (n *Network) Weights() []float32 { return n.weights }

// Grads returns the gradient of all parameters, not a copy.
func (n *Network) Grads() []float32 { return n.grads }

// SetWeights copies the parameters of an equal network.
func (n *Network) SetWeights(w []float32) {
	if len(w) != len(n.weights) {
		panic(fmt.Sprintf("learn: %d weights for a network of %d", len(w), len(n.weights)))
	}
	copy(n.weights, w)
}

// Blend moves the parameters by a share towards those of an equal network: a
// target network's soft update.
func (n *Network) Blend(w []float32, share float32) {
	if len(w) != len(n.weights) {
		panic(fmt.Sprintf("learn: %d weights for a network of %d", len(w), len(n.weights)))
	}
	for i, v := range w {
		n.weights[i] += float32(share * (v - n.weights[i]))
	}
}

// Engine returns what multiplies for the network.
func (n *Network) Engine() *Engine { return n.engine }

// Forward returns the output for a batch, one sample a row. It belongs to the
// network and lasts until the next Forward; x must last until Backward.
func (n *Network) Forward(x Mat) Mat {
	if x.Cols != n.in {
		panic(fmt.Sprintf("learn: input of %d columns: want %d", x.Cols, n.in))
	}
	return n.chain.forward(n.engine, x)
}

// Backward adds the gradient of the last Forward to Grads, given that of its
// output. With input it returns the gradient of the input too, which belongs to
// the network.
func (n *Network) Backward(dy Mat, input bool) Mat {
	if dy.Cols != n.out {
		panic(fmt.Sprintf("learn: gradient of %d columns: want %d", dy.Cols, n.out))
	}
	return n.chain.backward(n.engine, dy, input)
}

// Adam is the optimizer of Kingma and Ba (ICLR 2015) with their bias correction.
// Zero fields other than Rate mean their defaults: 0.9, 0.999, 1e-8.
type Adam struct {
	Rate    float32
	Beta1   float32
	Beta2   float32
	Epsilon float32

	step   int
	m, v   []float32
	power1 float64
	power2 float64
}

// Step moves the parameters against their gradient, and clears it.
func (a *Adam) Step(w, g []float32) {
	if len(w) != len(g) || a.step > 0 && len(w) != len(a.m) {
		panic(fmt.Sprintf("learn: %d weights, %d gradients, %d moments: want as many", len(w), len(g), len(a.m)))
	}
	if a.step == 0 {
		a.m, a.v = make([]float32, len(w)), make([]float32, len(w))
		a.power1, a.power2 = 1, 1
	}
	b1, b2, eps := orDefault(a.Beta1, 0.9), orDefault(a.Beta2, 0.999), orDefault(a.Epsilon, 1e-8)
	a.step++
	a.power1 *= float64(b1)
	a.power2 *= float64(b2)
	// w -= rate·(m/(1-b1ᵗ)) / (√(v/(1-b2ᵗ)) + eps), both fractions folded into constants.
	root := sqrt(float32(1 - a.power2))
	c := [6]float32{b1, 1 - b1, b2, 1 - b2, float32(a.Rate*root) / float32(1-a.power1), float32(eps * root)}
	whole := 0
	if hasAVX2 && len(w) >= 8 {
		whole = len(w) &^ 7
		adamAVX2(whole, &w[0], &g[0], &a.m[0], &a.v[0], &c)
	}
	adamGo(w[whole:], g[whole:], a.m[whole:], a.v[whole:], &c)
}

func orDefault(x, otherwise float32) float32 {
	if x == 0 {
		return otherwise
	}
	return x
}

// adamGo rounds every product and sum by itself, as adamAVX2 does.
func adamGo(w, g, m, v []float32, c *[6]float32) {
	for i, d := range g {
		m[i] = float32(c[0]*m[i]) + float32(c[1]*d)
		v[i] = float32(c[2]*v[i]) + float32(c[3]*float32(d*d))
		w[i] -= float32(c[4]*m[i]) / (sqrt(v[i]) + c[5])
		g[i] = 0
	}
}

// ClipNorm shortens a gradient to a length of most, and returns its length before
// (Pascanu, Mikolov and Bengio, ICML 2013).
func ClipNorm(g []float32, most float32) float32 {
	sum := 0.0
	for _, d := range g {
		sum += float64(float64(d) * float64(d))
	}
	norm := sqrt(float32(sum))
	if norm > most {
		scale := most / norm
		for i := range g {
			g[i] *= scale
		}
	}
	return norm
}
