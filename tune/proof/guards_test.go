package proof

import (
	"context"
	"reflect"
	"testing"
)

// TestGuards holds a small table against the published one (the rows of 200
// requests), where the tests are at .01.
func TestGuards(t *testing.T) {
	cfg := DefaultGuards()
	cfg.Runs = 400
	table, err := MeasureGuards(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]GuardRow{}
	for _, r := range table.Rows {
		rows[r.Name] = r
		t.Logf("%-9s ours %.3f kayenta %.3f mann_whitney %.3f welch %.3f; kayenta's own threshold %.3f, ours nominal %.3f",
			r.Name, r.Ours, r.Kayenta, r.Ranks, r.Welch, r.Stock, r.Nominal)
	}
	// Five standard deviations of 400 runs at 1 % are 2.5 points.
	for name, share := range map[string]float64{"ours": rows["none"].Ours, "kayenta": rows["none"].Kayenta, "mann_whitney": rows["none"].Ranks, "welch": rows["none"].Welch} {
		if share > 0.035 {
			t.Errorf("%s flags %.3f of equal arms, was set to 0.01", name, share)
		}
	}
	if r := rows["tail5x"]; r.Ours < 2*r.Kayenta || r.Ours < 0.8 {
		t.Errorf("ours sees the tail in %.3f, Kayenta's in %.3f: want twice as often", r.Ours, r.Kayenta)
	}
	if r := rows["shift20"]; r.Ours < 0.8 || r.Stock < 0.5 || r.Stock > 0.8 {
		t.Errorf("a shift of 20 %%: ours %.3f (want .84), Kayenta's own %.3f (published .67)", r.Ours, r.Stock)
	}
	if r := rows["tail5x"]; r.Stock > 0.2 {
		t.Errorf("Kayenta's own sees the tail in %.3f, published .09", r.Stock)
	}
	again, err := MeasureGuards(context.Background(), cfg)
	if err != nil || !reflect.DeepEqual(table, again) {
		t.Errorf("the same seed gives another table: %v", err)
	}
}

func TestGuardsRefuses(t *testing.T) {
	for name, spoil := range map[string]func(*GuardsConfig){
		"n": func(c *GuardsConfig) { c.N = 1 }, "runs": func(c *GuardsConfig) { c.Runs = 0 },
		"rate": func(c *GuardsConfig) { c.FalseAlarms = 0 }, "sigma": func(c *GuardsConfig) { c.Sigma = -1 },
	} {
		cfg := DefaultGuards()
		spoil(&cfg)
		if _, err := MeasureGuards(context.Background(), cfg); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := MeasureGuards(ctx, DefaultGuards()); err == nil {
		t.Error("an ended context is no error")
	}
}
