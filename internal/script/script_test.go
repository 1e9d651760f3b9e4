package script

import (
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/shoalnet/shoal/key"
)

func TestRun(t *testing.T) {
	commands := 0
	Run(t, "testdata", func(t *testing.T, td *datadriven.TestData) string {
		commands++
		switch td.Cmd {
		case "xor":
			ids := ArgIDs(t, td, "of")
			return Format(ids[0].XOR(ids[1]))
		case "one":
			return Format(ArgID(t, td, "id"))
		case "show":
			return fmt.Sprintf("ids=%s after=%v count=%d", FormatAll(ArgIDs(t, td, "ids")),
				ArgDuration(t, td, "after", time.Second), ArgInt(t, td, "count", 7))
		}
		td.Fatalf(t, "unknown command %s", td.Cmd)
		return ""
	})
	if commands != 4 {
		t.Errorf("%d commands ran, want 4", commands)
	}
}

func TestID(t *testing.T) {
	for b := range 256 {
		id := key.FromByte(byte(b))
		if back, err := ID("0b" + Format(id)); err != nil || back != id {
			t.Fatalf("%08b came back as %v, %v", b, back, err)
		}
	}
	for _, bad := range []string{"", "0b", "00000000", "0b0000000", "0b000000000", "0b00000002", "0x00000000", "0b-0000000"} {
		if id, err := ID(bad); err == nil {
			t.Errorf("ID(%q) = %v, want an error", bad, id)
		}
	}
}
