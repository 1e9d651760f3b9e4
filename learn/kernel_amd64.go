package learn

import "golang.org/x/sys/cpu"

// hasAVX2 says whether the assembly may run here.
var hasAVX2 = cpu.X86.HasAVX2 && cpu.X86.HasFMA

// kernel6x16 adds to a 6x16 tile of c, whose rows are ldc numbers apart, the
// product of a (k columns of 6) and b (k rows of 16), both packed.
//
//go:noescape
func kernel6x16(k int, a, b, c *float32, ldc int)

// axpy4 adds to y the sum of four rows of b, ldb numbers apart, each times its x.
//
//go:noescape
func axpy4(n int, x, b *float32, ldb int, y *float32)

// axpy4Exact is axpy4 with every product and every sum rounded, in order.
//
//go:noescape
func axpy4Exact(n int, x, b *float32, ldb int, y *float32)

// transpose8 copies 8 rows of n numbers, ld apart, into n rows of 8, step apart;
// n is a multiple of 8.
//
//go:noescape
func transpose8(n int, src *float32, ld int, dst *float32, step int)

// adamAVX2 is adamGo for a multiple of 8 numbers, with the same bits.
//
//go:noescape
func adamAVX2(n int, w, grad, m, v *float32, c *[6]float32)

// pack16 copies n rows of 16 numbers, ld apart, to one after the other.
//
//go:noescape
func pack16(n int, src *float32, ld int, dst *float32)
