package sim

import "time"

// Window is a part of the time that was measured.
type Window struct {
	End        float64 `json:"end_s"`          // since measuring began
	P50        float64 `json:"latency_p50_ms"` // as Latency; 0 without a get
	Success    float64 `json:"success_ratio"`
	Operations int     `json:"operations"` // begun in it
	Peers      int     `json:"peers"`      // present at its end
	Entries    float64 `json:"entries"`    // mean members of a table at the last look before its end; 0 if there was none
}

// windows is the number of windows of a run.
const windows = 20

// windows cuts the measured time into equal parts.
func (r *run) windows(samples []sample) []Window {
	out := make([]Window, 0, windows)
	looks, entries := r.tables, 0.0
	for i := range windows {
		end := r.begins + r.measured*time.Duration(i+1)/windows
		var gets []float64
		w := Window{End: (end - r.begins).Seconds()}
		found := 0
		for len(samples) > 0 && (samples[0].began < end || i == windows-1) {
			s := samples[0]
			samples = samples[1:]
			if s.void {
				continue
			}
			w.Operations++
			if s.found {
				found++
			}
			if s.op == opGet {
				gets = append(gets, s.took.Seconds()*1000)
			}
		}
		for slot := range r.slots {
			if r.peer(slot, end) >= 0 {
				w.Peers++
			}
		}
		for len(looks) > 0 && looks[0].at <= end {
			entries, looks = looks[0].entries, looks[1:]
		}
		w.Entries = entries
		w.P50, w.Success = QuantilesOf(gets).P50, ratio(found, w.Operations)
		out = append(out, w)
	}
	return out
}
