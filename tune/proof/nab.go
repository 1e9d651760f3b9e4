package proof

import (
	"context"
	"math"
	"slices"
)

// Series is a stream of numbers in which somebody has labelled what is an anomaly.
type Series struct {
	Name    string
	Values  []float64
	Windows []Span // labelled, in order
}

// Span is a range of places, both ends in it.
type Span struct{ First, Last int }

// Profile says what mistakes cost, as the Numenta Anomaly Benchmark has it.
type Profile struct {
	Name         string
	FalseAlarm   float64 // at most, of one
	MissedWindow float64
}

// Profiles are those of the benchmark (config/profiles.json of numenta/NAB).
var Profiles = []Profile{
	{"standard", 0.11, 1},
	{"reward_low_FP_rate", 0.22, 1},
	{"reward_low_FN_rate", 0.11, 2},
}

// The first part of a series is for learning: an alarm there counts neither way.
const (
	probation     = 0.15
	probationMost = 750
)

// worth returns what an alarm at each place would be worth: up to 1 inside a window,
// the earlier the more, below 0 outside. It is the sigmoid of Lavin and Ahmad,
// Evaluating Real-time Anomaly Detection Algorithms (ICMLA 2015), section III, as the
// benchmark's code has it. in is the window of each place, -1 outside.
func (s *Series) worth(p Profile) (worth []float64, in []int) {
	worth, in = make([]float64, len(s.Values)), make([]int, len(s.Values))
	next, last := 0, -1
	for i := range worth {
		if next < len(s.Windows) && i > s.Windows[next].Last {
			last, next = next, next+1
		}
		if next < len(s.Windows) && i >= s.Windows[next].First {
			w := s.Windows[next]
			width := float64(w.Last - w.First + 1)
			worth[i], in[i] = sigmoid(-float64(w.Last-i+1)/width)/sigmoid(-1), next
			continue
		}
		in[i] = -1
		past := -1.0
		if last >= 0 {
			w := s.Windows[last]
			past = sigmoid(float64(i-w.Last) / float64(w.Last-w.First))
		}
		worth[i] = past * p.FalseAlarm
	}
	return worth, in
}

// sigmoid is 1 far before the end of a window, 0 at it, -1 far behind.
func sigmoid(x float64) float64 {
	if x > 3 {
		return -1
	}
	return 2/(1+math.Exp(5*x)) - 1
}

// rate returns the points of alarms in a series and how many windows had one.
func (s *Series) rate(p Profile, alarms []int) (points float64, found, wrong int) {
	worth, in := s.worth(p)
	start := int(math.Ceil(min(math.Floor(probation*float64(len(s.Values))), probationMost)))
	best := slices.Repeat([]float64{-p.MissedWindow}, len(s.Windows))
	hit := make([]bool, len(s.Windows))
	for _, i := range alarms {
		switch w := in[i]; {
		case i < start:
		case w < 0:
			points += worth[i]
			wrong++
		default:
			best[w], hit[w] = max(best[w], worth[i]), true
		}
	}
	for w := range best {
		points += best[w]
		if hit[w] {
			found++
		}
	}
	return points, found, wrong
}

// Detector raises alarms in a stream: at a place it knows only what came before.
type Detector struct {
	Name string
	What string
	// Thresholds are those to choose from. Listen returns the places at which it cries
	// with one of them, in a stream of values.
	Thresholds []float64
	Listen     func(s *Series) func(threshold float64) (alarms []int)
}

// NABRow is what a detector scored. Its JSON names are stable.
type NABRow struct {
	Detector string  `json:"detector"`
	What     string  `json:"what"`
	Profile  string  `json:"profile"`
	Score    float64 `json:"score"` // 100 is all at once and nothing else, 0 is silence
	// Threshold is the one that scores best on all series together, as the benchmark
	// chooses it for everybody: chosen with the labels, one number for all.
	Threshold float64 `json:"threshold"`
	Found     int     `json:"windows_found"`
	Windows   int     `json:"windows"`
	Wrong     int     `json:"false_alarms"` // places
	PerPoints float64 `json:"false_alarms_per_1000"`
}

// MeasureNAB scores detectors on labelled series by the rules of the Numenta Anomaly
// Benchmark.
func MeasureNAB(ctx context.Context, all []Series, detectors []Detector, progress func(done, total int)) ([]NABRow, error) {
	var rows []NABRow
	total := 0
	for _, d := range detectors {
		total += len(d.Thresholds)
	}
	done := 0
	for _, d := range detectors {
		best := make([]NABRow, len(Profiles))
		cries := make([]func(float64) []int, len(all))
		for i := range all {
			cries[i] = d.Listen(&all[i])
		}
		for _, threshold := range d.Thresholds {
			if err := ctx.Err(); err != nil {
				return rows, err
			}
			alarms := make([][]int, len(all))
			for i := range all {
				alarms[i] = cries[i](threshold)
			}
			for i, p := range Profiles {
				row := nabRow(all, alarms, p)
				row.Detector, row.What, row.Threshold = d.Name, d.What, threshold
				if best[i].Detector == "" || row.Score > best[i].Score {
					best[i] = row
				}
			}
			done++
			progress(done, total)
		}
		rows = append(rows, best...)
	}
	return rows, nil
}

// nabRow adds up one threshold.
func nabRow(all []Series, alarms [][]int, p Profile) NABRow {
	row := NABRow{Profile: p.Name}
	points, size := 0.0, 0
	for i := range all {
		got, found, wrong := all[i].rate(p, alarms[i])
		points += got
		row.Found, row.Wrong, row.Windows = row.Found+found, row.Wrong+wrong, row.Windows+len(all[i].Windows)
		size += len(all[i].Values)
	}
	silent := -p.MissedWindow * float64(row.Windows)
	row.Score = 100 * (points - silent) / (float64(row.Windows) - silent)
	row.PerPoints = 1000 * float64(row.Wrong) / float64(max(size, 1))
	return row
}
