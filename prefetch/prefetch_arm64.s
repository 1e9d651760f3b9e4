#include "textflag.h"

// func Lines(p any, n int)
TEXT ·Lines(SB), NOSPLIT, $0-24
	MOVD p_data+8(FP), R0
	MOVD n+16(FP), R1

next:
	PRFM (R0), PLDL1KEEP
	ADD  $64, R0
	SUBS $1, R1
	BGT  next
	RET
