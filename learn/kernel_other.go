//go:build !amd64

package learn

// hasAVX2 is false: the branches that would call the assembly are dead.
const hasAVX2 = false

func kernel6x16(int, *float32, *float32, *float32, int) { panic("learn: no assembly here") }
func axpy4(int, *float32, *float32, int, *float32)      { panic("learn: no assembly here") }
func transpose8(int, *float32, int, *float32, int)      { panic("learn: no assembly here") }
func adamAVX2(int, *float32, *float32, *float32, *float32, *[6]float32) {
	panic("learn: no assembly here")
}
func pack16(int, *float32, int, *float32)               { panic("learn: no assembly here") }
func axpy4Exact(int, *float32, *float32, int, *float32) { panic("learn: no assembly here") }
