#include "textflag.h"

// One step of the 6x16 kernel: row p of the packed b (16 numbers at R8) times
// column p of the packed a (6 numbers at DI).
#define RANK1(ao, bo) \
	VMOVUPS      bo(R8), Y0;      \
	VMOVUPS      (bo+32)(R8), Y1; \
	VBROADCASTSS ao(DI), Y2;      \
	VBROADCASTSS (ao+4)(DI), Y3;  \
	VFMADD231PS  Y0, Y2, Y4;      \
	VFMADD231PS  Y1, Y2, Y5;      \
	VFMADD231PS  Y0, Y3, Y6;      \
	VFMADD231PS  Y1, Y3, Y7;      \
	VBROADCASTSS (ao+8)(DI), Y2;  \
	VBROADCASTSS (ao+12)(DI), Y3; \
	VFMADD231PS  Y0, Y2, Y8;      \
	VFMADD231PS  Y1, Y2, Y9;      \
	VFMADD231PS  Y0, Y3, Y10;     \
	VFMADD231PS  Y1, Y3, Y11;     \
	VBROADCASTSS (ao+16)(DI), Y2; \
	VBROADCASTSS (ao+20)(DI), Y3; \
	VFMADD231PS  Y0, Y2, Y12;     \
	VFMADD231PS  Y1, Y2, Y13;     \
	VFMADD231PS  Y0, Y3, Y14;     \
	VFMADD231PS  Y1, Y3, Y15

// Adds two registers to 16 numbers of c and steps to the next row.
#define STORE(lo, hi) \
	VADDPS  (DX), lo, lo;   \
	VADDPS  32(DX), hi, hi; \
	VMOVUPS lo, (DX);       \
	VMOVUPS hi, 32(DX);     \
	ADDQ    R9, DX

// func kernel6x16(k int, a, b, c *float32, ldc int)
TEXT ·kernel6x16(SB), NOSPLIT, $0-40
	MOVQ   k+0(FP), CX
	MOVQ   a+8(FP), DI
	MOVQ   b+16(FP), R8
	MOVQ   c+24(FP), DX
	MOVQ   ldc+32(FP), R9
	SHLQ   $2, R9
	VXORPS Y4, Y4, Y4
	VXORPS Y5, Y5, Y5
	VXORPS Y6, Y6, Y6
	VXORPS Y7, Y7, Y7
	VXORPS Y8, Y8, Y8
	VXORPS Y9, Y9, Y9
	VXORPS Y10, Y10, Y10
	VXORPS Y11, Y11, Y11
	VXORPS Y12, Y12, Y12
	VXORPS Y13, Y13, Y13
	VXORPS Y14, Y14, Y14
	VXORPS Y15, Y15, Y15

	// The rows of c are needed last: fetch them meanwhile.
	LEAQ        (DX)(R9*2), AX
	LEAQ        (DX)(R9*4), BX
	PREFETCHT0  (DX)
	PREFETCHT0  (DX)(R9*1)
	PREFETCHT0  (AX)
	PREFETCHT0  (AX)(R9*1)
	PREFETCHT0  (BX)
	PREFETCHT0  (BX)(R9*1)

	MOVQ CX, BX
	SHRQ $2, BX
	JZ   rest

four:
	RANK1(0, 0)
	RANK1(24, 64)
	RANK1(48, 128)
	RANK1(72, 192)
	ADDQ $96, DI
	ADDQ $256, R8
	DECQ BX
	JNZ  four

rest:
	ANDQ $3, CX
	JZ   store

one:
	RANK1(0, 0)
	ADDQ $24, DI
	ADDQ $64, R8
	DECQ CX
	JNZ  one

store:
	STORE(Y4, Y5)
	STORE(Y6, Y7)
	STORE(Y8, Y9)
	STORE(Y10, Y11)
	STORE(Y12, Y13)
	STORE(Y14, Y15)
	VZEROUPPER
	RET

// func axpy4(n int, x, b *float32, ldb int, y *float32)
// y[0:n] += x[0]*b[0:n] + x[1]*b[ldb:] + x[2]*b[2*ldb:] + x[3]*b[3*ldb:]
TEXT ·axpy4(SB), NOSPLIT, $0-40
	MOVQ         n+0(FP), CX
	MOVQ         x+8(FP), DI
	MOVQ         b+16(FP), R8
	MOVQ         ldb+24(FP), R9
	MOVQ         y+32(FP), DX
	SHLQ         $2, R9
	LEAQ         (R8)(R9*1), R10
	LEAQ         (R10)(R9*1), R11
	LEAQ         (R11)(R9*1), R12
	VBROADCASTSS (DI), Y0
	VBROADCASTSS 4(DI), Y1
	VBROADCASTSS 8(DI), Y2
	VBROADCASTSS 12(DI), Y3
	XORQ         AX, AX
	MOVQ         CX, BX
	SHRQ         $4, BX
	JZ           axpy8

axpy16:
	VMOVUPS     (DX)(AX*4), Y4
	VMOVUPS     32(DX)(AX*4), Y5
	VFMADD231PS (R8)(AX*4), Y0, Y4
	VFMADD231PS 32(R8)(AX*4), Y0, Y5
	VFMADD231PS (R10)(AX*4), Y1, Y4
	VFMADD231PS 32(R10)(AX*4), Y1, Y5
	VFMADD231PS (R11)(AX*4), Y2, Y4
	VFMADD231PS 32(R11)(AX*4), Y2, Y5
	VFMADD231PS (R12)(AX*4), Y3, Y4
	VFMADD231PS 32(R12)(AX*4), Y3, Y5
	VMOVUPS     Y4, (DX)(AX*4)
	VMOVUPS     Y5, 32(DX)(AX*4)
	ADDQ        $16, AX
	DECQ        BX
	JNZ         axpy16

axpy8:
	TESTQ       $8, CX
	JZ          axpytail
	VMOVUPS     (DX)(AX*4), Y4
	VFMADD231PS (R8)(AX*4), Y0, Y4
	VFMADD231PS (R10)(AX*4), Y1, Y4
	VFMADD231PS (R11)(AX*4), Y2, Y4
	VFMADD231PS (R12)(AX*4), Y3, Y4
	VMOVUPS     Y4, (DX)(AX*4)
	ADDQ        $8, AX

axpytail:
	ANDQ $7, CX
	JZ   axpydone

axpy1:
	VMOVSS      (DX)(AX*4), X4
	VFMADD231SS (R8)(AX*4), X0, X4
	VFMADD231SS (R10)(AX*4), X1, X4
	VFMADD231SS (R11)(AX*4), X2, X4
	VFMADD231SS (R12)(AX*4), X3, X4
	VMOVSS      X4, (DX)(AX*4)
	INCQ        AX
	DECQ        CX
	JNZ         axpy1

axpydone:
	VZEROUPPER
	RET

// func axpy4Exact(n int, x, b *float32, ldb int, y *float32)
// axpy4 with every product and every sum rounded, in order.
TEXT ·axpy4Exact(SB), NOSPLIT, $0-40
	MOVQ         n+0(FP), CX
	MOVQ         x+8(FP), DI
	MOVQ         b+16(FP), R8
	MOVQ         ldb+24(FP), R9
	MOVQ         y+32(FP), DX
	SHLQ         $2, R9
	LEAQ         (R8)(R9*1), R10
	LEAQ         (R10)(R9*1), R11
	LEAQ         (R11)(R9*1), R12
	VBROADCASTSS (DI), Y0
	VBROADCASTSS 4(DI), Y1
	VBROADCASTSS 8(DI), Y2
	VBROADCASTSS 12(DI), Y3
	XORQ         AX, AX
	MOVQ         CX, BX
	SHRQ         $4, BX
	JZ           eaxpy8

eaxpy16:
	VMOVUPS     (DX)(AX*4), Y4
	VMOVUPS     32(DX)(AX*4), Y5
	VMULPS      (R8)(AX*4), Y0, Y6
	VADDPS      Y6, Y4, Y4
	VMULPS      32(R8)(AX*4), Y0, Y6
	VADDPS      Y6, Y5, Y5
	VMULPS      (R10)(AX*4), Y1, Y6
	VADDPS      Y6, Y4, Y4
	VMULPS      32(R10)(AX*4), Y1, Y6
	VADDPS      Y6, Y5, Y5
	VMULPS      (R11)(AX*4), Y2, Y6
	VADDPS      Y6, Y4, Y4
	VMULPS      32(R11)(AX*4), Y2, Y6
	VADDPS      Y6, Y5, Y5
	VMULPS      (R12)(AX*4), Y3, Y6
	VADDPS      Y6, Y4, Y4
	VMULPS      32(R12)(AX*4), Y3, Y6
	VADDPS      Y6, Y5, Y5
	VMOVUPS     Y4, (DX)(AX*4)
	VMOVUPS     Y5, 32(DX)(AX*4)
	ADDQ        $16, AX
	DECQ        BX
	JNZ         eaxpy16

eaxpy8:
	TESTQ       $8, CX
	JZ          eaxpytail
	VMOVUPS     (DX)(AX*4), Y4
	VMULPS      (R8)(AX*4), Y0, Y6
	VADDPS      Y6, Y4, Y4
	VMULPS      (R10)(AX*4), Y1, Y6
	VADDPS      Y6, Y4, Y4
	VMULPS      (R11)(AX*4), Y2, Y6
	VADDPS      Y6, Y4, Y4
	VMULPS      (R12)(AX*4), Y3, Y6
	VADDPS      Y6, Y4, Y4
	VMOVUPS     Y4, (DX)(AX*4)
	ADDQ        $8, AX

eaxpytail:
	ANDQ $7, CX
	JZ   eaxpydone

eaxpy1:
	VMOVSS      (DX)(AX*4), X4
	VMULSS      (R8)(AX*4), X0, X6
	VADDSS      X6, X4, X4
	VMULSS      (R10)(AX*4), X1, X6
	VADDSS      X6, X4, X4
	VMULSS      (R11)(AX*4), X2, X6
	VADDSS      X6, X4, X4
	VMULSS      (R12)(AX*4), X3, X6
	VADDSS      X6, X4, X4
	VMOVSS      X4, (DX)(AX*4)
	INCQ        AX
	DECQ        CX
	JNZ         eaxpy1

eaxpydone:
	VZEROUPPER
	RET

// func transpose8(n int, src *float32, ld int, dst *float32, step int)
// dst[p*step+j] = src[j*ld+p] for p < n and j < 8; n is a multiple of 8.
TEXT ·transpose8(SB), NOSPLIT, $0-40
	MOVQ n+0(FP), CX
	MOVQ src+8(FP), SI
	MOVQ ld+16(FP), R9
	MOVQ dst+24(FP), DI
	MOVQ step+32(FP), R10
	SHLQ $2, R9
	SHLQ $2, R10
	LEAQ (R9)(R9*2), R11
	LEAQ (R10)(R10*2), R12
	SHRQ $3, CX
	JZ   tdone

tloop:
	LEAQ       (SI)(R9*4), BX
	VMOVUPS    (SI), Y0
	VMOVUPS    (SI)(R9*1), Y1
	VMOVUPS    (SI)(R9*2), Y2
	VMOVUPS    (SI)(R11*1), Y3
	VMOVUPS    (BX), Y4
	VMOVUPS    (BX)(R9*1), Y5
	VMOVUPS    (BX)(R9*2), Y6
	VMOVUPS    (BX)(R11*1), Y7
	VUNPCKLPS  Y1, Y0, Y8
	VUNPCKHPS  Y1, Y0, Y9
	VUNPCKLPS  Y3, Y2, Y10
	VUNPCKHPS  Y3, Y2, Y11
	VUNPCKLPS  Y5, Y4, Y12
	VUNPCKHPS  Y5, Y4, Y13
	VUNPCKLPS  Y7, Y6, Y14
	VUNPCKHPS  Y7, Y6, Y15
	VSHUFPS    $0x44, Y10, Y8, Y0
	VSHUFPS    $0xEE, Y10, Y8, Y1
	VSHUFPS    $0x44, Y11, Y9, Y2
	VSHUFPS    $0xEE, Y11, Y9, Y3
	VSHUFPS    $0x44, Y14, Y12, Y4
	VSHUFPS    $0xEE, Y14, Y12, Y5
	VSHUFPS    $0x44, Y15, Y13, Y6
	VSHUFPS    $0xEE, Y15, Y13, Y7
	VPERM2F128 $0x20, Y4, Y0, Y8
	VPERM2F128 $0x20, Y5, Y1, Y9
	VPERM2F128 $0x20, Y6, Y2, Y10
	VPERM2F128 $0x20, Y7, Y3, Y11
	VPERM2F128 $0x31, Y4, Y0, Y12
	VPERM2F128 $0x31, Y5, Y1, Y13
	VPERM2F128 $0x31, Y6, Y2, Y14
	VPERM2F128 $0x31, Y7, Y3, Y15
	LEAQ       (DI)(R10*4), BX
	VMOVUPS    Y8, (DI)
	VMOVUPS    Y9, (DI)(R10*1)
	VMOVUPS    Y10, (DI)(R10*2)
	VMOVUPS    Y11, (DI)(R12*1)
	VMOVUPS    Y12, (BX)
	VMOVUPS    Y13, (BX)(R10*1)
	VMOVUPS    Y14, (BX)(R10*2)
	VMOVUPS    Y15, (BX)(R12*1)
	ADDQ       $32, SI
	LEAQ       (DI)(R10*8), DI
	DECQ       CX
	JNZ        tloop

tdone:
	VZEROUPPER
	RET

// func adamAVX2(n int, w, grad, m, v *float32, c *[6]float32)
// n is a multiple of 8; c holds b1, 1-b1, b2, 1-b2, rate, epsilon. Products and
// sums are rounded one by one and in the order of adamGo, so the bits are equal.
TEXT ·adamAVX2(SB), NOSPLIT, $0-48
	MOVQ         n+0(FP), CX
	MOVQ         w+8(FP), DI
	MOVQ         grad+16(FP), SI
	MOVQ         m+24(FP), R8
	MOVQ         v+32(FP), R9
	MOVQ         c+40(FP), DX
	VBROADCASTSS (DX), Y8
	VBROADCASTSS 4(DX), Y9
	VBROADCASTSS 8(DX), Y10
	VBROADCASTSS 12(DX), Y11
	VBROADCASTSS 16(DX), Y12
	VBROADCASTSS 20(DX), Y13
	VXORPS       Y15, Y15, Y15
	XORQ         AX, AX
	SHRQ         $3, CX
	JZ           adone

aloop:
	VMOVUPS (SI)(AX*4), Y0
	VMULPS  (R8)(AX*4), Y8, Y1
	VMULPS  Y0, Y9, Y2
	VADDPS  Y2, Y1, Y1
	VMULPS  (R9)(AX*4), Y10, Y3
	VMULPS  Y0, Y0, Y4
	VMULPS  Y4, Y11, Y4
	VADDPS  Y4, Y3, Y3
	VMOVUPS Y1, (R8)(AX*4)
	VMOVUPS Y3, (R9)(AX*4)
	VMOVUPS Y15, (SI)(AX*4)
	VSQRTPS Y3, Y3
	VADDPS  Y13, Y3, Y3
	VMULPS  Y12, Y1, Y1
	VDIVPS  Y3, Y1, Y1
	VMOVUPS (DI)(AX*4), Y5
	VSUBPS  Y1, Y5, Y5
	VMOVUPS Y5, (DI)(AX*4)
	ADDQ    $8, AX
	DECQ    CX
	JNZ     aloop

adone:
	VZEROUPPER
	RET

// func pack16(n int, src *float32, ld int, dst *float32)
// Copies n rows of 16 numbers, ld apart, to one after the other.
TEXT ·pack16(SB), NOSPLIT, $0-32
	MOVQ n+0(FP), CX
	MOVQ src+8(FP), SI
	MOVQ ld+16(FP), R9
	MOVQ dst+24(FP), DI
	SHLQ $2, R9
	TESTQ CX, CX
	JZ   pdone

ploop:
	PREFETCHT0 256(SI)
	VMOVUPS    (SI), Y0
	VMOVUPS    32(SI), Y1
	VMOVUPS    Y0, (DI)
	VMOVUPS    Y1, 32(DI)
	ADDQ       R9, SI
	ADDQ       $64, DI
	DECQ       CX
	JNZ        ploop

pdone:
	VZEROUPPER
	RET
