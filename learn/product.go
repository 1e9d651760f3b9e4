package learn

import (
	"fmt"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/gonum"
)

// Mode says how a matrix product sums.
type Mode uint8

// The modes.
const (
	Fast  Mode = iota // the best kernel of this processor
	Exact             // in index order, unfused: the same bits on every machine
)

// String returns the mode in lower case.
func (m Mode) String() string { return [...]string{"fast", "exact"}[m] }

// Engine multiplies matrices. It owns the buffers into which operands are
// packed. The zero value is a Fast one.
//
// The fast path is that of Goto and van de Geijn (ACM TOMS 34(3), 2008): blocks
// of both operands are copied into panels of 6 rows and 16 columns, in the order
// in which a kernel in registers reads them. Without AVX2 it hands tiles to
// gonum, small enough that it starts no goroutine.
type Engine struct {
	mode     Mode
	plain    bool // pretend that there is no assembly
	rows     []float32
	cols     []float32
	leftover [tileRows * tileCols]float32
	four     [4]float32 // of a row of a
}

// NewEngine returns an engine of a mode.
func NewEngine(mode Mode) *Engine { return &Engine{mode: mode} }

// Mode returns how it sums.
func (e *Engine) Mode() Mode { return e.mode }

// Kernel names what computes products here: "exact", "avx2" or "gonum".
func (e *Engine) Kernel() string {
	switch {
	case e.mode == Exact:
		return "exact"
	case e.vector():
		return "avx2"
	}
	return "gonum"
}

func (e *Engine) vector() bool { return hasAVX2 && !e.plain && e.mode != Exact }

const (
	tileRows, tileCols = 6, 16
	// A panel of b (16 x 320 numbers, 20 KiB) stays in the first-level cache with
	// one of a (7.5 KiB), a block of a (120 x 320, 150 KiB) in the second.
	blockDepth = 320
	blockRows  = 120
	blockCols  = 128
	// gonum's Sgemm starts goroutines from four blocks of 64x64 of the result
	// (blas/gonum/sgemm.go, v0.17.0).
	plainRows, plainCols = 64, 128
)

// operand is a matrix as the product sees it: element (i,j) is
// data[i*row+j*col], and one of row and col is 1.
type operand struct {
	data     []float32
	row, col int
}

// Mul sets c to a times b, or adds it to c.
func (e *Engine) Mul(c, a, b Mat, add bool) {
	b.mustHave("b", a.Cols, b.Cols)
	c.mustHave("c", a.Rows, b.Cols)
	e.product(a.Rows, b.Cols, a.Cols, operand{a.Data, a.Cols, 1}, operand{b.Data, b.Cols, 1}, c.Data, c.Cols, add)
}

// MulTN sets c to the transposed a times b, or adds it to c.
func (e *Engine) MulTN(c, a, b Mat, add bool) {
	b.mustHave("b", a.Rows, b.Cols)
	c.mustHave("c", a.Cols, b.Cols)
	e.product(a.Cols, b.Cols, a.Rows, operand{a.Data, 1, a.Cols}, operand{b.Data, b.Cols, 1}, c.Data, c.Cols, add)
}

// MulNT sets c to a times the transposed b, or adds it to c.
func (e *Engine) MulNT(c, a, b Mat, add bool) {
	b.mustHave("b", b.Rows, a.Cols)
	c.mustHave("c", a.Rows, b.Rows)
	e.product(a.Rows, b.Rows, a.Cols, operand{a.Data, a.Cols, 1}, operand{b.Data, 1, b.Cols}, c.Data, c.Cols, add)
}

// product adds the m x k operand a times the k x n operand b to the m x n matrix
// c with rows ldc apart, which it clears first unless add.
func (e *Engine) product(m, n, k int, a, b operand, c []float32, ldc int, add bool) {
	if m == 0 || n == 0 {
		return
	}
	a.mustReach("a", m, k)
	b.mustReach("b", k, n)
	operand{c, ldc, 1}.mustReach("c", m, n)
	if !add {
		for i := range m {
			clear(c[i*ldc : i*ldc+n])
		}
	}
	switch {
	case k == 0:
	case e.mode == Exact && hasAVX2 && !e.plain:
		e.exactVector(m, n, k, a, b, c, ldc)
	case e.mode == Exact:
		exact(m, n, k, a, b, c, ldc)
	case !e.vector():
		plain(m, n, k, a, b, c, ldc)
	case m < tileRows && b.col == 1 || k < 4:
		e.skinny(m, n, k, a, b, c, ldc, axpy4)
	default:
		e.blocked(m, n, k, a, b, c, ldc)
	}
}

func (o operand) mustReach(what string, rows, cols int) {
	if rows > 0 && cols > 0 && len(o.data) <= (rows-1)*o.row+(cols-1)*o.col {
		panic(fmt.Sprintf("learn: operand %s of %d numbers is too short for %dx%d", what, len(o.data), rows, cols))
	}
}

// exact sums each element of c over the depth in order, every product and every
// sum rounded: the conversion keeps compilers from fusing them.
func exact(m, n, k int, a, b operand, c []float32, ldc int) {
	for i := range m {
		row := c[i*ldc : i*ldc+n]
		for p := range k {
			x := a.data[i*a.row+p*a.col]
			if b.col == 1 {
				for j, y := range b.data[p*b.row : p*b.row+n] {
					row[j] += float32(x * y)
				}
				continue
			}
			for j := range row {
				row[j] += float32(x * b.data[p*b.row+j*b.col])
			}
		}
	}
}

// exactVector has the bits of exact.
func (e *Engine) exactVector(m, n, k int, a, b operand, c []float32, ldc int) {
	if b.col != 1 { // turn it, so that its rows are whole
		e.cols = room(e.cols, k*n)
		for j := range n {
			for p, v := range b.data[j*b.col : j*b.col+k] {
				e.cols[p*n+j] = v
			}
		}
		b = operand{e.cols, n, 1}
	}
	e.skinny(m, n, k, a, b, c, ldc, axpy4Exact)
}

// plain hands tiles to gonum.
func plain(m, n, k int, a, b operand, c []float32, ldc int) {
	ta, lda := a.flag(m, k)
	tb, ldb := b.flag(k, n)
	for i := 0; i < m; i += plainRows {
		for j := 0; j < n; j += plainCols {
			gonum.Implementation{}.Sgemm(ta, tb, min(plainRows, m-i), min(plainCols, n-j), k, 1,
				a.data[i*a.row:], lda, b.data[j*b.col:], ldb, 1, c[i*ldc+j:], ldc)
		}
	}
}

// flag returns what BLAS calls a matrix of that size.
func (o operand) flag(rows, cols int) (blas.Transpose, int) {
	switch {
	case o.col == 1 && rows == 1: // its row stride means nothing
		return blas.NoTrans, max(o.row, cols)
	case o.col == 1:
		return blas.NoTrans, o.row
	}
	return blas.Trans, max(o.col, rows)
}

// skinny is for a few rows or a small depth, where packing would cost more than
// the product: it adds rows of b, four at a time, to rows of c.
func (e *Engine) skinny(m, n, k int, a, b operand, c []float32, ldc int, four func(n int, x, b *float32, ldb int, y *float32)) {
	for i := range m {
		row := c[i*ldc : i*ldc+n]
		p := 0
		for ; b.col == 1 && p+4 <= k; p += 4 {
			for q := range e.four {
				e.four[q] = a.data[i*a.row+(p+q)*a.col]
			}
			four(n, &e.four[0], &b.data[p*b.row], b.row, &row[0])
		}
		for ; p < k; p++ {
			x := a.data[i*a.row+p*a.col]
			for j := range row {
				row[j] += float32(x * b.data[p*b.row+j*b.col])
			}
		}
	}
}

// blocked packs blocks and runs the kernel over their tiles. If one block holds
// all rows, the columns are packed a few panels at a time and used at once, while
// they are in the cache.
func (e *Engine) blocked(m, n, k int, a, b operand, c []float32, ldc int) {
	up := func(n, unit int) int { return (n + unit - 1) / unit * unit }
	width := up(n, tileCols)
	if m <= blockRows {
		width = min(width, blockCols)
	}
	e.cols = room(e.cols, width*min(k, blockDepth))
	e.rows = room(e.rows, up(min(m, blockRows), tileRows)*min(k, blockDepth))
	for p := 0; p < k; p += blockDepth {
		depth := min(blockDepth, k-p)
		for j := 0; j < n; j += width {
			cols := min(width, n-j)
			packCols(e.cols, operand{b.data[j*b.col:], b.row, b.col}, p, depth, cols)
			for i := 0; i < m; i += blockRows {
				rows := min(blockRows, m-i)
				if j == 0 || m > blockRows {
					packRows(e.rows, a, i, rows, p, depth)
				}
				e.tiles(rows, cols, depth, c[i*ldc+j:], ldc)
			}
		}
	}
}

func room(buffer []float32, n int) []float32 {
	if n <= cap(buffer) {
		return buffer[:n]
	}
	return make([]float32, n)
}

// tiles multiplies the packed block of rows with all packed columns.
func (e *Engine) tiles(rows, n, depth int, c []float32, ldc int) {
	for j := 0; j < n; j += tileCols {
		panel := &e.cols[j*depth]
		for i := 0; i < rows; i += tileRows {
			if i+tileRows <= rows && j+tileCols <= n {
				kernel6x16(depth, &e.rows[i*depth], panel, &c[i*ldc+j], ldc)
				continue
			}
			clear(e.leftover[:])
			kernel6x16(depth, &e.rows[i*depth], panel, &e.leftover[0], tileCols)
			for r := range min(tileRows, rows-i) {
				to := c[(i+r)*ldc+j:]
				for q, v := range e.leftover[r*tileCols : r*tileCols+min(tileCols, n-j)] {
					to[q] += v
				}
			}
		}
	}
}

// packCols copies depth rows of b from row p into panels of 16 columns, the last
// filled up with zeros. It works in strips of a few rows, so that rows are read
// on from panel to panel.
func packCols(dst []float32, b operand, p, depth, n int) {
	const strip = 16
	whole := n / tileCols * tileCols
	for q := 0; q < depth; q += strip {
		rows := min(strip, depth-q)
		for j := 0; j < whole; j += tileCols {
			panel := dst[j*depth+q*tileCols : j*depth+(q+rows)*tileCols]
			if b.col != 1 {
				packTurned(panel, b.data[p+q+j*b.col:], b.col, rows, tileCols)
				packTurned(panel[8:], b.data[p+q+(j+8)*b.col:], b.col, rows, tileCols)
				continue
			}
			pack16(rows, &b.data[(p+q)*b.row+j], b.row, &panel[0])
		}
	}
	if whole == n {
		return
	}
	panel := dst[whole*depth : (whole+tileCols)*depth]
	clear(panel)
	for q := range depth {
		for r := range n - whole {
			panel[q*tileCols+r] = b.data[(p+q)*b.row+(whole+r)*b.col]
		}
	}
}

// packTurned copies 8 rows of depth numbers, ld apart, into columns of dst.
func packTurned(dst, src []float32, ld, depth, step int) {
	whole := depth &^ 7
	if whole > 0 {
		transpose8(whole, &src[0], ld, &dst[0], step)
	}
	for q := whole; q < depth; q++ {
		for r := range 8 {
			dst[q*step+r] = src[r*ld+q]
		}
	}
}

// packRows copies rows i to i+rows of a, depth numbers from p, into panels of 6
// rows, the last filled up with zeros.
func packRows(dst []float32, a operand, i, rows, p, depth int) {
	for r := 0; r < rows; r += tileRows {
		panel := dst[r*depth : (r+tileRows)*depth]
		if r+tileRows > rows {
			clear(panel)
			for q := range depth {
				for s := range rows - r {
					panel[q*tileRows+s] = a.data[(i+r+s)*a.row+(p+q)*a.col]
				}
			}
			continue
		}
		if a.row == 1 {
			for q := range depth {
				copy6(panel[q*tileRows:], a.data[(p+q)*a.col+i+r:])
			}
			continue
		}
		src := a.data[(i+r)*a.row+p:]
		packSix(panel, src, src[a.row:], src[2*a.row:], src[3*a.row:], src[4*a.row:], src[5*a.row:], depth)
	}
}

func copy6(dst, src []float32) { *(*[6]float32)(dst) = *(*[6]float32)(src) }

// packSix interleaves six rows.
func packSix(dst, r0, r1, r2, r3, r4, r5 []float32, depth int) {
	r0, r1, r2, r3, r4, r5 = r0[:depth], r1[:depth], r2[:depth], r3[:depth], r4[:depth], r5[:depth]
	for q := range r0 {
		six := (*[6]float32)(dst[q*tileRows:])
		six[0], six[1], six[2], six[3], six[4], six[5] = r0[q], r1[q], r2[q], r3[q], r4[q], r5[q]
	}
}
