package proof

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// findDEAP returns a Python that can import DEAP, and the version of DEAP; empty
// if there is none.
func findDEAP(ctx context.Context) (python, version string) {
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		out, err := exec.CommandContext(ctx, python, "-c", "import deap; print(deap.__version__)").Output()
		if err == nil {
			return python, strings.TrimSpace(string(out))
		}
	}
	return "", ""
}

// runDEAP runs a script that prints the processor seconds that it took.
func runDEAP(ctx context.Context, python, script string, args ...any) (float64, error) {
	line := []string{"-c", script}
	for _, a := range args {
		line = append(line, fmt.Sprint(a))
	}
	out, err := exec.CommandContext(ctx, python, line...).Output()
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	if err != nil {
		return 0, fmt.Errorf("proof: DEAP: %w", err)
	}
	return strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
}
