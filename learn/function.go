package learn

import "math"

// The functions below round every product and sum by itself, so that they give
// the same bits on every machine; the standard library's do not.

// exp returns e to the x to about one unit in the last place: the range is cut
// to half a factor of two and the rest is a polynomial (Moshier, Cephes, expf).
func exp(x float32) float32 {
	switch {
	case x != x:
		return x
	case x > 88.72283:
		return float32(math.Inf(1))
	case x < -87.33654:
		return 0
	}
	const high, low = 0.693359375, -2.12194440e-4 // ln 2 in two parts
	n := floor(float32(x*1.44269504) + 0.5)
	x -= float32(n * high)
	x -= float32(n * low)
	p := float32(1.9875691500e-4)
	p = float32(p*x) + 1.3981999507e-3
	p = float32(p*x) + 8.3334519073e-3
	p = float32(p*x) + 4.1665795894e-2
	p = float32(p*x) + 1.6666665459e-1
	p = float32(p*x) + 5.0000001201e-1
	p = float32(p*float32(x*x)) + x + 1
	if n > 127 { // 2¹²⁸ has no float32 of its own
		return p * 2 * math.Float32frombits(uint32(127+127)<<23)
	}
	return p * math.Float32frombits(uint32(int32(n)+127)<<23)
}

func floor(x float32) float32 {
	n := float32(int32(x))
	if n > x {
		n--
	}
	return n
}

// tanh returns the hyperbolic tangent to about two units in the last place
// (Moshier, Cephes, tanhf).
func tanh(x float32) float32 {
	a := max(x, -x)
	switch {
	case a > 9:
		if x < 0 {
			return -1
		}
		return 1
	case a >= 0.625:
		y := 1 - 2/(exp(float32(2*a))+1)
		if x < 0 {
			return -y
		}
		return y
	}
	s := float32(x * x)
	p := float32(-5.70498872745e-3)
	p = float32(p*s) + 2.06390887954e-2
	p = float32(p*s) - 5.37397155531e-2
	p = float32(p*s) + 1.33314422036e-1
	p = float32(p*s) - 3.33332819422e-1
	return float32(float32(p*s)*x) + x
}

// sigmoid returns 1/(1+e^-x).
func sigmoid(x float32) float32 {
	if x < -87 {
		return 0
	}
	return 1 / (1 + exp(-x))
}

// log returns the natural logarithm of a positive number to about one unit in
// the last place (Moshier, Cephes, logf); -Inf for zero and what is below.
func log(x float32) float32 {
	if x != x || x > math.MaxFloat32 {
		return x
	}
	if x <= 0 {
		return float32(math.Inf(-1))
	}
	fraction, power := math.Frexp(float64(x)) // exact
	m, n := float32(fraction), float32(power)
	if m < 0.707106781 {
		n--
		m += m
	}
	m--
	s := float32(m * m)
	p := float32(7.0376836292e-2)
	p = float32(p*m) - 1.1514610310e-1
	p = float32(p*m) + 1.1676998740e-1
	p = float32(p*m) - 1.2420140846e-1
	p = float32(p*m) + 1.4249322787e-1
	p = float32(p*m) - 1.6668057665e-1
	p = float32(p*m) + 2.0000714765e-1
	p = float32(p*m) - 2.4999993993e-1
	p = float32(p*m) + 3.3333331174e-1
	y := float32(float32(m*s) * p)
	y += float32(n * -2.12194440e-4)
	y -= float32(s * 0.5)
	return m + y + float32(n*0.693359375)
}

func sqrt(x float32) float32 { return float32(math.Sqrt(float64(x))) }

// dot sums in index order, unfused.
func dot(x, y []float32) float32 {
	sum := float32(0)
	for i, v := range x {
		sum += float32(v * y[i])
	}
	return sum
}
