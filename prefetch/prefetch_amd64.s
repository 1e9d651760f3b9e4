#include "textflag.h"

// func Lines(p any, n int)
TEXT ·Lines(SB), NOSPLIT, $0-24
	MOVQ p_data+8(FP), AX
	MOVQ n+16(FP), CX

next:
	PREFETCHT0 (AX)
	ADDQ       $64, AX
	DECQ       CX
	JGT        next
	RET
