package learn

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/shoalnet/shoal/stat"
)

var withNumpy = flag.Bool("numpy", false, "compare the training step with numpy and OpenBLAS, interleaved on one core")

// trainer returns a training step of the network 800-512-256-128-160 on 64
// samples.
func trainer(t testing.TB, plain bool) func() {
	net := network(t, Fast, 1, MLP(800, 512, 256, 128, 160)...)
	net.engine.plain = plain
	dice := stat.NewStream(1, "learn.trainer")
	x, want, dy := NewMat(64, 800), NewMat(64, 160), NewMat(64, 160)
	uniform(dice, x.Data, 1)
	uniform(dice, want.Data, 1)
	adam := Adam{Rate: 1e-3}
	return func() {
		MSE(dy, net.Forward(x), want)
		net.Backward(dy, false)
		adam.Step(net.Weights(), net.Grads())
	}
}

// startNumpy returns what runs so many steps in numpy and tells their user CPU
// seconds.
func startNumpy(t *testing.T) func(steps int) float64 {
	var python string
	for _, name := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(name, "-c", "import numpy").Run() == nil {
			python = name
			break
		}
	}
	if python == "" {
		t.Skip("no python3 with numpy here: apt-get install python3-numpy libopenblas0")
	}
	cmd := exec.Command(python, "testdata/train.py")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close() // it may have ended
		_ = cmd.Wait() // it ends with its input
	})
	lines := bufio.NewReader(out)
	return func(steps int) float64 {
		if _, err := io.WriteString(in, fmt.Sprintln(steps)); err != nil {
			t.Fatal(err)
		}
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		seconds, err := strconv.ParseFloat(strings.TrimSpace(line), 64)
		if err != nil {
			t.Fatal(err)
		}
		return seconds
	}
}

// TestTrainingAgainstNumpy takes turns with numpy on OpenBLAS, one thread each,
// and compares the median user CPU time of a step. Pin it to a core:
//
//	taskset -c 0 go test ./learn -run Numpy -args -numpy
func TestTrainingAgainstNumpy(t *testing.T) {
	if !*withNumpy {
		t.Skip("a comparison of speeds: give -args -numpy")
	}
	const rounds, steps = 21, 40
	numpy, step := startNumpy(t), trainer(t, false)
	step()
	var own, other, ratios []float64
	for range rounds {
		before := cpuSeconds()
		for range steps {
			step()
		}
		own = append(own, (cpuSeconds()-before)/steps)
		other = append(other, numpy(steps)/steps)
		ratios = append(ratios, own[len(own)-1]/other[len(other)-1])
	}
	for _, list := range [][]float64{own, other, ratios} {
		slices.Sort(list)
	}
	ratio := own[rounds/2] / other[rounds/2]
	t.Logf("a training step: %.2f ms here (%s), %.2f ms in numpy, ratio of medians %.2f, ratios of rounds %.2f to %.2f",
		1e3*own[rounds/2], NewEngine(Fast).Kernel(), 1e3*other[rounds/2], ratio, ratios[2], ratios[rounds-3])
	if hasAVX2 && !(ratio <= 1.1) {
		t.Errorf("ratio %.2f, want 1.1 at most", ratio)
	}
}

func BenchmarkTraining(b *testing.B) {
	for name, plain := range map[string]bool{"best": false, "gonum": true} {
		b.Run(name, func(b *testing.B) {
			step := trainer(b, plain)
			step()
			b.ReportAllocs()
			before := cpuSeconds()
			for b.Loop() {
				step()
			}
			b.ReportMetric((cpuSeconds()-before)/float64(b.N)*1e3, "cpu-ms/op")
		})
	}
}

func BenchmarkInference(b *testing.B) {
	net := network(b, Fast, 1, MLP(800, 512, 256, 128, 160)...)
	x := NewMat(1, 800)
	before := cpuSeconds()
	for b.Loop() {
		net.Forward(x)
	}
	b.ReportMetric((cpuSeconds()-before)/float64(b.N)*1e6, "cpu-us/op")
}
