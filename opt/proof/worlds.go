package proof

import (
	"math"

	"github.com/shoalnet/shoal/stat"
)

// CartPole is the pole on a cart of Barto, Sutton and Anderson (IEEE Trans. SMC
// 13(5), 1983) as Gymnasium's CartPole-v1 has it: Euler steps of 20 ms, force 10,
// 1 for every step, over when the cart leaves ±2.4 or the pole ±12°, cut off after
// 500 steps.
type CartPole struct {
	State [4]float64 // place, speed, angle, its speed
	steps int
	dice  *stat.Stream
}

// NewCartPole returns a pole; Reset it first.
func NewCartPole(dice *stat.Stream) *CartPole { return &CartPole{dice: dice} }

// Reset starts an episode, every number uniform within ±0.05.
func (c *CartPole) Reset() {
	for i := range c.State {
		c.State[i] = 0.1*c.dice.Float64() - 0.05
	}
	c.steps = 0
}

// Step pushes left (0) or right (1). Fallen episodes have ended, cut ones have
// not.
func (c *CartPole) Step(move int) (fallen, cut bool) {
	const (
		gravity, cart, pole, half, tau = 9.8, 1.0, 0.1, 0.5, 0.02
		total                          = cart + pole
	)
	force := -10.0
	if move == 1 {
		force = 10
	}
	x, v, angle, w := c.State[0], c.State[1], c.State[2], c.State[3]
	sin, cos := math.Sincos(angle)
	push := (force + pole*half*w*w*sin) / total
	turn := (gravity*sin - cos*push) / (half * (4.0/3 - pole*cos*cos/total))
	speedUp := push - pole*half*turn*cos/total
	c.State = [4]float64{x + tau*v, v + tau*speedUp, angle + tau*w, w + tau*turn}
	c.steps++
	const limit = 12 * 2 * math.Pi / 360
	fallen = math.Abs(c.State[0]) > 2.4 || math.Abs(c.State[2]) > limit
	return fallen, !fallen && c.steps >= 500
}

// Observe writes the state.
func (c *CartPole) Observe(to []float32) {
	for i, v := range c.State {
		to[i] = float32(v)
	}
}

// Pendulum is Gymnasium's Pendulum-v1: a torque within ±2 swings a rod up, steps
// of 50 ms with the speed first and within ±8, 200 steps without an end, costs
// angle² + 0.1 speed² + 0.001 torque².
type Pendulum struct {
	Angle, Speed float64
	steps        int
	dice         *stat.Stream
}

// NewPendulum returns a pendulum; Reset it first.
func NewPendulum(dice *stat.Stream) *Pendulum { return &Pendulum{dice: dice} }

// Reset starts an episode at any angle, with a speed within ±1.
func (p *Pendulum) Reset() {
	p.Angle = math.Pi * (2*p.dice.Float64() - 1)
	p.Speed = 2*p.dice.Float64() - 1
	p.steps = 0
}

// Step applies a torque and returns minus the cost; cut after 200 steps.
func (p *Pendulum) Step(torque float64) (reward float64, cut bool) {
	torque = min(max(torque, -2), 2)
	angle := math.Mod(p.Angle+math.Pi, 2*math.Pi)
	if angle < 0 {
		angle += 2 * math.Pi
	}
	angle -= math.Pi
	cost := angle*angle + 0.1*p.Speed*p.Speed + 0.001*torque*torque
	const gravity, tau = 10.0, 0.05
	p.Speed = min(max(p.Speed+(1.5*gravity*math.Sin(p.Angle)+3*torque)*tau, -8), 8)
	p.Angle += p.Speed * tau
	p.steps++
	return -cost, p.steps >= 200
}

// Observe writes cosine and sine of the angle, and the speed.
func (p *Pendulum) Observe(to []float32) {
	sin, cos := math.Sincos(p.Angle)
	to[0], to[1], to[2] = float32(cos), float32(sin), float32(p.Speed)
}
