package opt_test

import (
	"testing"

	"github.com/shoalnet/shoal/opt"
	"github.com/shoalnet/shoal/opt/opttest"
)

func TestFamilies(t *testing.T) {
	for _, family := range opt.Families {
		t.Run(family.Name, func(t *testing.T) {
			t.Parallel()
			opttest.Run(t, family)
		})
	}
}

func TestFamilyOf(t *testing.T) {
	if f, err := opt.FamilyOf("nsga3"); err != nil || f.Kind != opt.Search {
		t.Errorf("nsga3: %v, %v", f, err)
	}
	if _, err := opt.FamilyOf("magic"); err == nil {
		t.Error("an unknown family was found")
	}
}
