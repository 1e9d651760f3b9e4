package proof

import (
	"bufio"
	"compress/gzip"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/shoalnet/shoal/learn"
	"github.com/shoalnet/shoal/stat"
)

func TestFederated(t *testing.T) {
	ctx := t.Context()
	if !*long {
		ctx = Short(ctx)
	}
	for _, p := range federatedProofs {
		hold(ctx, t, p)
	}
}

// handwriting is the digits of the UCI repository.
type handwriting struct {
	byLabel [classes]learn.Mat
	testX   learn.Mat
	labels  []int
}

func (h *handwriting) draw(label int, dice *stat.Stream, to []float32) {
	copy(to, h.byLabel[label].Row(dice.IntN(h.byLabel[label].Rows)))
}

func (h *handwriting) test() (learn.Mat, []int) { return h.testX, h.labels }

func readDigits(t *testing.T, part string) (x learn.Mat, labels []int) {
	f, err := os.Open("../../../shared/data/digits/optdigits-" + part + ".csv.gz")
	if err != nil {
		t.Skip("the digits data set is not here: ", err)
	}
	defer func() { _ = f.Close() }() // only read
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	x.Cols = 64
	for lines := bufio.NewScanner(z); lines.Scan(); x.Rows++ {
		for i, cell := range strings.Split(strings.TrimSpace(lines.Text()), ",") {
			v, err := strconv.Atoi(strings.TrimSpace(cell))
			if err != nil {
				t.Fatal(err)
			}
			if i < 64 {
				x.Data = append(x.Data, float32(v)/16)
			} else {
				labels = append(labels, v)
			}
		}
	}
	return x, labels
}

// TestFederatedDigits is the training among liars on handwritten digits.
func TestFederatedDigits(t *testing.T) {
	h := &handwriting{}
	x, labels := readDigits(t, "train")
	for i, label := range labels {
		m := &h.byLabel[label]
		m.Rows, m.Cols, m.Data = m.Rows+1, 64, append(m.Data, x.Row(i)...)
	}
	h.testX, h.labels = readDigits(t, "test")
	runs, err := trainAmongLiars(t.Context(), 1, 400, h)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("losses over the honest one: loud lies, split by label: mean %.3g, Krum %.3g, multi-Krum %.3g, clipping %.3g; little lies: Krum %.3g, clipping %.3g",
		runs[0], runs[1], runs[2], runs[3], runs[4], runs[5])
	// Krum alone follows one client's five classes; it is reported, not held.
	if !(runs[0] >= 10 && runs[2] <= 2 && runs[3] <= 2) {
		t.Error("want the mean to fail and multi-Krum and clipping to stay within twice the honest loss")
	}
	if !(runs[4] >= 2 && runs[5] <= 2) {
		t.Error("want little lies to break Krum, not clipping")
	}
}
